"""Records: one JSON file per result, next to its predictions. The JSON is written last, so a record implies both."""

from __future__ import annotations

import dataclasses
import json
import marshal
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Interval, Le

from dabs_rq.data.readers.parquet import check_opened
from dabs_rq.errors import RecordError, first_line, has_control, shown
from dabs_rq.files import atomic_path, check_regular
from dabs_rq.metrics import metric, metric_names

FORMAT = 1
MAX_BYTES = 16 << 20  # a record has about 10 kB
Count = Annotated[int, Interval(ge=0, le=2**63 - 1)]
Share = Annotated[float, Interval(ge=0, le=1)]
NotNegative = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One result: the score of a method on a task, and its provenance.

    Identity: data, scale, protocol, domain, method, variant, task, seed, split ("test", or an extra split's name).
    score: a fraction; None if it is undefined. Exactly then status is "failed", and reason explains it.
    n_examples: scored examples; n_train: the probe's training examples. majority: the accuracy of always predicting the
    most frequent class, None where accuracy does not apply. standard_error: of the score, over test splits of this
    size; None if undefined. also: scores of further metrics, without undefined ones.
    probe: which probe, and how it was fitted. spectrum: of the features of up to 512 training examples, see
    `dabs_rq.records.spectrum`. checkpoint: hash of the encoder's weights. architecture: of a network that is scored as
    it is, a hash of all else that changes its features; "" for the encoder of a method. train_split, test_split: hashes
    of ids, targets and inputs; inputs enter by their files' times, so these compare on one machine only.
    train_labels, test_labels: hashes of ids and targets, equal on every machine. code: hashes of the modules that
    computed the record.
    """

    __pydantic_config__: ClassVar[Any] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}

    data: str
    scale: str
    protocol: str
    domain: str
    method: str
    variant: str
    task: str
    seed: Count
    split: str
    metric: str
    score: Annotated[float, Le(1)] | None
    status: Literal["ok", "failed"] = "ok"
    reason: str | None = None
    made_up_data: bool
    n_examples: Count
    n_train: Count
    majority: Share | None = None
    standard_error: NotNegative | None = None
    also: dict[str, float] = field(default_factory=dict)
    checkpoint: str
    architecture: str = ""
    train_split: str
    test_split: str
    train_labels: str = ""
    test_labels: str = ""
    probe: dict[str, Any] = field(default_factory=dict)
    spectrum: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    seconds: NotNegative
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
    def further_probe(self) -> str | None:
        """The name of the probe; None for the run's own probe, the option transfer.probe."""
        probe = self.probe.get("probe")
        return probe if probe != self.options.get("transfer.probe", probe) else None

    @property
    def file_name(self) -> str:
        return file_name(self.task, self.split, self.further_probe)


def file_name(task: str, split: str = "test", further_probe: str | None = None) -> str:
    """Return the name of a record's file. further_probe: a probe other than the run's own."""
    of_split = "" if split == "test" else f"@{split}"
    return f"{task}{of_split}{'' if further_probe is None else f'+{further_probe}'}.json"


def write(folder: Path, record: Record, ids: Any, targets: np.ndarray, outputs: np.ndarray) -> Path:
    """Write the predictions (id, target, output; in the split's order), then the record. Returns the record's file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / record.file_name
    table = pa.table({"id": ids, "target": _column(targets), "output": _column(outputs.astype(np.float32))})
    text = json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False) + "\n"
    with atomic_path(file) as temporary:  # both are written before either is renamed, the predictions first
        temporary.write_text(text, encoding="utf-8")
        with atomic_path(file.with_suffix(".parquet")) as predictions:
            pq.write_table(table, predictions, write_page_checksum=True)
    return file


def read(file: Path) -> Record:
    """Read the record in `file`. Raises RecordError, which names the file and what is wrong with each field."""
    check_regular(file, RecordError)
    if (size := file.stat().st_size) > MAX_BYTES:
        raise RecordError(f"{file} has {size:,} bytes; a record has at most {MAX_BYTES:,}")
    try:
        text = file.read_text(encoding="utf-8")
        values, finite = _parsed(text)
        infinite = [] if finite else [f"{name} is {value}, not a finite number" for name, value in _not_finite(values)]
        unprintable = []
        if "\\" in text or has_control(text):  # else no text in it holds a control character or a lone surrogate
            json.dumps(values, ensure_ascii=False).encode()  # a lone surrogate cannot be encoded when we write it again
            unprintable = [f"{name} holds control characters" for name, text in _texts(values) if has_control(text)]
    except OSError as error:
        raise RecordError(f"{file} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{file} is not JSON ({first_line(error)})") from error
    if not isinstance(values, dict):
        raise RecordError(f"{file}: a JSON object expected; got {type(values).__name__}")
    if type(written := values.get("format")) is not int or written != FORMAT:
        raise RecordError(f"{file} has record format {written}; this version reads {FORMAT}")
    from pydantic import ValidationError

    problems = infinite + unprintable
    try:
        result = _adapter().validate_json(text)  # validate_python with strict=True rejects a dict
    except ValidationError as error:
        raise RecordError(f"{file}: {'; '.join(dict.fromkeys([*problems, *map(_explain, error.errors())]))}") from error
    if (result.score is None) != (result.status == "failed"):
        problems.append(f"score {result.score!r} with status {result.status!r}")
    if result.status == "ok" and result.reason is not None:
        problems.append(f"reason {shown(result.reason)} with status 'ok'")
    known = metric_names()
    if result.metric not in known:
        problems.append(f"unknown metric {result.metric!r}")
    elif result.score is not None and result.score < metric(result.metric).lowest:
        lowest = metric(result.metric).lowest
        problems.append(f"score {result.score} is not a fraction of at least {lowest:g}, the lowest {result.metric}")
    problems += [f"also has the unknown metric {name!r}" for name in result.also if name not in known]
    probes = {"probe.probe": result.probe.get("probe", ""), "transfer.probe": result.options.get("transfer.probe", "")}
    problems += [f"{name} {shown(value)} is not text" for name, value in probes.items() if not isinstance(value, str)]
    if problems:
        raise RecordError(f"{file}: {'; '.join(problems)}")
    return result


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def _parsed(text: str) -> tuple[Any, bool]:
    """Parse JSON, and say whether all its numbers are finite; Python also reads NaN, Infinity and 1e999."""
    finite = True

    def number(digits: str) -> float:
        nonlocal finite
        value = float(digits)
        finite = finite and math.isfinite(value)
        return value

    return json.loads(text, parse_float=number, parse_constant=number), finite


def _not_finite(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, value) of each NaN and infinity in a JSON value; Python reads them although JSON forbids them."""
    if isinstance(value, float) and not math.isfinite(value):
        yield name, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _not_finite(inner, f"{name}.{key}" if name else str(key))


def _texts(values: Any) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the fields that tables and comparisons print, and of the names in them; options and the
    reason of a failure may quote anything."""
    for name, value in values.items() if isinstance(values, dict) else ():
        for text in (name, value, *(value if isinstance(value, dict) else ())):
            if isinstance(text, str) and name != "reason":
                yield shown(name), text
        if isinstance(value, dict) and name != "options":
            yield from _texts(value)


def _explain(error: Any) -> str:
    name, value = ".".join(map(str, error["loc"])), repr(error["input"])
    match error["type"]:
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"missing {name}"
        case "json_invalid":
            return str(error["msg"])
        case "unexpected_keyword_argument":
            return f"unknown {name}"
    if name == "score":
        return f"score {value} is not a fraction"
    shown = value if len(value) < 80 else f"{value[:80]}..."
    return f"{name} {shown}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def read_all(
    folder: Path, check: Callable[[Path, Record], None] | None = None
) -> tuple[list[Record], list[RecordError]]:
    """Read all records under `folder`, sorted by path.

    Returns the records, and the errors of files that cannot be read or for which `check` raises RecordError.
    """
    records, errors = [], []
    known: dict[bytes, dict[str, Any]] = {}
    for file in sorted(folder.rglob("*.json")):
        if file.name.startswith("."):
            continue
        try:
            result = read(file)
            if check is not None:
                check(file, result)
            _share(result, known)
            records.append(result)
        except RecordError as error:
            errors.append(error)
    return records, errors


def _share(result: Record, known: dict[bytes, dict[str, Any]]) -> None:
    """Let a record share equal options, code and versions with the records before it: they are most of its memory."""
    for name in ("options", "code", "versions"):
        value = getattr(result, name)
        content = marshal.dumps(value, 2)  # version 2 writes no references: equal values give equal bytes
        object.__setattr__(result, name, known.setdefault(content, value))


class Predictions(NamedTuple):
    """The data from which a record's score was computed. targets, outputs: in the shape that the metrics take. Outputs
    of tokens that have no class are as the probe gave them."""

    ids: list[str]
    targets: np.ndarray
    outputs: np.ndarray


def predictions(file: Path) -> Predictions:
    """Read the predictions of the record `file`. Raises RecordError if they are missing or damaged."""
    import pyarrow.parquet as pq

    parquet_file = file.with_suffix(".parquet")
    try:
        check_regular(parquet_file, RecordError)
        # Small files: threads, and buffers that threads fill, cost more than they save.
        with pq.ParquetFile(parquet_file, page_checksum_verification=True, pre_buffer=False) as opened:
            check_opened(parquet_file, opened, RecordError)
            table = opened.read(use_threads=False)
        targets, outputs = (_array(table[name].combine_chunks()) for name in ("target", "output"))
        return Predictions(table["id"].to_pylist(), targets, outputs.astype(np.float32))
    except Exception as error:  # a damaged file can raise any type
        raise RecordError(f"{parquet_file}: no readable predictions ({error})") from error


def _array(column: Any) -> np.ndarray:
    """Convert a column: numbers to (n,), lists of k numbers to (n, k), lists of such lists to (n, m, k)."""
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    inner = _array(column.flatten())
    return inner.reshape(len(column), -1, *inner.shape[1:])


def _column(values: np.ndarray) -> Any:
    """Make a column of numbers (n, ...), in nested lists."""
    import pyarrow as pa

    column = pa.array(values.reshape(-1))
    for length in reversed(values.shape[1:]):
        column = pa.ListArray.from_arrays(np.arange(0, len(column) + 1, length, dtype=np.int32), column)
    return column
