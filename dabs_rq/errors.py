"""Errors meant for the person at the keyboard: the command line prints their text without a traceback.

Each text says what was expected, what was found, where (file and line, key, option) and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class DabsRqError(Exception):
    """Base of every error a user can mend. Raised with one string, so that it survives pickling between processes."""


class OptionError(DabsRqError):
    """An option, name or combination of options that does not exist or does not fit."""


class DataError(DabsRqError):
    """A data file that is missing, damaged or not as its layout says."""


class DataWarning(UserWarning):
    """Data that can be used, but are not what was declared of them."""


class MissingDataError(DataError):
    """A published source of which nothing, or not all, lies under the data root."""


class CheckpointError(DabsRqError):
    """A checkpoint that is missing, of another architecture or damaged."""


class RecordError(DabsRqError):
    """A record that cannot be read or is not one of ours."""


class TrainingError(DabsRqError):
    """Training that cannot start or must not go on."""


class ResourceError(DabsRqError):
    """Memory that ran out."""


@contextmanager
def memory_told(advice: str) -> Iterator[None]:
    """Memory that runs out in this block, of the processor or of a GPU, is a ResourceError with `advice`: what needs
    less of it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
        if not of_torch and not isinstance(error, MemoryError):
            raise
        raise ResourceError(f"memory ran out ({first_line(error)}). {advice}") from error


def first_line(error: Exception) -> str:
    """The first line of an error's text, or what kind of error it is where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The text for a name nobody declared: the nearest match first, then all that are known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}."
