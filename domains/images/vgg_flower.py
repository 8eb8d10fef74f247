"""VGG Flowers-102: photographs of 102 kinds of flowers, in DABS's own split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import class_number, split_80_20
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.images import matlab
from dabs_rq.domains.images.listing import Picture, labelled
from dabs_rq.errors import DataError
from dabs_rq.files import reading
from dabs_rq.spec import Archive, Multiclass, Source

LABELS = "imagelabels.mat"
MAX_BYTES = 1 << 20  # the published file has 502 bytes
TARGET = Multiclass(102)

SOURCE = Source(
    name="vgg_flower",
    title="VGG Flowers-102",
    url="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    folder="natural_images/flowers",
    layout="""
jpg/image_00001.jpg ... image_08189.jpg   (102flowers.tgz)
imagelabels.mat                           labels, 1 to 102
""",
    needs=("jpg", LABELS),
    licence="not stated",
    size="345 MB",
    citation="Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes, ICVGIP",
    archives=(
        Archive(
            "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
            size=344_862_509,
            md5="52808999861908f626f3c1f4e79d11fa",
            sha256="2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
        ),
        Archive(
            "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/imagelabels.mat",
            size=502,
            md5="e0620be6f572b9609742df49c70aed4d",
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load DABS's seeded 80/20 split by class, with classes in order of first appearance (not the official split)."""
    folder = request.folder(SOURCE)
    classes: dict[int, list[Picture]] = defaultdict(list)
    for number, value in enumerate(read_labels(folder / LABELS), 1):
        where = f"{folder / LABELS}: entry {number}"
        label = class_number(int(value), TARGET, where, first=1)
        classes[label].append(Picture(f"jpg/image_{number:05d}.jpg", label, where))
    return labelled(request, folder, split_80_20(classes.values(), request.split))


def read_labels(file: Path) -> np.ndarray:
    """Read the labels of all pictures: (n,) whole numbers of any kind. Raises DataError if the file is damaged."""
    with reading(file, "damaged or not a MATLAB file with labels"):
        if (size := file.stat().st_size) > MAX_BYTES:
            raise DataError(f"{file}: {size:,} bytes, expected at most {MAX_BYTES:,} of labels")
        labels = matlab.read_variable(file.read_bytes(), "labels")
    if labels.ndim != 2 or len(labels) != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{file}: labels is {labels.dtype} {labels.shape}, expected whole numbers (1, n)")
    return labels[0]


TASK = Task(
    name="vgg_flower",
    row="VGG Flower",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 6507, "test": 1682},
)
