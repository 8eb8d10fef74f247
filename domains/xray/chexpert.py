"""CheXpert, small release: frontal and lateral chest X-rays, for pretraining and for detecting 5 observations.

DABS's baselines used CheXpert-v1.0-small (pictures of about 390 x 320). If the full-resolution release is in the same
folder, DABS would read that one; we read the small one.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import image
from dabs_rq.data.readers.index import csv_table, first_duplicate, lines
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.errors import DataError, MissingDataError
from dabs_rq.spec import Multilabel, Source

RELEASE, FULL_RELEASE = "CheXpert-v1.0-small", "CheXpert-v1.0"
PARTS = {"train": "train", "validation": "valid", "test": "valid"}  # the published scores are those of valid.csv
TARGET = Multilabel(("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"))
# Cells mean present, absent or uncertain; blank cells mean not mentioned. As in DABS, the last two count as absent.
CELLS = {1.0: 1, 0.0: 0, -1.0: 0}
BLANK = 0

SOURCE = Source(
    name="chexpert",
    title="CheXpert (v1.0, small)",
    url="https://stanfordmlgroup.github.io/competitions/chexpert/",
    folder="medical_images/chexpert",
    layout=f"""
{RELEASE}/train.csv, valid.csv   Path,Sex,Age,Frontal/Lateral,AP/PA and 14 observations; Path starts with {RELEASE}/
{RELEASE}/train/patient00001/study1/view1_frontal.jpg ...
{RELEASE}/valid/patient64541/study1/view1_frontal.jpg ...
""",
    needs=tuple(f"{RELEASE}/{need}" for need in ("train.csv", "valid.csv", "train", "valid")),
    licence="Stanford University Dataset Research Use Agreement: non-commercial research only",
    size="11 GB",
    citation="Irvin et al. 2019, CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert "
    "Comparison, arXiv:1901.07031",
    registration="register at the address above and accept Stanford's research use agreement; the link to "
    f"{RELEASE}.zip then comes by mail. Extract it by hand",
)


def load(request: Request) -> Examples:
    """Load all views in train.csv ("train") or valid.csv ("validation", "test"), in file order. Groups are patients.

    Raises DataError, with file and line, for a path outside the part, a path listed twice, a cell that is not 1, 0, -1
    or blank, and a missing picture.
    """
    root, part = _folder(request), PARTS[request.split]
    file = root / RELEASE / f"{part}.csv"
    table = csv_table(file, ("Path", *TARGET.labels)).combine_chunks()
    if table.num_rows == 0:
        raise DataError(f"{file}: lists no picture")
    paths = table["Path"].combine_chunks()
    patients = _patients(paths, part, file)
    targets = np.stack([_labels(table[label], label, file) for label in TARGET.labels], axis=1)
    _check_once(paths, file)
    _check_exist(paths, root, file)
    return Examples(
        ids=paths,
        inputs=(image.column(pa.table({"path": paths}), root, request.inputs[0].shape, request.jpeg),),
        targets=targets,
        groups=patients,
    )


def _folder(request: Request) -> Path:
    try:
        return request.folder(SOURCE)
    except MissingDataError as error:
        if not (full := request.root / SOURCE.folder / FULL_RELEASE).is_dir() or full.with_name(RELEASE).exists():
            raise
        raise MissingDataError(
            f"{error}\n  found: {full}, the full-resolution release. The published scores are those of the small one, "
            f"and only {RELEASE} is read: fetch {RELEASE}.zip and extract it beside it."
        ) from error


def _patients(paths: pa.Array, part: str, file: Path) -> np.ndarray:
    """Extract the number in patient00001 from every path: (n,) int64."""
    pattern = f"^{re.escape(f'{RELEASE}/{part}')}/patient(?P<patient>[0-9]{{1,9}})/[^/]+/[^/]+$"
    numbers = pc.struct_field(pc.extract_regex(paths, pattern), "patient")
    if numbers.null_count:
        row = int(np.argmax(numbers.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"{_where(file, row)}: expected a path like {RELEASE}/{part}/patient00001/study1/view1_frontal.jpg, "
            f"found {paths[row].as_py()!r}"
        )
    return numbers.cast(pa.int64()).to_numpy()


def _check_once(paths: pa.Array, file: Path) -> None:
    if duplicate := first_duplicate(paths):
        row, before = duplicate
        raise DataError(f"{_where(file, row)}: {paths[row].as_py()} is listed already: {_where(file, before)}")


def _labels(cells: pa.ChunkedArray, label: str, file: Path) -> np.ndarray:
    """Convert the cells of one observation to 0 or 1: (n,) int64. Parses each distinct text once."""
    encoded = cells.combine_chunks().dictionary_encode()
    values = [_label(text) for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy()
    if None in values:
        code = values.index(None)
        raise DataError(
            f"{_where(file, int(np.argmax(codes == code)))}: {label} is {encoded.dictionary[code].as_py()!r}, "
            "expected 1 (present), 0 (absent), -1 (uncertain) or nothing"
        )
    return np.array(values, np.int64)[codes]


def _label(text: str) -> int | None:
    if not text.strip():
        return BLANK
    try:
        return CELLS.get(float(text))
    except ValueError:
        return None


def _check_exist(paths: pa.Array, root: Path, file: Path) -> None:
    """Raise DataError if a picture is missing. Makes no Path objects: train.csv takes half a second on a local disk."""
    for row, path in enumerate(paths.to_pylist()):
        if not os.access(f"{root}/{path}", os.R_OK):
            raise DataError(f"{_where(file, row)}: no such file {root / path}, or it may not be read")


def _where(file: Path, row: int) -> str:
    """Return file and line of a row of the table; reads the file again, slowly."""
    return next(islice(lines(file), row + 1, None))[0]


SIZES = {"train": 223_414, "valid": 234}
CHEXPERT = Pretraining(source=SOURCE, load=load, sizes={"train": SIZES["train"], "validation": SIZES["valid"]})
TASK = Task(
    name="chexpert",
    row="CheXpert",
    source=SOURCE,
    target=TARGET,
    metric="auroc",
    load=load,
    sizes={"train": SIZES["train"], "test": SIZES["valid"]},
)
