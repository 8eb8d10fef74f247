"""DTD, the Describable Textures Dataset: 47 kinds of textures."""

from __future__ import annotations

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import class_number, lines
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.images.listing import Picture, labelled
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

FOLDER = "dtd"
LISTS = {"train": ("train1.txt", "val1.txt"), "test": ("test1.txt",)}
TARGET = Multiclass(47)

SOURCE = Source(
    name="dtd",
    title="Describable Textures Dataset",
    url="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    folder="natural_images/dtd",
    layout="""
dtd/images/banded/banded_0002.jpg ...               47 class folders
dtd/labels/train1.txt, val1.txt, test1.txt          banded/banded_0002.jpg
""",
    needs=(f"{FOLDER}/images", *(f"{FOLDER}/labels/{name}" for names in LISTS.values() for name in names)),
    licence="research use",
    size="625 MB",
    citation="Cimpoi et al. 2014, Describing Textures in the Wild, CVPR, arXiv:1311.3618",
    archives=(
        Archive(
            "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
            size=625_239_812,
            md5="fff73e5086ae6bdbea199a49dfb8a4c1",
            sha256="e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load the first official split; its train and validation lists are "train". Classes are the sorted folders."""
    root = request.folder(SOURCE)
    folder = root / FOLDER
    names = sorted(path.name for path in (folder / "images").iterdir() if path.is_dir() and path.name[0] != ".")
    request.expect("DTD class folders", TARGET.classes, len(names))
    numbers = {name: number for number, name in enumerate(names)}
    pictures = []
    for name in LISTS[request.split]:
        for where, path in lines(folder / "labels" / name):
            kind = path.partition("/")[0]
            if kind not in numbers:
                raise DataError(f"{where}: no folder {folder / 'images' / kind} for {path!r}")
            pictures.append(Picture(f"{FOLDER}/images/{path}", class_number(numbers[kind], TARGET, where), where))
    return labelled(request, root, sorted(pictures))


TASK = Task(
    name="dtd",
    row="DTD (Textures)",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"train": 3760, "test": 1880},
)
