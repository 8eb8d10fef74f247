"""PAMAP2 activity monitoring: windows of heart rate and three inertial units, by activity.

A subject's file is decoded once to an array (rows, 1 + 52): the activity id, then heart rate and 3 x 17 IMU columns.
Windows are slices of it, so a prepared array stays memory-mapped. A missing value is NaN in that array and 0 in a
window, which is the mean if columns are z-scores.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Column, Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Stored
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.domain import Task
from dabs_rq.domains.sensor.windows import Recordings, Sampler
from dabs_rq.errors import DataError, MissingDataError, OptionError, unknown
from dabs_rq.files import check_regular
from dabs_rq.spec import Archive, Multiclass, Source

PROTOCOL_FOLDER = "PAMAP2_Dataset/Protocol"
COLUMNS = 54  # timestamp, activity id, heart rate, 3 x 17 IMU
# In DABS's order, which defines the labels: lying, sitting, standing, walking, running, cycling, Nordic walking,
# ascending and descending stairs, vacuum cleaning, rope jumping. DABS leaves out ironing (17), and so do we.
ACTIVITIES = (1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 24)
# Every id that the dataset documents: 0 is transient, the rest are ironing and the optional activities.
KNOWN_IDS = (*range(8), *range(9, 14), *range(16, 21), 24)
SUBJECTS = {
    "train": (101, 102, 103, 104, 107, 108, 109),
    "validation": (105,),
    "test": (105,),
    "subject106": (106,),
}
TRAIN_DRAWS, OTHER_DRAWS = 50_000, 10_000  # windows in an epoch of draws

SOURCE = Source(
    name="pamap2",
    title="PAMAP2 Physical Activity Monitoring",
    url="https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip",
    folder="sensor/pamap2",
    layout="PAMAP2_Dataset/Protocol/subject101.dat ... subject109.dat\n(the archive wraps another: extract both)",
    needs=(PROTOCOL_FOLDER,),
    licence="CC BY 4.0",
    size="0.7 GB, 1.7 GB extracted",
    citation="Reiss and Stricker: Introducing a New Benchmarked Dataset for Activity Monitoring. ISWC 2012.",
    archives=(
        Archive(
            "https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip",
            inner="PAMAP2_Dataset.zip",
            mirrors=("https://archive.ics.uci.edu/ml/machine-learning-databases/00231/PAMAP2_Dataset.zip",),
        ),
    ),
)


# ---- one file ----------------------------------------------------------------------------------------------------


def decode(row: dict[str, Any], root: Path, interpolation: str, by_activity: bool) -> np.ndarray:
    """Decode one subject's file to float32 (rows, 53): activity id, heart rate, IMU columns in file order.

    interpolation: "file" or "bout", see `SensorProtocol.pamap2_interpolation`. by_activity: keep only rows of
    `ACTIVITIES`, sorted by activity, as DABS's boolean filter concatenates them; False keeps every row.
    Raises DataError with file and line for a wrong number of columns, a non-number or an unknown activity id.
    """
    values = _parse(root / row["path"])
    ids = values[:, 0]
    if interpolation == "file":
        _interpolate(values[:, 1:], backwards=False)
    else:
        for start, stop in _runs(ids):
            _interpolate(values[start:stop, 1:], backwards=True)
    if by_activity:
        values = values[np.concatenate([np.flatnonzero(ids == activity) for activity in ACTIVITIES])]
    return values.astype(np.float32)


def _parse(path: Path) -> np.ndarray:
    """Read a .dat file to float64 (rows, 53), without timestamps."""
    from pyarrow import csv

    names = [str(column) for column in range(COLUMNS)]
    check_regular(path)
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=names),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=["NaN"]),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _fault(path, str(error)) from error
    values = np.empty((table.num_rows, COLUMNS - 1))
    for column in range(1, COLUMNS):
        values[:, column - 1] = table[column].to_numpy()
    if not np.isin(values[:, 0], KNOWN_IDS).all() or np.isinf(values).any():
        raise _fault(path, "activity ids")
    return values


def _fault(path: Path, reason: str) -> DataError:
    """Return the error for a file that cannot be parsed; reads it again, slowly, to find the first bad line."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not (text := line.rstrip("\r\n")):
                continue
            place, fields = f"{path}, line {number}", text.split(" ")
            if len(fields) != COLUMNS:
                return DataError(f"{place}: expected {COLUMNS} columns separated by one space, found {len(fields)}")
            for column, field in enumerate(fields, start=1):
                if field != "NaN" and not _is_number(field):
                    return DataError(f"{place}, column {column}: expected a number or NaN, found {field!r}")
            if float(fields[1]) not in KNOWN_IDS:
                return DataError(
                    f"{place}: unknown activity id {fields[1]}; PAMAP2 has {', '.join(map(str, KNOWN_IDS))}"
                )
    return DataError(f"{path}: cannot be read ({reason})")


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _interpolate(values: np.ndarray, backwards: bool) -> None:
    """Fill NaN in place, per column: linearly between readings, and with the last reading after it.

    backwards: also fill with the first reading before it. With False this is pandas' `interpolate()`. Columns without
    any reading stay NaN.
    """
    missing = np.isnan(values)
    for column in np.flatnonzero(missing.any(axis=0)):
        gaps, known = np.flatnonzero(missing[:, column]), np.flatnonzero(~missing[:, column])
        if len(known):
            left = None if backwards else np.nan
            values[gaps, column] = np.interp(gaps, known, values[known, column], left=left)


def _runs(ids: np.ndarray) -> list[tuple[int, int]]:
    """List (start, stop) of every maximal run of equal ids."""
    borders = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    return list(pairwise(borders)) if len(ids) else []


# ---- a split -----------------------------------------------------------------------------------------------------


def _column(request: Request) -> tuple[list[int], Column]:
    """Return the subjects of a split that are there, and the column of their arrays."""
    if request.split not in SUBJECTS:
        raise OptionError(unknown("PAMAP2 split", request.split, SUBJECTS))
    root, protocol = request.folder(SOURCE), request.protocol
    paths = {subject: f"{PROTOCOL_FOLDER}/subject{subject}.dat" for subject in SUBJECTS[request.split]}
    present = {subject: path for subject, path in paths.items() if (root / path).exists()}
    if not present:
        raise MissingDataError(missing_text(SOURCE, request.root, [root / path for path in paths.values()]))
    request.expect(f"PAMAP2 subject files of {request.split}", len(paths), len(present))
    interpolation, by_activity = protocol.pamap2_interpolation, protocol.pamap2_windows == "draws"
    column = Decoded(
        items=pa.table({"path": list(present.values())}),
        decode=partial(decode, root=root, interpolation=interpolation, by_activity=by_activity),
        root=root,
        shape=(None, COLUMNS - 1),
        dtype="float32",
        version=f"pamap2 1 interpolation={interpolation} by_activity={by_activity}",
    )
    return list(present), column


def _recordings(request: Request) -> Recordings:
    """Load the subjects of a split. Stretches are bouts, or all rows of an activity for random labelled draws."""
    subjects, decoded = _column(request)
    column = request.prepare(decoded)
    arrays = [_array(column, row) for row in range(len(subjects))]
    stretches = [
        (which, ACTIVITIES.index(activity), start, stop - start)
        for which, array in enumerate(arrays)
        for start, stop in _runs(array[:, 0])
        if (activity := int(array[start, 0])) in ACTIVITIES
    ]
    return Recordings(
        subjects=np.array(subjects),
        series=[array[:, 1:] for array in arrays],
        stretches=np.array(stretches, np.int64).reshape(-1, 4),
        classes=len(ACTIVITIES),
        key=column.key,
    )


def _array(column: Column, row: int) -> np.ndarray:
    """Return a subject's array, memory-mapped if it is prepared, else decoded."""
    return column[row] if isinstance(column, Stored) else column.take(np.array([row]))[0]


_SCALES: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # by the key of the training recordings


def _scale(training: Request, recordings: Recordings | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation, (columns,), that every split is scaled by. They are those of the training
    windows: they include interpolated values, but no rows of other activities.

    recordings: the training recordings; None loads them, once in a process.
    """
    key = recordings.key if recordings is not None else _column(training)[1].key
    if key not in _SCALES:
        _SCALES[key] = (recordings or _recordings(training)).statistics()
    return _SCALES[key]


def _sampler(request: Request, labelled: bool) -> Sampler:
    recordings = _recordings(request)
    mean, std = np.zeros(COLUMNS - 2), np.ones(COLUMNS - 2)
    if request.protocol.pamap2_normalise:
        training = request.split == "train"
        mean, std = _scale(replace(request, split="train"), recordings if training else None)
    spare = int(request.protocol.pamap2_windows == "draws")
    sampler = Sampler(recordings, mean, std, request.inputs[0].shape[0], spare, labelled)
    if not sampler.start_counts.any():
        files = ", ".join(f"subject{subject}.dat" for subject in recordings.subjects)
        raise DataError(
            f"{request.root / SOURCE.folder / PROTOCOL_FOLDER}: no window in {files}: it takes a run of "
            f"{sampler.length + spare} rows of one activity (ids {', '.join(map(str, ACTIVITIES))}), "
            f"the longest has {recordings.stretches[:, 3].max(initial=0)}"
        )
    return sampler


def _draws(request: Request, sampler: Sampler) -> Examples:
    training = request.split == "train"
    count = TRAIN_DRAWS if training else OTHER_DRAWS
    if request.protocol.pamap2_draws == "cloned":
        return sampler.cloned(count)
    first = sampler.fresh(count, seed=0, epoch=0)
    return replace(first, redraw=partial(sampler.fresh, count)) if training else first


def load(request: Request) -> Examples:
    """Load labelled windows (320, 52), grouped by subject: a sweep of all bouts, or random draws as in DABS."""
    sampler = _sampler(request, labelled=True)
    return sampler.sweep() if request.protocol.pamap2_windows == "sweep" else _draws(request, sampler)


def load_unlabelled(request: Request) -> Examples:
    """Load windows without labels: random draws for "train", the windows of `load` for "validation" (subject 105)."""
    sampler = _sampler(request, labelled=False)
    sweep = request.protocol.pamap2_windows == "sweep" and request.split != "train"
    return sampler.sweep() if sweep else _draws(request, sampler)


PAMAP2 = Task(
    name="pamap2",
    row="PAMAP2",
    source=SOURCE,
    target=Multiclass(len(ACTIVITIES)),
    metric="accuracy",
    load=load,
    extra_splits=("subject106",),
    unused_outputs=1,
)
