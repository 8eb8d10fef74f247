"""GTSRB, the German Traffic Sign Recognition Benchmark: 43 kinds of signs, each sign filmed as a track of frames."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import class_number, lines, split_80_20
from dabs_rq.data.requests import Request
from dabs_rq.domain import Task
from dabs_rq.domains.images.listing import Picture, labelled
from dabs_rq.errors import DataError
from dabs_rq.spec import Archive, Multiclass, Source

IMAGES = "GTSRB/Final_Training/Images"
HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
TARGET = Multiclass(43)

SOURCE = Source(
    name="traffic_sign",
    title="German Traffic Sign Recognition Benchmark, training archive",
    url="https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/GTSRB_Final_Training_Images.zip",
    folder="natural_images/traffic_sign",
    layout="""
GTSRB/Final_Training/Images/00000/00000_00000.ppm ...   <class>/<track>_<frame>.ppm, 43 class folders
GTSRB/Final_Training/Images/00000/GT-00000.csv ...      Filename;Width;Height;Roi.X1;...;ClassId
""",
    needs=(IMAGES,),
    licence="not stated",
    size="276 MB",
    citation="Stallkamp et al. 2012, Man vs. Computer: Benchmarking Machine Learning Algorithms for Traffic Sign "
    "Recognition, Neural Networks 32",
    archives=(
        Archive(
            "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/GTSRB_Final_Training_Images.zip",
            size=276_294_756,
            md5="f33fd80ac59bff73c82d25ab499e03a3",
            mirrors=("http://benchmark.ini.rub.de/Dataset/GTSRB_Final_Training_Images.zip",),
        ),
    ),
)


def load(request: Request) -> Examples:
    """Split every class 80/20 by single frames or by tracks (protocol.gtsrb_split). Groups are the tracks.

    Differs from DABS, which shuffles the frames in file system order: here they are sorted first.
    """
    root = request.folder(SOURCE)
    folders = sorted((root / IMAGES).glob("[0-9][0-9][0-9][0-9][0-9]"))
    classes = [_units(_frames(folder), request.protocol.gtsrb_split) for folder in folders]
    return labelled(request, root, [frame for unit in split_80_20(classes, request.split) for frame in unit])


def _units(frames: list[Picture], kept_together: str) -> list[list[Picture]]:
    if kept_together == "image":
        return [[frame] for frame in frames]
    return [list(track) for _, track in groupby(frames, key=lambda frame: frame.group)]


def _frames(folder: Path) -> list[Picture]:
    """List the frames in the csv of one class folder, sorted by name, that is by track and frame."""
    file = folder / f"GT-{folder.name}.csv"
    (where, header), *rows = list(lines(file)) or [(f"{file}:1", "")]
    if header != HEADER:
        raise DataError(f"{where}: expected the header {HEADER}, found {header!r}")
    frames = [_frame(folder, where, text) for where, text in rows]
    unlisted = {path.name for path in folder.glob("*.ppm")} - {Path(frame.path).name for frame in frames}
    if unlisted:
        raise DataError(f"{file}: {len(unlisted)} pictures in its folder have no line, the first is {min(unlisted)}")
    return sorted(frames)


def _frame(folder: Path, where: str, text: str) -> Picture:
    name, *_, class_id = fields = text.split(";")
    matched = re.fullmatch(r"(\d{5})_\d{5}\.ppm", name)
    if len(fields) != HEADER.count(";") + 1 or not matched:
        raise DataError(f"{where}: expected {HEADER} with a name like 00000_00000.ppm, found {text!r}")
    label = class_number(class_id, TARGET, where)
    if label != int(folder.name):
        raise DataError(f"{where}: ClassId {label} in folder {folder.name}")
    return Picture(f"{IMAGES}/{folder.name}/{name}", label, where, group=label * 100_000 + int(matched[1]))


TASK = Task(
    name="traffic_sign",
    row="GTSRB (Traffic)",
    source=SOURCE,
    target=TARGET,
    metric="accuracy",
    load=load,
    sizes={"all": 39_209},
)
