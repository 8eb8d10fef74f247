"""Decides whether a finished checkpoint is kept, and says what changed since it was made. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dabs_rq import checkpoint
from dabs_rq.errors import CheckpointError
from dabs_rq.run import Run
from dabs_rq.run.changes import changed_options


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
