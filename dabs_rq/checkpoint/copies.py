"""Copies of our checkpoints with another description."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dabs_rq.checkpoint.files import verified
from dabs_rq.errors import CheckpointError
from dabs_rq.files import atomic_path, explained


def copy(path: Path, target: Path, change: Callable[[Any], Any]) -> None:
    """Copy one of our checkpoints, its tensors unchanged and `about` in its description as `change` returns it.

    Raises CheckpointError as `verified` does.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    built = verified(path)
    described = json.dumps(built | {"about": change(built["about"])})
    with explained(path, "damaged or not a checkpoint", error=CheckpointError), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with atomic_path(target) as temporary:
        save_file(tensors, temporary, metadata={"dabs_rq": described})
