"""ChestX-ray8: frontal chest X-rays with 8 findings mined from reports; all 112,120 pictures of NIH's ChestX-ray14."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import image
from dabs_rq.data.readers.index import first_duplicate
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.domain import Task
from dabs_rq.errors import DataError, MissingDataError, unknown
from dabs_rq.files import reading
from dabs_rq.spec import Multilabel, Source

IMAGES = "images"
# NIH's table under DABS's name, or under its two published names; the first that exists is read.
TABLES = ("metadata.csv", "Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
TARGET = Multilabel(
    ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
)
# Findings in NIH's table that are not labels of the task.
OTHERS = ("Consolidation", "Edema", "Emphysema", "Fibrosis", "Hernia", "No Finding", "Pleural_Thickening")
TRAIN_SHARE = 0.9

SOURCE = Source(
    name="xray8",
    title="NIH ChestX-ray8",
    url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    folder="medical_images/xray8",
    layout=f"""
images/00000001_000.png ...   the 12 archives images_001.tar.gz ... extracted into one folder
metadata.csv                  or, under NIH's own names, {" or ".join(TABLES[1:])}
""",
    needs=(IMAGES,),
    licence="free use with attribution to the NIH Clinical Center",
    size="45 GB",
    citation="Wang et al. 2017, ChestX-ray8: Hospital-Scale Chest X-Ray Database and Benchmarks on Weakly-Supervised "
    "Classification and Localization of Common Thorax Diseases, CVPR, arXiv:1705.02315",
)


class Metadata(NamedTuple):
    """The needed columns of the table, (n,) each. targets: (n, 8) 0/1. lines: the line of each row in `file`."""

    file: Path
    names: pa.Array
    targets: np.ndarray
    patients: np.ndarray
    lines: np.ndarray


def load(request: Request) -> Examples:
    """Split the pictures on disk 90/10 as DABS does, by single pictures or by patients (protocol.xray8_split).

    Groups are the patients. "image" applies DABS's procedure to sorted names: DABS shuffles them in file system order,
    so its own split cannot be reproduced exactly.
    """
    folder = request.folder(SOURCE)
    metadata = _metadata(folder, request.root)
    names, rows = _pictures(folder / IMAGES, metadata)
    request.expect(f"ChestX-ray8 pictures that {metadata.file.name} lists", len(metadata.names), len(names))
    patients = metadata.patients[rows]
    by_patient = request.protocol.xray8_split == "patient"
    train, test = _by_patient(patients) if by_patient else _by_image(len(names))
    if len(train) == 0 or len(test) == 0:
        raise DataError(
            f"{folder / IMAGES}: {len(names)} pictures of {len(np.unique(patients))} patients are too few for a 90/10 "
            f"split by {request.protocol.xray8_split}"
        )
    chosen = train if request.split == "train" else test
    paths = pc.binary_join_element_wise(IMAGES, names.take(pa.array(chosen)), "/")
    return Examples(
        ids=paths,
        inputs=(image.column(pa.table({"path": paths}), folder, request.inputs[0].shape, request.jpeg),),
        targets=metadata.targets[rows[chosen]],
        groups=patients[chosen],
    )


# ---- the split -----------------------------------------------------------------------------------------------------


def _by_image(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Split as DABS does: the first int(0.9 n) of one permutation are for training."""
    order = np.random.RandomState(42).permutation(n)
    cut = int(n * TRAIN_SHARE)
    return order[:cut], order[cut:]


def _by_patient(patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split one permutation of patients: the first are for training, as many as come closest to 0.9 of the pictures."""
    _, patient_index, counts = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.random.RandomState(42).permutation(len(counts))
    cumulative = np.cumsum(counts[order])
    cut = int(np.abs(cumulative - TRAIN_SHARE * len(patients)).argmin()) + 1
    for_training = np.zeros(len(counts), bool)
    for_training[order[:cut]] = True
    return np.flatnonzero(for_training[patient_index]), np.flatnonzero(~for_training[patient_index])


# ---- the files -----------------------------------------------------------------------------------------------------


def _pictures(folder: Path, metadata: Metadata) -> tuple[pa.Array, np.ndarray]:
    """Return the sorted names of the pictures in `folder`, and their rows in the table. Raises DataError for a picture
    without a row."""
    with os.scandir(folder) as entries:
        names = pa.array(sorted(entry.name for entry in entries if not entry.name.startswith(".")), pa.string())
    if len(names) == 0:
        raise DataError(f"{folder}: no picture in it")
    rows = pc.index_in(names, value_set=metadata.names)
    if rows.null_count:
        first = names.filter(rows.is_null())[0].as_py()
        raise DataError(
            f"{folder / first}: has no line in {metadata.file.name} ({rows.null_count} of {len(names)} entries have "
            f"none). Put the pictures into {IMAGES}/ itself, and nothing else."
        )
    return names, rows.to_numpy()


def _metadata(folder: Path, root: Path) -> Metadata:
    tables = [folder / name for name in TABLES]
    file = next((table for table in tables if table.is_file()), None)
    if file is None:
        raise MissingDataError(missing_text(SOURCE, root, tables[:1]))
    columns, places = _columns(file)
    names, findings, patients = (pa.array(column, pa.string()) for column in columns)
    if len(names) == 0:
        raise DataError(f"{file}: lists no picture")
    if duplicate := first_duplicate(names):
        row, before = duplicate
        raise DataError(f"{file}:{places[row]}: {names[row].as_py()} is listed already: {file}:{places[before]}")
    return Metadata(file, names, _targets(findings, file, places), _numbers(patients, file, places), places)


def _columns(file: Path) -> tuple[list[list[str]], np.ndarray]:
    """Read `COLUMNS` of the table as lists of cells, and the line of each row.

    Uses Python's csv, not `csv_table`: in some editions NIH's header, or every line, ends with a comma.
    """
    columns: list[list[str]] = [[] for _ in COLUMNS]
    places: list[int] = []
    rows = _rows(file)
    _, header = next(rows, (0, []))
    if missing := [name for name in COLUMNS if name not in header]:
        raise DataError(
            f"{file}:1: expected columns {', '.join(COLUMNS)}; {', '.join(missing)} missing, found {header}"
        )
    if repeated := [name for name in COLUMNS if header.count(name) > 1]:
        raise DataError(f"{file}:1: expected each column once; {', '.join(repeated)} repeated in {header}")
    positions = [header.index(name) for name in COLUMNS]
    width = len(header) - (header[-1] == "")
    for line, cells in rows:
        if len(cells) != width and not (len(cells) == width + 1 and cells[-1] == ""):
            raise DataError(f"{file}:{line}: expected {width} cells, found {len(cells)}: {','.join(cells)!r}")
        for column, position in zip(columns, positions, strict=True):
            column.append(cells[position])
        places.append(line)
    return columns, np.array(places, np.int64)


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every line that is not blank."""
    with reading(file, "not a csv table"), file.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.reader(opened, strict=True)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _targets(findings: pa.Array, file: Path, places: np.ndarray) -> np.ndarray:
    """Convert findings to targets: (n, 8) 0/1. Parses each of the few hundred distinct combinations once."""
    encoded = findings.dictionary_encode()
    codes = encoded.indices.to_numpy()
    combinations = [text.split("|") for text in encoded.dictionary.to_pylist()]
    known = {*TARGET.labels, *OTHERS}
    for code, combination in enumerate(combinations):
        for name in combination:
            if name not in known:
                where = f"{file}:{places[np.argmax(codes == code)]}"
                raise DataError(f"{where}: {unknown('finding', name, known)}")
    table = [[int(label in combination) for label in TARGET.labels] for combination in combinations]
    return np.array(table, np.int64)[codes]


def _numbers(patients: pa.Array, file: Path, places: np.ndarray) -> np.ndarray:
    whole = pc.match_substring_regex(patients, r"^[0-9]{1,18}$")
    if not pc.all(whole).as_py():
        row = int(np.argmin(whole.to_numpy(zero_copy_only=False)))
        raise DataError(f"{file}:{places[row]}: Patient ID is {patients[row].as_py()!r}, expected a whole number")
    return patients.cast(pa.int64()).to_numpy()


TASK = Task(
    name="xray8",
    row="ChestX-ray8",
    source=SOURCE,
    target=TARGET,
    metric="auroc",
    load=load,
    sizes={"all": 112_120},
)
