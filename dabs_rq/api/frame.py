"""Reads every score of a folder of runs as one tidy table."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabs_rq.errors import DataWarning, OptionError, RecordError
from dabs_rq.records import record
from dabs_rq.records.record import Record

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("data", "scale", "protocol", "domain", "task", "method", "variant", "probe", "seed", "split")
SCORE = ("own_probe", "metric", "score", "standard_error", "n_examples", "n_train", "made_up_data")
COLUMNS = (*IDENTITY, *SCORE, "status", "reason", "checkpoint", "created", "file")


def results(runs: str | Path = "runs") -> pd.DataFrame:
    """Read every record below a folder of runs: one line per score, sorted by what identifies it.

    Columns: data, scale, protocol, domain, task, method (or the name of a network), variant, probe, seed, split,
    own_probe (whether it is the protocol's, which tables show), metric, score and standard_error (in percent; NaN
    without a score), n_examples, n_train, made_up_data, status, reason, checkpoint, created, file. Data, scales,
    protocols and variants are all there: select before you average. A table computes each score again from its
    predictions; this function does not.
    Raises: OptionError if there is no such folder. A file that cannot be read gives a warning.
    """
    folder = Path(runs).expanduser()
    if not folder.is_dir():
        raise OptionError(f"runs={runs} is no folder; it is the one that `make transfer` and dabs_rq.evaluate write")
    return frame_of(sorted(file for place in folder.glob("*/*/*/records") for file in place.rglob("*.json")))


def frame_of(files: Iterable[Path]) -> pd.DataFrame:
    """Read the records in `files` as `results` does."""
    import pandas as pd

    lines = []
    for file in files:
        if file.name.startswith("."):
            continue
        try:
            lines.append(_line(file, record.read(file)))
        except RecordError as error:
            warnings.warn(f"left out: {error}", DataWarning, stacklevel=3)
    return pd.DataFrame(lines, columns=list(COLUMNS)).sort_values(list(IDENTITY), ignore_index=True)


def _line(file: Path, result: Record) -> dict[str, Any]:
    computed = ("probe", "own_probe", "file", "score", "standard_error")
    line = {name: getattr(result, name) for name in COLUMNS if name not in computed}
    line |= {"probe": result.probe.get("probe", ""), "own_probe": result.further_probe is None}
    for name in ("score", "standard_error"):
        value = getattr(result, name)
        line[name] = float("nan") if value is None else 100 * value
    return line | {"file": str(file)}
