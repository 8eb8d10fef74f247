"""WM-811K: 811,457 wafer maps of a real fab. DABS pretrains on those without a label and transfers to the others."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Stored
from dabs_rq.data.readers.index import split_90_10
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.wafers.matfile import wafers
from dabs_rq.errors import DataError, shown
from dabs_rq.files import State, check_regular, state
from dabs_rq.spec import Multiclass, Source

FILE = "MIR-WM811K/MATLAB/WM811K.mat"
CLASSES = ("none", "random", "donut", "scratch", "center", "loc", "edge-loc", "edge-ring", "near-full")
UNLABELLED = "0"  # the text in place of a label in one version of the data; in others it is no text
MAPS, LABELLED = 811_457, 172_950
GREYS = np.array([0, 127, 255], np.uint8)  # 127.5 times no die, passed, failed, cut to a whole number

SOURCE = Source(
    name="wm811k",
    title="WM-811K wafer maps",
    url="http://mirlab.org/dataSet/public/MIR-WM811K.zip",
    folder="semiconductors",
    layout=f"{FILE}   MATLAB 7.3: struct array data with waferMap, failureType, lotName and others\n"
    "(the files in MIR-WM811K/Python are pickles, which are not read)",
    needs=(FILE,),
    licence="not stated",
    size="345 MB",
    citation="Wu, Jang and Chen 2015, Wafer Map Failure Pattern Recognition and Similarity Ranking for Large-Scale "
    "Data Sets, IEEE Transactions on Semiconductor Manufacturing",
)


def load(request: Request) -> Examples:
    """Load wafers with a label, grouped by lot."""
    return _load(request, labelled=True)


def load_unlabelled(request: Request) -> Examples:
    """Load wafers without a label. Under wafer_split=lot, none is of a lot of the test."""
    return replace(_load(request, labelled=False), targets=None, groups=None)


def _load(request: Request, labelled: bool) -> Examples:
    root = request.folder(SOURCE)
    classes, lots = index(request, root)
    request.expect("WM-811K wafers", MAPS, len(classes))
    chosen = split_rows(classes, lots, request.split, labelled, request.protocol.wafer_split)
    _, height, width = request.inputs[0].shape
    column = Decoded(
        items=pa.table({"path": pa.repeat(FILE, len(chosen)), "wafer": chosen}),
        decode=partial(decode, root=root, width=width, height=height),
        root=root,
        shape=request.inputs[0].shape,
        dtype="uint8",
        version=f"wm811k-1:{width}x{height}",
    )
    return Examples(
        ids=pa.array(chosen).cast(pa.string()),
        inputs=(column,),
        targets=classes[chosen].astype(np.int64),
        groups=lots[chosen].astype(np.int64),
    )


def split_rows(classes: np.ndarray, lots: np.ndarray, split: str, labelled: bool, how: str) -> np.ndarray:
    """Return the wafers of a split with or without a label. classes: -1 without one.

    how: "wafer" shuffles these wafers and cuts them 9:1; "lot" does so with all lots, in the order of the file.
    """
    rows = np.flatnonzero((classes >= 0) == labelled)
    if how == "wafer":
        return rows[split_90_10(len(rows), split)]
    held_out = split_90_10(lots.max(initial=-1) + 1, "test")
    return rows[np.isin(lots[rows], held_out) == (split != "train")]


def decode(row: dict[str, Any], *, root: Path, width: int, height: int) -> np.ndarray:
    """Decode the map of wafer row["wafer"] as DABS does: grey levels resized with Pillow's bilinear filter, uint8 (3,
    height, width), all channels equal."""
    picture = Image.fromarray(GREYS[wafers(root / row["path"]).map(row["wafer"])])
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return np.repeat(resized[None], 3, axis=0)


def index(request: Request, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read class and lot of every wafer, see `read_index`; minutes for the real file, so the result is kept."""
    column = Decoded(
        items=pa.table({"path": [FILE]}),
        decode=partial(_decode_index, root=root),
        root=root,
        shape=(None, 2),
        dtype="int32",
        version="wm811k-index-1",
    )
    prepared = request.prepare(column)
    table = prepared[0] if isinstance(prepared, Stored) else read_index(root / FILE)
    return table[:, 0], table[:, 1]


def _decode_index(row: dict[str, Any], *, root: Path) -> np.ndarray:
    return read_index(root / row["path"])


def read_index(file: Path) -> np.ndarray:
    """Read class and lot of every wafer, in file order, int32 (n, 2): a class of `CLASSES`, or -1 without a label; lots
    are numbered in order of appearance. Raises DataError, with the wafer, for an unknown label and a missing lot."""
    check_regular(file)
    return _read_index(file, state(file))


@lru_cache(maxsize=1)
def _read_index(file: Path, changed: State) -> np.ndarray:
    opened = wafers(file)
    table = np.full((len(opened), 2), -1, np.int32)
    numbers = {name: number for number, name in enumerate(CLASSES)}
    for wafer, text in enumerate(opened.failure_types()):
        if text is None or text == UNLABELLED:
            continue
        if (label := text.lower()) not in numbers:
            raise DataError(f"{file}: wafer {wafer}: unknown failureType {shown(text)}; known: {', '.join(CLASSES)}")
        table[wafer, 0] = numbers[label]
    lots: dict[str, int] = {}
    for wafer, lot in enumerate(opened.lot_names()):
        if not lot:
            raise DataError(f"{file}: wafer {wafer} has no lotName")
        table[wafer, 1] = lots.setdefault(lot, len(lots))
    return table


PRETRAINING = Pretraining(source=SOURCE, load=load_unlabelled, sizes={"all": MAPS - LABELLED})
TASK = Task(
    name="wafer_transfer",
    row="WM-811K",
    source=SOURCE,
    target=Multiclass(len(CLASSES)),
    metric="f1_weighted",
    also=("f1", "accuracy"),
    load=load,
    sizes={"all": LABELLED},
    note="85 % of the labelled wafers have no failure, so the weighted F1 of that constant answer is 78 %. DABS "
    "averages it over batches, in which rare failures are mostly absent.",
)
