"""Small sources: COCO val2017 with captions to pretrain on; VQA v1 questions about the same pictures to transfer to.

Every fifth picture, drawn by a fixed seed, is in the test split of both, so pretraining sees no picture of a test.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import split_80_20
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, SourceSet, Task
from dabs_rq.domains.vqa import mscoco, vqa
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Binary, Source

COCO, QUESTIONS = "mscoco", f"vqa/{vqa.DATA}"  # relative to the source's folder
PICTURES = "val2017"
PICTURE_COUNT = 5000
SPLITS = {"train": "train", "validation": "test", "test": "test"}
SEEDS = {"train": (2017, 0), "test": (2017, 1)}  # decide the swaps, independently of the run's seed
_VQA = "vqa/mscoco/vqa"


def _questions(kind: str, sha256: str) -> Archive:
    name = f"{kind}_Val_mscoco.zip"
    return Archive(
        f"https://s3.amazonaws.com/cvmlp/{_VQA}/{name}",
        sha256=sha256,
        into=QUESTIONS,
        mirrors=(f"https://cvmlp.s3.amazonaws.com/{_VQA}/{name}", f"http://visualqa.org/data/mscoco/vqa/{name}"),
    )


SOURCE = Source(
    name="coco_val2017",
    title="COCO val2017 with captions and VQA v1 questions",
    url="https://cocodataset.org/#download, https://visualqa.org/vqa_v1_download.html",
    folder="captioned_images",
    layout=f"""
{COCO}/{PICTURES}/000000000139.jpg ...
{COCO}/annotations/captions_{PICTURES}.json, instances_{PICTURES}.json
{QUESTIONS}/MultipleChoice_mscoco_val2014_questions.json, mscoco_val2014_annotations.json
""",
    needs=(
        f"{COCO}/{PICTURES}",
        f"{COCO}/annotations/captions_{PICTURES}.json",
        f"{COCO}/annotations/instances_{PICTURES}.json",
        f"{QUESTIONS}/{vqa.QUESTIONS.format('val2014')}",
        f"{QUESTIONS}/{vqa.ANNOTATIONS.format('val2014')}",
    ),
    licence="annotations CC BY 4.0; pictures under the terms of Flickr",
    size="1.1 GB",
    citation=f"{mscoco.SOURCE.citation}; {vqa.SOURCE.citation}",
    archives=(
        _questions("Questions", "e8839be5de2d711989bf0adc82e6717d1ce307d27c9b1dfb0abf413b79a5d4d0"),
        _questions("Annotations", "29377c35186d90aeab3e61bdad890f51215d1f88b700bd22ef19004d73bf284f"),
        Archive(
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
            size=252_907_541,
            sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            into=COCO,
            mirrors=("https://s3.amazonaws.com/images.cocodataset.org/annotations/annotations_trainval2017.zip",),
        ),
        Archive(
            "http://images.cocodataset.org/zips/val2017.zip",
            size=815_585_330,
            sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            into=COCO,
            mirrors=("https://s3.amazonaws.com/images.cocodataset.org/zips/val2017.zip",),
        ),
    ),
)


def picture_ids(request: Request) -> set[int]:
    """Return the ids of the pictures of a split: four fifths of the pictures on disk, or the rest."""
    folder = request.folder(SOURCE) / COCO / PICTURES
    names = sorted(path.name for path in folder.glob("*.jpg"))
    for name in names:
        if not re.fullmatch(r"\d{12}\.jpg", name):
            raise DataError(f"{folder / name}: expected a name like 000000000139.jpg")
    request.expect("pictures of COCO val2017", PICTURE_COUNT, len(names))
    ids = {int(name.removesuffix(".jpg")) for name in split_80_20([names], SPLITS[request.split])}
    if not ids:
        raise DataError(f"{folder}: {len(names)} pictures (*.jpg) are too few for a split {request.split!r}")
    return ids


def load_captions(request: Request) -> Examples:
    """Load the pictures of a split that have a caption and an instance, each with its last caption, by picture id."""
    captioned = mscoco.captioned(request, request.folder(SOURCE) / COCO, PICTURES)
    wanted = picture_ids(request)
    rows = [row for row, path in enumerate(captioned.ids.to_pylist()) if int(Path(path).stem) in wanted]
    if not rows:
        raise DataError(f"{request.root / SOURCE.folder}: no captioned picture for split {request.split!r}")
    return captioned.select(np.array(rows))


def load_questions(request: Request) -> Examples:
    """Load the pairs of questions about the pictures of a split, made as those of VQA v1. Groups are pictures."""
    root = request.folder(SOURCE)
    file = root / QUESTIONS / vqa.QUESTIONS.format("val2014")
    wanted = picture_ids(request)
    questions = vqa.read_questions(file, root / QUESTIONS / vqa.ANNOTATIONS.format("val2014"))
    chosen = [question for question in questions if question.picture in wanted]
    if not chosen:
        raise DataError(f"{file}: no question about a picture of {PICTURES} in split {request.split!r}")
    path = f"{COCO}/{PICTURES}/{{:012d}}.jpg"
    return vqa.pairs_of(request, chosen, file, SEEDS[request.split], root, path)


VQA_VAL2017 = Task(
    name="vqa_val2017",
    row="VQA on val2017",
    source=SOURCE,
    target=Binary(),
    metric="accuracy",
    load=load_questions,
    published_comparable=False,
    in_place_of="vqa",
)
SMALL = SourceSet(pretraining=Pretraining(source=SOURCE, load=load_captions), tasks=(VQA_VAL2017,))
