"""The 1,797 scanned digits of scikit-learn: 8 x 8 pixels of 17 grey levels, written by hand on fourteen forms.

They are the test set of the UCI source, form after form. Every form holds the same 130 digits in the same order, which
is how the labels show where a form begins; some forms lack a few. One person wrote a form, so digits of one form look
alike: whole forms are either in "train" or in "test", and groups are forms.
"""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from functools import lru_cache, partial
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.errors import DataError, MissingDataError
from dabs_rq.files import State, state
from dabs_rq.spec import Multiclass, Source

FILE = "digits.csv.gz"
DIGITS, PIXELS, LEVELS = 1_797, 64, 16  # levels are 0 to 16
FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)  # the first digit of each
SPLITS = {"train": range(FORMS[11]), "test": range(FORMS[11], DIGITS)}  # eleven forms and three
TARGET = Multiclass(10)

SOURCE = Source(
    name="digits",
    title="Optical Recognition of Handwritten Digits, scikit-learn's copy",
    url="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    folder="digits",
    layout=f"{FILE}      a line per digit: 64 grey levels from 0 to 16, then the digit",
    needs=(FILE,),
    licence="CC BY 4.0",
    size="57 kB",
    citation="Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
)


def write(root: Path) -> None:
    """Copy the file that scikit-learn installs, without importing scikit-learn. Raises MissingDataError without it."""
    package = util.find_spec("sklearn")
    file = Path(package.origin or "").parent / "datasets/data" / FILE if package is not None else None
    if file is None or not file.exists():
        raise MissingDataError(f"the digits are not installed: expected {file or 'the package sklearn'}; `make setup`")
    (root / SOURCE.folder).mkdir(parents=True)
    shutil.copyfile(file, root / SOURCE.folder / FILE)


def load(request: Request) -> Examples:
    """Load the digits of a split, in the order of the file."""
    folder = request.folder(SOURCE)
    rows = np.array(SPLITS["test" if request.split == "validation" else request.split])
    _, classes = read(folder / FILE)
    images = Decoded(
        items=pa.table({"path": pa.array([FILE] * len(rows)), "row": rows}),
        decode=partial(_decode, root=folder),
        root=folder,
        shape=request.inputs[0].shape,
        dtype="float32",
        version="digits-1",
    )
    return Examples(
        ids=[str(row) for row in rows],
        inputs=(images,),
        targets=classes[rows],
        groups=np.searchsorted(FORMS, rows, side="right") - 1,
    )


def load_unlabelled(request: Request) -> Examples:
    return replace(load(request), targets=None, groups=None)


def _decode(row: dict[str, Any], *, root: Path) -> np.ndarray:
    """Return one digit, (1, 8, 8), in [0, 1]."""
    pixels, _ = read(root / row["path"])
    return (pixels[row["row"]] / np.float32(LEVELS)).reshape(1, 8, 8)


def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read float32 grey levels (n, 64) and int64 classes (n,). Raises DataError if the file is damaged."""
    return _read(file, state(file))


@lru_cache(maxsize=2)
def _read(file: Path, changed: State) -> tuple[np.ndarray, np.ndarray]:
    try:
        with gzip.open(file, "rt") as lines:
            values = np.loadtxt(lines, delimiter=",", dtype=np.int64, ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{file}: damaged or not whole numbers between commas ({error})") from error
    if values.shape != (DIGITS, PIXELS + 1):
        raise DataError(f"{file}: expected {DIGITS} lines of {PIXELS + 1} numbers, found {values.shape}")
    pixels, classes = values[:, :PIXELS], values[:, PIXELS]
    wrong = (pixels.min(axis=1) < 0) | (pixels.max(axis=1) > LEVELS) | (classes < 0) | (classes >= TARGET.classes)
    if wrong.any():
        raise DataError(f"{file}: line {np.argmax(wrong) + 1}: levels are 0 to {LEVELS} and digits 0 to 9")
    return pixels.astype(np.float32), classes


TASK = Task(
    name="digits",
    row="Digits",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={split: len(rows) for split, rows in SPLITS.items()},
)
