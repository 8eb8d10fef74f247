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
validation/<wnid>/*.JPEG   the same class folders (not needed to pretrain; the folder is not called val)
""",
    needs=("train",),
    licence="ImageNet terms of access: non-commercial research and education only",
    size="148 GB (train), 6.7 GB (validation)",
    citation="Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, arXiv:1409.0575",
    registration="sign in at image-net.org, agree to the terms of access, download both archives by hand",
)


def load(request: Request) -> Examples:
    """Load all pictures of a split, sorted by class folder and name. Targets are the indices of the sorted folders."""
    folder = request.folder(SOURCE)
    split = folder / request.split
    if not split.is_dir():
        raise MissingDataError(missing_text(SOURCE, request.root, [split]))
    classes = sorted(entry.name for entry in os.scandir(split) if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"{split}: it has no class folder")
    request.expect(f"ImageNet class folders ({request.split})", CLASSES, len(classes))
    # One Arrow array per class, so that the names of 1.28 M files are never all in memory as Python strings.
    listed = [_paths(split / name, f"{request.split}/{name}") for name in classes]
    paths = pa.concat_arrays(listed)
    return Examples(
        ids=paths,
        inputs=(image.column(pa.table({"path": paths}), folder, request.inputs[0].shape),),
        targets=np.repeat(np.arange(len(classes)), [len(part) for part in listed]),
    )


def _paths(folder: Path, prefix: str) -> pa.Array:
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.lower().endswith(EXTENSIONS) and not e.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: class folder without any picture ({', '.join(EXTENSIONS)})")
    return pa.array([f"{prefix}/{name}" for name in names], pa.string())


IMAGENET = Pretraining(source=SOURCE, load=load, sizes={"train": 1_281_167, "validation": 50_000})
