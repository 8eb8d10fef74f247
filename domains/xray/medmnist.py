"""ChestMNIST and PneumoniaMNIST: chest X-rays of 28 x 28 pixels, one .npz file each, from MedMNIST v2."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import image
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.errors import DataError
from dabs_rq.files import State, state
from dabs_rq.spec import Archive, Binary, Multilabel, Source, Target

SIDE = 28  # pixels
SPLITS = {"train": "train", "validation": "val", "test": "test"}  # the file's names
LARGEST = 1 << 30  # bytes of one array; the largest of the published files has 62 MB
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, NotImplementedError, MemoryError)
# In the order of the file's columns.
FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural", "Hernia"),
)


class Part(NamedTuple):
    """One split. pictures: uint8 (n, 28, 28). labels: int64 (n, k), 0 or 1."""

    pictures: np.ndarray
    labels: np.ndarray


def _source(name: str, title: str, size: str, md5: str, citation: str) -> Source:
    file = f"{name.replace('_', '')}.npz"
    return Source(
        name=name,
        title=title,
        url="https://zenodo.org/records/10519652",
        folder="medical_images/medmnist",
        layout=f"{file}      arrays train_images (uint8, n x 28 x 28), train_labels (n x k), val_..., test_...",
        needs=(file,),
        licence="CC BY 4.0",
        size=size,
        citation=f"{citation}; Yang et al. 2023, MedMNIST v2, Scientific Data 10, arXiv:2110.14795",
        archives=(
            Archive(
                f"https://zenodo.org/records/10519652/files/{file}",
                md5=md5,
                # Earlier versions of the record, with the same file.
                mirrors=tuple(f"https://zenodo.org/records/{record}/files/{file}" for record in (6496656, 5208230)),
            ),
        ),
    )


CHEST = _source(
    "chest_mnist",
    "ChestMNIST (NIH ChestX-ray14 at 28 px)",
    "83 MB",
    "02c8a6516a18b556561a56cbdd36c4a8",
    "Wang et al. 2017, ChestX-ray8, CVPR, arXiv:1705.02315",
)
PNEUMONIA = _source(
    "pneumonia_mnist",
    "PneumoniaMNIST (X-rays of children at 28 px)",
    "4 MB",
    "28209eda62fecd6e6a2d98b1501bb15f",
    "Kermany et al. 2018, Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning, Cell 172",
)


def load(request: Request, source: Source, target: Target) -> Examples:
    """Load the pictures of a split, in file order, with their labels; the splits are MedMNIST's."""
    root = request.folder(source)
    name, split = source.needs[0], SPLITS[request.split]
    part = read_part(root / name, split, target.outputs)
    _, height, width = request.inputs[0].shape
    rows = np.arange(len(part.pictures))
    path = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int8)), pa.array([name]))
    pictures = Decoded(
        items=pa.table({"path": path, "row": rows}),
        decode=partial(_decode, root=root, split=split, outputs=target.outputs, width=width, height=height),
        root=root,
        shape=request.inputs[0].shape,
        dtype="uint8",
        version=f"medmnist-1:{split}:{image.VERSION}:{width}x{height}",
    )
    return Examples(
        ids=[f"{split}/{row}" for row in rows.tolist()],
        inputs=(pictures,),
        targets=part.labels if isinstance(target, Multilabel) else part.labels[:, 0],
    )


def _decode(row: dict[str, Any], *, root: Path, split: str, outputs: int, width: int, height: int) -> np.ndarray:
    picture = read_part(root / row["path"], split, outputs).pictures[row["row"]]
    return image.to_array(Image.fromarray(picture).convert("RGB"), width, height)


def read_part(file: Path, split: str, outputs: int) -> Part:
    """Read one split of a file. outputs: how many labels a picture has.

    Raises DataError if the file is damaged, holds objects, or arrays of another shape, type or range.
    """
    try:
        changed = state(file)
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file") from error
    return _read_part(file, split, outputs, changed)


@lru_cache(maxsize=4)
def _read_part(file: Path, split: str, outputs: int, changed: State) -> Part:
    pictures, labels = (_array(file, f"{split}_{name}") for name in ("images", "labels"))
    count = len(pictures) if pictures.ndim else 0
    _expect(file, f"{split}_images", pictures, (count, SIDE, SIDE), np.uint8)
    _expect(file, f"{split}_labels", labels, (count, outputs), np.integer)
    if not count:
        raise DataError(f"{file}: {split}_images holds no picture")
    wrong = np.argwhere((labels != 0) & (labels != 1))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(f"{file}: {split}_labels[{row}, {column}] is {labels[row, column]}, expected 0 or 1")
    return Part(pictures, labels.astype(np.int64))


def _array(file: Path, name: str) -> np.ndarray:
    """Read one array. Python objects are refused: loading them could run code."""
    try:
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(f"{name}.npy")
            if member.file_size > LARGEST:
                raise ValueError(f"it unpacks to {member.file_size:,} bytes, at most {LARGEST:,} are expected")
        with np.load(file, allow_pickle=False) as arrays:
            return arrays[name]
    except _DAMAGE as error:
        raise DataError(
            f"{file}: array {name} cannot be read; expected an .npz file of MedMNIST with plain numbers in it "
            f"({type(error).__name__}: {error})"
        ) from error


def _expect(file: Path, name: str, array: np.ndarray, shape: Sequence[int], kind: type[np.generic]) -> None:
    if array.shape != tuple(shape) or not np.issubdtype(array.dtype, kind):
        expected = "whole numbers" if kind is np.integer else np.dtype(kind).name
        raise DataError(f"{file}: {name} is {array.dtype} {array.shape}, expected {expected} {tuple(shape)}")


CHEST_TARGET = Multilabel(FINDINGS)
CHEST_MNIST = Task(
    name="chest_mnist",
    row="ChestMNIST",
    source=CHEST,
    target=CHEST_TARGET,
    metric="auroc",
    load=partial(load, source=CHEST, target=CHEST_TARGET),
    sizes={"train": 78_468, "test": 22_433},
    published_comparable=False,
    in_place_of="xray8",
)
PNEUMONIA_MNIST = Task(
    name="pneumonia_mnist",
    row="PneumoniaMNIST",
    source=PNEUMONIA,
    target=Binary(),
    metric="accuracy",
    load=partial(load, source=PNEUMONIA, target=Binary()),
    sizes={"train": 4708, "test": 624},
    published_comparable=False,
    in_place_of="chexpert",
    note="accuracy, where CheXpert has AUROC.",
)
