"""The request that a reader gets, and the text for a missing source."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dabs_rq import spec
from dabs_rq.data.columns import Column
from dabs_rq.errors import DataError, DataWarning, MissingDataError


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a reader should load.

    root: the data root. split: "train", "test" or another that the task declares. inputs: the domain's inputs at this
    scale. protocol: holds the domain's own options too. prepare: caches decoded arrays, for a reader that needs them to
    build its index. strict: raise DataError instead of warning if a count differs from the declared one. made_up: the
    data are the miniature, whose counts are not checked. jpeg: how large JPEG files are decoded, see
    `readers.image.column`.
    """

    root: Path
    split: str
    inputs: tuple[spec.Input, ...]
    protocol: Any
    prepare: Callable[[Column], Column]
    strict: bool = False
    made_up: bool = field(default=False)
    jpeg: Literal["full", "scaled"] = "full"

    def folder(self, source: spec.Source) -> Path:
        """Return the source's folder. Raises MissingDataError, with the steps to get the source, if it lacks files."""
        if missing := source.missing(self.root):
            raise MissingDataError(missing_text(source, self.root, missing))
        return self.root / source.folder

    def expect(self, what: str, declared: int, found: int) -> None:
        """Warn (raise DataError if `strict`) if a count of the real data differs from the declared one."""
        if self.made_up or declared == found:
            return
        text = f"{what}: {declared:,} are declared, {found:,} were found under {self.root}"
        if self.strict:
            raise DataError(f"{text}. Fetch the source again, or set loader.strict=false to use the data as they are.")
        warnings.warn(text, DataWarning, stacklevel=2)


def missing_text(source: spec.Source, root: Path, missing: Sequence[Path]) -> str:
    """Return the error text for a source of which `missing` do not exist: its layout, URL and registration."""
    shown = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    registration = source.registration or "none needed"
    return (
        f"{source.title} is not under {root}: missing {shown}.\n"
        f"  expected layout below {root / source.folder}:\n"
        + "".join(f"    {line}\n" for line in source.layout.strip().splitlines())
        + f"  source: {source.url}\n  registration: {registration}"
    )
