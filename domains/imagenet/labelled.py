"""ImageNet-1k (ILSVRC 2012) with its labels, from class folders, or from the flat validation archive and the devkit.

A picture is resized so that its shorter side has the side of the input, and cut to the centre square, as torchvision's
Resize and CenterCrop; its aspect ratio stays.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import image
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.imagenet import devkit
from dabs_rq.domains.images import imagenet
from dabs_rq.spec import Multiclass

SPLITS = {"train": "train", "test": "validation", "validation": "validation"}
TARGET = Multiclass(imagenet.CLASSES)
SIZES = imagenet.IMAGENET.sizes


def load(request: Request) -> Examples:
    """Load all pictures of a split. Targets are the ranks of the sorted class folders of the training split."""
    split = SPLITS[request.split]
    root = request.folder(imagenet.SOURCE)
    folder = imagenet.split_folder(request.root, split)
    names, labels = devkit.labelled(root, folder) if devkit.is_flat(folder) else imagenet.listed(folder, root)
    if split == "train":
        request.expect("ImageNet class folders (train)", imagenet.CLASSES, int(labels[-1]) + 1)
    return Examples(ids=names, inputs=(_column(names, root, request.inputs[0].shape),), targets=labels)


def _column(paths: pa.Array | pa.ChunkedArray, root: Path, shape: tuple[int, ...]) -> Decoded:
    channels, height, width = shape
    if channels != 3 or height != width:
        raise ValueError(f"pictures are decoded to squares of 3 channels, not {shape}")
    return Decoded(
        items=pa.table({"path": paths}).combine_chunks(),
        decode=partial(decode, root=root, side=height),
        root=root,
        shape=shape,
        dtype="uint8",
        version=f"square-1:{image.VERSION}:{height}",
    )


def decode(row: dict[str, Any], *, root: Path, side: int) -> np.ndarray:
    """Decode root/row["path"] to its centre square: uint8 (3, side, side)."""
    picture = image.open_rgb(root / row["path"])
    width, height = picture.size
    shorter = min(width, height)
    width, height = max(side, int(side * width / shorter)), max(side, int(side * height / shorter))
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    cut = resized.crop((left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(cut).transpose(2, 0, 1))


IMAGENET = Pretraining(source=imagenet.SOURCE, load=load, sizes=SIZES, whole=image.open_rgb)

TASK = Task(
    name="imagenet1k",
    row="ImageNet-1k",
    source=imagenet.SOURCE,
    target=TARGET,
    metric="accuracy",
    also=("accuracy_top5",),
    load=load,
    sizes={"train": SIZES["train"], "test": SIZES["validation"]},
    whole=image.open_rgb,
)
