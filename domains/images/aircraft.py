"""FGVC-Aircraft: photographs of 100 variants of aircraft, cropped to their bounding boxes."""

from __future__ import annotations

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.image import Box
from dabs_rq.data.readers.index import class_number, entry, keyed
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.images.listing import Picture, labelled
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

DATA = "fgvc-aircraft-2013b/data"
LISTS = {"train": "images_variant_trainval.txt", "test": "images_variant_test.txt"}
BOXES = "images_box.txt"
TARGET = Multiclass(100)

SOURCE = Source(
    name="aircraft",
    title="FGVC-Aircraft (2013b)",
    url="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
    folder="natural_images/aircraft",
    layout="""
fgvc-aircraft-2013b/data/images/0034309.jpg ...
fgvc-aircraft-2013b/data/images_variant_trainval.txt   <7-digit number> <variant, may hold spaces>
fgvc-aircraft-2013b/data/images_variant_test.txt
fgvc-aircraft-2013b/data/images_box.txt                <7-digit number> <xmin> <ymin> <xmax> <ymax>
""",
    needs=tuple(f"{DATA}/{need}" for need in ("images", *LISTS.values(), BOXES)),
    licence="non-commercial research only",
    size="2.8 GB",
    citation="Maji et al. 2013, Fine-Grained Visual Classification of Aircraft, arXiv:1306.5151",
    archives=(
        Archive(
            "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
            size=2_753_340_328,
            md5="d4acdd33327262359767eeaa97a4f732",
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load the official train and validation lists together as "train", or the test list, sorted by variant and number.

    Classes are the variants in Python's sort order. As in DABS, Pillow gets the boxes unchanged, although they are
    documented to count from 1: the crop is at most one pixel off, and excludes the banner at the bottom.
    """
    root = request.folder(SOURCE)
    data = root / DATA
    lists = {split: keyed(data / name) for split, name in LISTS.items()}
    variants = sorted({variant for variant, _ in lists["train"].values()})
    request.expect("FGVC-Aircraft variants", TARGET.classes, len(variants))
    numbers = {variant: number for number, variant in enumerate(variants)}
    boxes = keyed(data / BOXES)
    pictures = []
    for name, (variant, where) in lists[request.split].items():
        if variant not in numbers:
            raise DataError(f"{where}: variant {variant!r} does not occur in {LISTS['train']}")
        label = class_number(numbers[variant], TARGET, where)
        box = _box(*entry(boxes, name, data / BOXES, where))
        pictures.append(Picture(f"{DATA}/images/{name}.jpg", label, where, box=box))
    return labelled(request, root, sorted(pictures, key=lambda picture: (picture.label, picture.path)))


LARGEST = 2**31 - 1


def _box(text: str, where: str) -> Box:
    try:
        left, top, right, bottom = map(int, text.split())
    except ValueError as error:
        raise DataError(f"{where}: expected xmin ymin xmax ymax, found {text!r}") from error
    if not (left < right and top < bottom):
        raise DataError(f"{where}: box {text} is empty")
    if min(left, top) < -LARGEST or max(right, bottom) > LARGEST:
        raise DataError(f"{where}: box {text:.80} is larger than any picture, expected at most {LARGEST} pixels")
    return left, top, right, bottom


TASK = Task(
    name="aircraft",
    row="FGVC-Aircraft",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 6667, "test": 3333},
    unused_outputs=2,
)
