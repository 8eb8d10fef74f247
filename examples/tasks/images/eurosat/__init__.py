"""EuroSAT: satellite pictures of ten kinds of land, for encoders that were pretrained on natural images."""

from __future__ import annotations

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import split_80_20
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.images.listing import Picture, labelled
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

FOLDER = "EuroSAT_RGB"
CLASSES = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)
URL = "https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip"

SOURCE = Source(
    name="eurosat",
    title="EuroSAT (RGB)",
    url=URL,
    folder="natural_images/eurosat",
    layout=f"{FOLDER}/AnnualCrop/AnnualCrop_1.jpg ...               10 class folders",
    needs=tuple(f"{FOLDER}/{name}" for name in CLASSES),
    licence="MIT",
    size="90 MB",
    citation="Helber et al. 2019, EuroSAT: A Novel Dataset and Deep Learning Benchmark, IEEE JSTARS, arXiv:1709.00029",
    archives=(Archive(URL),),
)


def load(request: Request) -> Examples:
    """Read the pictures of a split. EuroSAT has none: 80 % of each class, drawn with a fixed seed, are "train"."""
    root = request.folder(SOURCE)
    classes = []
    for label, name in enumerate(CLASSES):
        files = sorted((root / FOLDER / name).glob("*.jpg"))
        if len(files) < 2:
            raise DataError(f"{root / FOLDER / name}: expected at least 2 pictures (*.jpg), found {len(files)}")
        classes.append([Picture(f"{FOLDER}/{name}/{file.name}", label, str(file)) for file in files])
    return labelled(request, root, sorted(split_80_20(classes, request.split)))


TASK = Task(
    name="eurosat",
    row="EuroSAT",
    source=SOURCE,
    target=Multiclass(len(CLASSES)),
    metric="accuracy",
    load=load,
    sizes={"all": 27_000},
)
