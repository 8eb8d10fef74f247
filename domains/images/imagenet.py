"""ImageNet-1k (ILSVRC 2012), the unlabelled source of the images domain."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import image
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.domain import Pretraining
from dabs_rq.errors import DataError, MissingDataError
from dabs_rq.spec import Source

CLASSES = 1000
EXTENSIONS = (".jpeg", ".jpg", ".png")

SOURCE = Source(
    name="imagenet",
    title="ImageNet-1k (ILSVRC 2012)",
    url="https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
    folder="natural_images/imagenet",
    layout="""
train/<wnid>/*.JPEG        1000 class folders, the inner archives of ILSVRC2012_img_train.tar extracted
validation/<wnid>/*.JPEG   the same class folders, or val/ (not needed to pretrain)
""",
    needs=("train",),
    licence="ImageNet terms of access: non-commercial research and education only",
    size="148 GB (train), 6.7 GB (validation)",
    citation="Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, arXiv:1409.0575",
    registration="sign in at image-net.org, agree to the terms of access, download both archives by hand",
)


def load(request: Request) -> Examples:
    """Load all pictures of a split, sorted by class folder and name. Targets are the ranks of the class folders."""
    root = request.folder(SOURCE)
    folder = split_folder(request.root, request.split)
    paths, labels = listed(folder, root)
    request.expect(f"ImageNet class folders ({request.split})", CLASSES, len(np.unique(labels)))
    return Examples(
        ids=paths,
        inputs=(image.column(pa.table({"path": paths}), root, request.inputs[0].shape, request.jpeg),),
        targets=labels,
    )


def split_folder(root: Path, split: str) -> Path:
    """Return the folder of a split below the data root. torchvision calls the validation split val, DABS validation.

    Raises: MissingDataError if there is none, DataError if there are both."""
    names = ("validation", "val") if split == "validation" else (split,)
    folders = [root / SOURCE.folder / name for name in names]
    present = [folder for folder in folders if folder.is_dir()]
    if len(present) > 1:
        raise DataError(f"{' and '.join(map(str, present))} both exist: keep the one that is the validation split")
    if not present:
        raise MissingDataError(missing_text(SOURCE, root, folders[:1]))
    return present[0]


def class_folders(folder: Path) -> list[str]:
    """List the names of the class folders, sorted. Raises DataError if there is none."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: it has no class folder")
    return names


def listed(folder: Path, root: Path) -> tuple[pa.ChunkedArray | pa.Array, np.ndarray]:
    """List the pictures of a split relative to `root`, by class folder and name, with their labels (n,): the ranks of
    their folders among those of the training split.

    Raises DataError for a class folder without pictures, or that the training split lacks.
    """
    classes = class_folders(folder)
    rank = {name: label for label, name in enumerate(class_folders(root / "train"))}
    if unknown := [name for name in classes if name not in rank]:
        raise DataError(
            f"{folder / unknown[0]}: no class of the training split, which has {len(rank):,} ({root / 'train'})"
        )
    # One Arrow array per class, so that the names of 1.28 M files are never all in memory as Python strings.
    parts = [_paths(folder / name, f"{folder.name}/{name}") for name in classes]
    labels = np.repeat([rank[name] for name in classes], [len(part) for part in parts])
    return pa.concat_arrays(parts), labels


def _paths(folder: Path, prefix: str) -> pa.Array:
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.lower().endswith(EXTENSIONS) and not e.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: class folder without any picture ({', '.join(EXTENSIONS)})")
    return pa.array([f"{prefix}/{name}" for name in names], pa.string())


IMAGENET = Pretraining(source=SOURCE, load=load, sizes={"train": 1_281_167, "validation": 50_000})
