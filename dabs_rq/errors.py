"""Errors that a user can fix: the command line prints their text without a traceback.

Each text says what was expected, what was found, where (file and line, key, option) and what to do.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class DabsRqError(Exception):
    """Base of every error that a user can fix. Takes a single string, so that it survives pickling."""


class OptionError(DabsRqError):
    """An option, name or combination of options that does not exist or does not fit."""


class MissingPackageError(OptionError):
    """A package of an extra that is not installed."""


class NotServedError(OptionError):
    """An encoder or method that does not serve the inputs of a domain, or a method that does not serve an encoder."""


class DataError(DabsRqError):
    """A data file that is missing, damaged or does not match its documented layout."""


class DataWarning(UserWarning):
    """Data that can be used but differ from their declaration."""


class PluginError(OptionError):
    """A plug-in that cannot be imported, or does not declare what its place says."""


class PluginWarning(UserWarning):
    """A plug-in that is left out."""


class MissingDataError(DataError):
    """A published source that is missing under the data root, wholly or in part."""


class CheckpointError(DabsRqError):
    """A checkpoint that is missing or damaged, or has another architecture."""


class RecordError(DabsRqError):
    """A record that cannot be read or that dabs_rq did not write."""


class EncoderError(DabsRqError):
    """A network that cannot be scored as it is, or inputs that it does not take."""


class TrainingError(DabsRqError):
    """Training that cannot start or must stop."""


class WriteError(DabsRqError, OSError):
    """A file that cannot be written: the disk is full, a permission is missing, or the path leads through a file."""

    @classmethod
    def of(cls, target: object, error: OSError) -> WriteError:
        """Make the error for `target` from the system's `error`. What is at `target` has not changed."""
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(target) else ""
        advice = {
            errno.ENOSPC: "Free space on that disk, or give another folder",
            errno.EDQUOT: "Your quota is used up: free space, or give another folder",
            errno.EFBIG: "Raise the limit on the size of a file (ulimit -f), or give another folder",
            errno.ENOTDIR: "A part of the path is a file: give another folder",
            errno.EEXIST: "A part of the path is a file: give another folder",
            errno.EISDIR: "It is a folder: give another path",
        }.get(error.errno or 0, "Give a path that you can write to")
        return cls(f"{target} cannot be written: {error.strerror or first_line(error)}{where}. {advice}.")


class HubError(DabsRqError):
    """The Hugging Face hub cannot be asked, or does not take what is sent."""


class ResourceError(DabsRqError):
    """The processor or a GPU ran out of memory."""


# Of the processor, of CUDA, and of its libraries (cuBLAS, cuDNN, cuSOLVER).
_OUT_OF_MEMORY = re.compile("can't allocate memory|CUDA error: out of memory|_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the processor or a GPU ran out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


@contextmanager
def explain_out_of_memory(advice: str) -> Iterator[None]:
    """Raise ResourceError where the block runs out of memory, on the processor or on a GPU.

    advice: a sentence that says what needs less memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(f"out of memory ({first_line(error)}). {advice}") from error


def shown(value: object, length: int = 80) -> str:
    """Return the text of a value for an error, cut to `length`; never fails, whatever a file made of the value."""
    try:
        text = repr(value)
    except Exception:  # a number too long to print, or a structure too deep
        return f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= length else f"{text[:length]}..."


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def has_control(text: str) -> bool:
    """Return whether a text holds control characters, which could steer a terminal, besides line breaks and tabs."""
    return _CONTROL.search(text) is not None


def printable(text: str) -> str:
    """Return the text with control characters written out, such as \\x1b."""
    return _CONTROL.sub(lambda sign: repr(sign[0])[1:-1], text)


@contextmanager
def needing_extra(what: str, extra: str) -> Iterator[None]:
    """Raise MissingPackageError, with the command that installs `extra`, if a package is missing in this block. what:
    needs it."""
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(f"{what} needs a package: pip install 'dabs_rq[{extra}]' ({error})") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the error text for an unknown name: it suggests the nearest match and lists all known names."""
    names = sorted(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {matches[0]!r}?" if matches else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}."
