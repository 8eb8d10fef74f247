"""EuroSAT with all bands: ten kinds of land use, 27,000 tiles. DABS pretrains on most of them without labels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import cut_90_10, lines, split_90_10
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.satellite import tiles
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

FOLDER = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
TILES = 27_000
LISTS = {"train": "eurosat-train.txt", "val": "eurosat-val.txt", "test": "eurosat-test.txt"}
# The list of each split of the pretraining source, and of the task.
PRETRAINING_LISTS = {"train": "train", "validation": "val"}
TASK_LISTS = {"train": "val", "test": "test"}
_MIRROR = "https://hf.co/datasets/torchgeo/eurosat/resolve/1ce6f1bfb56db63fd91b6ecc466ea67f2509774c"

SOURCE = Source(
    name="eurosat",
    title="EuroSAT, all bands",
    url="http://madm.dfki.de/files/sentinel/EuroSATallBands.zip",
    folder="satellite_images",
    layout=f"""
{FOLDER}/AnnualCrop/AnnualCrop_1.tif ...   10 class folders of GeoTIFF files
eurosat-train.txt, eurosat-val.txt, eurosat-test.txt   optional: torchgeo's lists, AnnualCrop_1.jpg a line
""",
    needs=tuple(f"{FOLDER}/{name}" for name in CLASSES),
    licence="MIT",
    size="2.1 GB, 2.9 GB extracted",
    citation="Helber et al. 2019, EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover "
    "Classification, IEEE JSTARS, arXiv:1709.00029",
    archives=(
        *(
            Archive(f"{_MIRROR}/{name}", md5=md5)
            for name, md5 in zip(
                LISTS.values(),
                (
                    "908f142e73d6acdf3f482c5e80d851b1",
                    "95de90f2aa998f70a3b2416bfe0687b4",
                    "7ae5ab94471417b6e315763121e67c5f",
                ),
                strict=True,
            )
        ),
        Archive(
            "https://madm.dfki.de/files/sentinel/EuroSATallBands.zip",
            size=2_067_725_275,
            md5="5ac12b3b2557aa56e1826e981e8e200e",
            sha256="751f070f9bffa2eed48b24ca2dd0b02959280c08837e8c9a5532a67ba611df59",
            mirrors=(f"{_MIRROR}/EuroSATallBands.zip",),
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load labelled tiles: those of torchgeo's lists ("val" to train on, "test"), or DABS's tenth of all tiles."""
    return _load(request, "transfer", TASK_LISTS[request.split])


def load_unlabelled(request: Request) -> Examples:
    """Load tiles without labels: those of torchgeo's lists ("train", "val"), or DABS's nine tenths of all tiles."""
    return replace(_load(request, "pretraining", PRETRAINING_LISTS[request.split]), targets=None)


def _load(request: Request, role: str, name: str) -> Examples:
    root = request.folder(SOURCE)
    paths = _tiles(root)
    request.expect("EuroSAT tiles", TILES, len(paths))
    files = [root / file for file in LISTS.values()]
    if request.protocol.eurosat_split == "lists" and all(file.exists() for file in files):
        chosen = _listed(root / LISTS[name], paths)
    else:
        chosen = [paths[row] for row in shuffled(len(paths), role, request.split)]
    _, side, _ = request.inputs[0].shape
    column = Decoded(
        items=pa.table({"path": pa.array([f"{FOLDER}/{path}" for path in chosen], pa.string())}),
        decode=partial(tiles.decode, root=root, side=side),
        root=root,
        shape=request.inputs[0].shape,
        dtype="float32",
        version=f"{tiles.VERSION}:{side}",
    )
    classes = [CLASSES.index(path.partition("/")[0]) for path in chosen]
    return Examples(ids=chosen, inputs=(column,), targets=np.array(classes, np.int64))


def _tiles(root: Path) -> list[str]:
    """List "<Class>/<file>" of all tiles, sorted."""
    folder = root / FOLDER
    found = sorted(f"{name}/{file.name}" for name in CLASSES for file in (folder / name).glob("*.tif"))
    if empty := [name for name in CLASSES if not any(path.startswith(f"{name}/") for path in found)]:
        raise DataError(
            f"{folder}: expected .tif files in each of the {len(CLASSES)} folders, none in {', '.join(empty)}"
        )
    return found


def shuffled(count: int, role: str, split: str) -> np.ndarray:
    """Return the rows of a split as DABS cuts `count` tiles: the shuffled tiles are divided 9:1 between "pretraining"
    and "transfer", and each part is cut 9:1 again."""
    return cut_90_10(split_90_10(count, "train" if role == "pretraining" else "test"), split)


def _listed(file: Path, paths: list[str]) -> list[str]:
    """Return the tiles of one of torchgeo's lists, in its order. Raises DataError for a tile that is not there, and for
    one that is listed twice."""
    known = {path.partition("/")[2].removesuffix(".tif"): path for path in paths}
    found: dict[str, str] = {}
    for where, text in lines(file):
        name = text.removesuffix(".jpg").removesuffix(".tif")
        if name not in known:
            raise DataError(f"{where}: no tile {name}.tif in the class folders of {file.parent / FOLDER}")
        if name in found:
            raise DataError(f"{where}: {text} is listed already: {found[name]}")
        found[name] = where
    return [known[name] for name in found]


PRETRAINING = Pretraining(source=SOURCE, load=load_unlabelled)
TASK = Task(
    name="eurosat_transfer",
    row="EuroSAT",
    source=SOURCE,
    target=Multiclass(len(CLASSES)),
    metric="accuracy",
    load=load,
    note="DABS shuffles the tiles in the order in which TFDS hands them over, which depends on a hash. Here they are "
    "shuffled in the order of their names, so the published protocol has subsets of DABS's sizes, but of other tiles.",
)
