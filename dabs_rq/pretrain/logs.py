"""Reads what pretrainings logged: metrics.csv in a folder for each start."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

LOG, TENSORBOARD = "log", "tensorboard"  # folders beside a checkpoint, of the logs of all starts
TAIL = 1 << 14  # bytes, room for many lines


class Logged(NamedTuple):
    """The last loss that was logged, and its step."""

    step: int
    loss: float


def read(folder: Path) -> pd.DataFrame | None:
    """Read all that a pretraining logged to its folder `LOG`: columns step and one per scalar, in the order of steps;
    None if nothing can be read. Each start of training writes a new file; for steps that a resumed run repeats, the
    later file counts."""
    import pandas as pd

    parts = []
    for file in _files(folder):
        try:
            part = pd.read_csv(file, on_bad_lines="skip").apply(pd.to_numeric, errors="coerce")
            parts.append(part.dropna(subset="step").drop(columns="epoch", errors="ignore"))
        except Exception:  # a damaged file can raise any type
            continue
    log = pd.concat(parts).groupby("step", as_index=False).last() if parts else None
    return None if log is None or log.empty else log


def latest(folder: Path) -> Logged | None:
    """Read the last loss of the last start from a folder `LOG`, while it is being written; None if there is none yet.
    Reads the end of the file only."""
    try:
        file = _files(folder)[-1]
        with file.open("rb") as opened:
            head = opened.readline().decode()
            opened.seek(max(opened.tell(), os.fstat(opened.fileno()).st_size - TAIL))
            lines = opened.read().decode().rpartition("\n")[0].splitlines()  # the last line may be half written
        names = next(csv.reader([head]))
        for line in reversed(lines):
            values = dict(zip(names, next(csv.reader([line]), []), strict=False))
            if values.get("loss") and math.isfinite(loss := float(values["loss"])):
                return Logged(int(values["step"]), loss)
    except (OSError, ValueError, LookupError, StopIteration, csv.Error):
        return None  # not there yet, or half a line
    return None


def _files(folder: Path) -> list[Path]:
    """List the logs of all starts, the last one last."""
    found = {file: file.parent.name.rpartition("-")[2] for file in folder.glob("from-step-*/metrics.csv")}
    return sorted((file for file, step in found.items() if step.isdecimal()), key=lambda file: int(found[file]))
