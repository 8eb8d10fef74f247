"""Resume points: which one a training may go on from. One of other options, code or data is set aside."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dabs_rq.pretrain.logs import LOG, TENSORBOARD
from dabs_rq.run import Run
from dabs_rq.run.changes import changed_code, changed_options, comparable_code

RESUME = "resume"  # stem of resume.ckpt, the resume point of an interrupted run


def resume_step(run: Run, resume: Path, origin: Mapping[str, Any]) -> int:
    """Return the step of a resume point; 0 if there is none. Renames one that cannot be read or has another origin."""
    if not resume.exists():
        return 0
    try:
        point = torch.load(resume, map_location="cpu", weights_only=True)
        step, changes = int(point["global_step"]), _changes(run, point.get("origin", {}), origin)
        if not changes:
            print(f"resuming from step {step}")
            return step
        why = "; ".join(changes)
    except Exception as error:  # a damaged file can raise any type
        why = f"it cannot be read ({type(error).__name__})"
    aside = resume.with_suffix(".unused")
    print(f"not resuming from {resume}: {why}; kept as {aside}. Training starts at step 0.", flush=True)
    with contextlib.suppress(FileNotFoundError):  # another rank was faster
        _set_logs_aside(resume.parent)
        resume.replace(aside)
    return 0


def _set_logs_aside(folder: Path) -> None:
    """Rename the logs of a training that is not resumed, so that no curve joins its losses to those of another."""
    for name in (LOG, TENSORBOARD):
        if (logs := folder / name).is_dir():
            shutil.rmtree(unused := folder / f"{name}.unused", ignore_errors=True)
            logs.replace(unused)


def _changes(run: Run, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between the origin of a resume point and that of this run."""
    if missing := [name for name in now if name not in then]:
        return [f"it does not say with which {', '.join(missing)} it began"]
    changes = [] if then["examples"] == now["examples"] else ["the examples under the data root have changed"]
    if options := changed_options(run, then["options"], of_pretraining=True):
        changes.append(f"it began with other options ({'; '.join(options)})")
    if then["precision"] != now["precision"]:
        changes.append(f"it began in precision {then['precision']}; this device gives {now['precision']}")
    if not comparable_code(then["versions"]):
        changes.append("it began under another version of Python, so its code cannot be compared")
    elif code := changed_code(then["code"], now["code"], then["versions"]):
        changes.append(f"the code has changed ({', '.join(code)})")
    return changes
