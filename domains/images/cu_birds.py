"""CUB-200-2011: photographs of 200 species of birds."""

from __future__ import annotations

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import class_number, entry, keyed
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.images.listing import Picture, labelled
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

FOLDER = "CUB_200_2011"
TARGET = Multiclass(200)

SOURCE = Source(
    name="cu_birds",
    title="Caltech-UCSD Birds-200-2011",
    url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    folder="natural_images/cu_birds",
    layout="""
CUB_200_2011/images/001.Black_footed_Albatross/*.jpg ...
CUB_200_2011/images.txt               <number> <path below images/>
CUB_200_2011/image_class_labels.txt   <number> <class, 1 to 200>
CUB_200_2011/train_test_split.txt     <number> <1: train, 0: test>
""",
    needs=tuple(
        f"{FOLDER}/{need}" for need in ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt")
    ),
    licence="non-commercial research and education",
    size="1.2 GB",
    citation="Wah et al. 2011, The Caltech-UCSD Birds-200-2011 Dataset, Caltech CNS-TR-2011-001",
    archives=(
        Archive(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            size=1_150_585_339,
            md5="97eceeb196236b17998738112f37df78",
            sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load the official split, in the order of images.txt. Pictures are not cropped to their bounding boxes."""
    root = request.folder(SOURCE)
    folder = root / FOLDER
    labels_file, split_file = folder / "image_class_labels.txt", folder / "train_test_split.txt"
    labels, splits = keyed(labels_file), keyed(split_file)
    pictures = []
    for number, (path, where) in keyed(folder / "images.txt").items():
        label, label_where = entry(labels, number, labels_file, where)
        flag, flag_where = entry(splits, number, split_file, where)
        if flag not in ("0", "1"):
            raise DataError(f"{flag_where}: expected 1 (train) or 0 (test), found {flag!r}")
        picture = Picture(f"{FOLDER}/images/{path}", class_number(label, TARGET, label_where, first=1), where)
        if (flag == "1") == (request.split == "train"):
            pictures.append(picture)
    return labelled(request, root, pictures)


TASK = Task(
    name="cu_birds",
    row="Birds",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 5994, "test": 5794},
)
