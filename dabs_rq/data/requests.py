"""What a reader is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dabs_rq import spec
from dabs_rq.data.columns import Column
from dabs_rq.errors import DataError, DataWarning, MissingDataError


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a reader is asked for.

    root: the data root. split: "train", "test" or another that the task declares.
    inputs: the domain's inputs at this scale.
    protocol: with the domain's own options. prepare: keeps decoded arrays (for a reader that must look into them to
    make its index). strict: a count that differs from the declared one is an error instead of a warning.
    """

    root: Path
    split: str
    inputs: tuple[spec.Input, ...]
    protocol: Any
    prepare: Callable[[Column], Column]
    strict: bool = False
    made_up: bool = field(default=False)

    def folder(self, source: spec.Source) -> Path:
        """The source's folder, if all it needs is there; else an error that tells how to get it."""
        if missing := source.missing(self.root):
            raise MissingDataError(missing_text(source, self.root, missing))
        return self.root / source.folder

    def expect(self, what: str, declared: int, found: int) -> None:
        """Compare a count of the real data with the declared one."""
        if self.made_up or declared == found:
            return
        text = f"{what}: {declared:,} are declared, {found:,} were found under {self.root}"
        if self.strict:
            raise DataError(f"{text}. Fetch the source again, or leave strict=false to go on with what is there.")
        warnings.warn(text, DataWarning, stacklevel=2)


def missing_text(source: spec.Source, root: Path, missing: Sequence[Path]) -> str:
    shown = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    registration = source.registration or "none needed"
    return (
        f"{source.title} is not under {root}: missing {shown}.\n"
        f"  expected layout below {root / source.folder}:\n"
        + "".join(f"    {line}\n" for line in source.layout.strip().splitlines())
        + f"  source: {source.url}\n  registration: {registration}"
    )
