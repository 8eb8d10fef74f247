"""Decides whether a finished checkpoint is kept, and says what changed since it was made. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dabs_rq import checkpoint
from dabs_rq.errors import CheckpointError, DabsRqError, first_line
from dabs_rq.run import Run
from dabs_rq.run.changes import Change, changed_code, changed_options

STALE_SUFFIX = ".stale"  # of files that were computed with other options, code or data


class OtherOptionsError(CheckpointError):
    """An intact checkpoint that was pretrained with other options than the run has."""


def kept(run: Run, file: Path) -> dict[str, Any]:
    """Return the description of the run's checkpoint `file`, if `pretrain` would keep it.

    Raises CheckpointError if it is missing or damaged, OtherOptionsError if it was made with other options.
    """
    described = checkpoint.verified(file)
    if changes := other_options(run, described):
        raise OtherOptionsError(f"{file} was pretrained with other options: {'; '.join(changes)}")
    return described


def other_options(run: Run, described: dict[str, Any]) -> list[str]:
    """List the counted options that differ between a checkpoint's description and the run."""
    recorded = described["about"].get("options")
    return changed_options(run, recorded, of_pretraining=True) if isinstance(recorded, dict) else []


def changes(
    described: dict[str, Any], computed_by: Mapping[str, str], source_key: Callable[[], str] | None
) -> list[Change]:
    """List what changed since a checkpoint was made: its code, and the examples that it was pretrained on.

    computed_by: hashes of the code that would make it now. source_key: computes the key of the examples as they are
    now, None if they are not to be read; what it raises about the data is listed too.
    """
    about = described["about"]
    modules = changed_code(about.get("code", {}), computed_by, about.get("versions", {}))
    listed = [Change("code", ", ".join(modules))] if modules else []
    if about.get("examples") is None or source_key is None:
        return listed
    try:
        if (now := source_key()) != about["examples"]:
            listed.append(Change("data", f"pretrained on {about['examples']}, the source is {now} now"))
    except (DabsRqError, OSError, ValueError) as error:
        listed.append(Change("data", first_line(error)))
    return listed
