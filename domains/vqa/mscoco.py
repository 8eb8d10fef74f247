"""MSCOCO 2017: pictures with captions, the unlabelled source of the vision/language domain."""

from __future__ import annotations

from pathlib import Path

from dabs_rq.data.examples import Examples
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.domain import Pretraining
from dabs_rq.domains.vqa.coco import entries, pictures, texts
from dabs_rq.errors import DataError, MissingDataError
from dabs_rq.spec import Archive, Source

FOLDERS = {"train": "train2017", "validation": "val2017"}

SOURCE = Source(
    name="mscoco",
    title="MSCOCO 2017 captions",
    url="http://images.cocodataset.org/zips/{train,val}2017.zip, .../annotations/annotations_trainval2017.zip",
    folder="captioned_images/mscoco",
    layout="""
train2017/000000391895.jpg ...
annotations/captions_train2017.json     annotations: image_id, caption
annotations/instances_train2017.json    annotations: image_id
val2017/, annotations/captions_val2017.json, annotations/instances_val2017.json    (not needed to pretrain)
""",
    needs=("train2017", "annotations/captions_train2017.json", "annotations/instances_train2017.json"),
    licence="annotations CC BY 4.0; pictures under the terms of Flickr",
    size="20.4 GB",
    citation="Lin et al. 2014, Microsoft COCO: Common Objects in Context, ECCV, arXiv:1405.0312",
    archives=(
        Archive(
            "http://images.cocodataset.org/zips/val2017.zip",
            size=815_585_330,
            md5="442b8da7639aecaf257c1dceb8ba8c80",
        ),
        Archive(
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
            size=252_907_541,
            md5="f4bbac642086de4f52a3fdda2de5fa2c",
        ),
        Archive(
            "http://images.cocodataset.org/zips/train2017.zip",
            size=19_336_861_798,
            md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load the pictures that have a caption and an instance, each with its last caption, sorted by picture id.

    The same pictures and captions as in DABS, which keeps the last of the (mostly five) captions in file order and
    needs an instance to label its online probe. We have no online probe, so there are no targets. Only the order
    differs: DABS sorts pictures by their first caption in the file.
    Most pictures of val2014, on which VQA is tested, are in train2017, so pretraining has seen them with captions.
    """
    root = request.folder(SOURCE)
    name = FOLDERS[request.split]
    return captioned(request, root, name)


def captioned(request: Request, root: Path, name: str) -> Examples:
    """Load the pictures of the folder `name` (train2017 or val2017) below `root` with their captions, see `load`."""
    captions_file, instances_file = (root / "annotations" / f"{kind}_{name}.json" for kind in ("captions", "instances"))
    if missing := [path for path in (root / name, captions_file, instances_file) if not path.exists()]:
        raise MissingDataError(missing_text(SOURCE, request.root, missing))
    captions = dict(entries(captions_file, "annotations", {"image_id": int, "caption": str}))
    with_instance = {picture_id for (picture_id,) in entries(instances_file, "annotations", {"image_id": int})}
    chosen = sorted(captions.keys() & with_instance)
    if not chosen:
        raise DataError(f"{captions_file}: no picture has both a caption and an instance in {instances_file.name}")
    paths = [f"{name}/{picture_id:012d}.jpg" for picture_id in chosen]
    for path in paths:
        if not (root / path).is_file():
            raise DataError(f"{captions_file}: no such file {root / path}")
    picture, text = request.inputs
    caption = {"caption": [captions[picture_id] for picture_id in chosen]}
    return Examples(
        ids=paths,
        inputs=(
            pictures(paths, root, picture.shape),
            texts(caption, captions_file, text, request.root),
        ),
    )


MSCOCO = Pretraining(source=SOURCE, load=load, sizes={"train": 117_266, "validation": 4_952})
