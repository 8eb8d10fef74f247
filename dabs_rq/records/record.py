"""Records: one JSON per result, its predictions beside it. The JSON is written last: a record there is a whole one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dabs_rq.errors import RecordError
from dabs_rq.files import atomic_path, write_text

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """One result: a method's score on one task, and what it came from.

    Identity: data, scale, protocol, domain, method, variant, task, seed, split ("test", or an extra split's name).
    score: a fraction, None where it is undefined (then status is "failed" and reason says why).
    n_examples: scored ones; n_train: the probe's. majority: accuracy of the most frequent class, where that applies.
    standard_error: of the score, over test splits of this size. also: scores by other metrics, where they are defined.
    checkpoint: hash of the encoder's weights. train_split, test_split: hashes of ids, targets and inputs, where inputs
    are known by their files' times, so that they compare on one machine; train_labels, test_labels: of ids and targets
    alone, the same everywhere. code: hashes of the modules that computed it.
    """

    data: str
    scale: str
    protocol: str
    domain: str
    method: str
    variant: str
    task: str
    seed: int
    split: str
    metric: str
    score: float | None
    status: str = "ok"
    reason: str | None = None
    made_up_data: bool
    n_examples: int
    n_train: int
    majority: float | None = None
    standard_error: float | None = None
    also: dict[str, float] = field(default_factory=dict)
    checkpoint: str
    train_split: str
    test_split: str
    train_labels: str = ""
    test_labels: str = ""
    probe: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    seconds: float
    created: str
    commit: str | None
    code: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    format: int = FORMAT

    @property
    def why_no_score(self) -> str:
        return self.reason or "no reason given"

    @property
    def file_name(self) -> str:
        return f"{self.task}.json" if self.split == "test" else f"{self.task}@{self.split}.json"


def write(folder: Path, record: Record, ids: Any, targets: np.ndarray, outputs: np.ndarray) -> Path:
    """Write predictions (id, target, output; in the split's order), then the record. Returns the record's file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / record.file_name
    table = pa.table({"id": ids, "target": _column(targets), "output": _column(outputs.astype(np.float32))})
    with atomic_path(file.with_suffix(".parquet")) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)
    write_text(file, json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False) + "\n")
    return file


def read(file: Path) -> Record:
    """The record in `file`. Raises RecordError, naming the file and what is wrong with it."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{file} is no JSON ({error})") from error
    if not isinstance(values, dict):
        raise RecordError(f"{file}: a JSON object expected, {type(values).__name__} found")
    if (found := values.get("format")) != FORMAT:
        raise RecordError(f"{file} has record format {found}; this version reads {FORMAT}")
    known = {one.name: one for one in dataclasses.fields(Record)}
    required = {name for name, one in known.items() if one.default is one.default_factory is dataclasses.MISSING}
    wrong = [f"missing {name}" for name in sorted(required - set(values))]
    wrong += [f"unknown {name}" for name in sorted(set(values) - set(known))]
    score = values.get("score")
    if score is not None and not (isinstance(score, int | float) and -1 <= score <= 1):
        wrong.append(f"score {score!r} is no fraction")
    if (score is None) != (values.get("status") == "failed"):
        wrong.append(f"score {score!r} with status {values.get('status')!r}")
    if wrong:
        raise RecordError(f"{file}: {'; '.join(wrong)}")
    return Record(**values)


def read_all(
    folder: Path, check: Callable[[Path, Record], None] | None = None
) -> tuple[list[Record], list[RecordError]]:
    """All records below `folder` in the order of their paths, and the errors of those that cannot be read or that
    `check` raises RecordError for."""
    found, errors = [], []
    for file in sorted(folder.rglob("*.json")):
        if file.name.startswith("."):
            continue
        try:
            one = read(file)
            if check is not None:
                check(file, one)
            found.append(one)
        except RecordError as error:
            errors.append(error)
    return found, errors


class Predictions(NamedTuple):
    """What a record's score was computed from. targets and outputs: as the metrics take them."""

    ids: list[str]
    targets: np.ndarray
    outputs: np.ndarray


def predictions(file: Path) -> Predictions:
    """The predictions beside the record `file`. Raises RecordError if they are missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    beside = file.with_suffix(".parquet")
    try:
        table = pq.read_table(beside, page_checksum_verification=True)
        targets, outputs = (_array(table[name].combine_chunks()) for name in ("target", "output"))
        return Predictions(table["id"].to_pylist(), targets, outputs.astype(np.float32))
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise RecordError(f"{beside}: no predictions ({error})") from error


def _array(column: Any) -> np.ndarray:
    """(n,) of numbers, (n, k) of lists of k."""
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _column(values: np.ndarray) -> Any:
    return list(values) if values.ndim > 1 else values
