"""Pfam: 32 million protein domains to pretrain on, and the clan of 200,000 others to transfer to.

The file has 19 GB. It is read once from front to end; the prepared cache keeps where each record is.
"""

from __future__ import annotations

from array import array
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Stored
from dabs_rq.data.readers.index import cut_90_10, shuffled
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.proteins import tape
from dabs_rq.errors import DataError, shown
from dabs_rq.spec import Multiclass

TRAIN, VALID = (f"pfam/pfam_{split}.json" for split in ("train", "valid"))
TRANSFER = 200_000  # proteins of the validation file; a file with no more gives half of them
CLANS = Multiclass(623)

SOURCE = tape.source(
    "pfam",
    "Pfam, 32 million protein domains with their clans",
    "primary, clan",
    size="7 GB to download, 19 GB as JSON",
    licence="CC0",
    citation="El-Gebali et al. 2019, The Pfam protein families database in 2019, Nucleic Acids Research 47",
)


def load_unlabelled(request: Request) -> Examples:
    """Load all of the training file ("train"), or the validation file without the transfer set ("validation")."""
    root = request.folder(SOURCE)
    path = TRAIN if request.split == "train" else VALID
    found = _records(request, root, path)
    rows = shuffled(len(found))
    return _examples(request, root, path, found, rows if path == TRAIN else _cut(rows)[0])


def load(request: Request) -> Examples:
    """Load the transfer set: of the shuffled validation file the last 200,000, nine tenths "train", a tenth "test".

    A class is the rank of a clan among those of the training file.
    """
    root = request.folder(SOURCE)
    clans = np.unique(_records(request, root, TRAIN)[:, 2])
    found = _records(request, root, VALID)
    rows = cut_90_10(_cut(shuffled(len(found)))[1], request.split)
    own = found[rows, 2]
    ranks = np.searchsorted(clans, own).clip(max=len(clans) - 1)
    if (unknown := clans[ranks] != own).any():
        where = tape.place(root / VALID, int(rows[unknown.argmax()]))
        raise DataError(f"{where}: clan {own[unknown.argmax()]} is not among the {len(clans)} clans of {root / TRAIN}")
    return _examples(request, root, VALID, found, rows, ranks)


def _cut(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the shuffled validation file into the part for pretraining and the transfer set."""
    first = len(rows) - (TRANSFER if len(rows) > TRANSFER else len(rows) // 2)
    return rows[:first], rows[first:]


def _examples(
    request: Request, root: Path, path: str, found: np.ndarray, rows: np.ndarray, targets: np.ndarray | None = None
) -> Examples:
    column = tape.column(root, path, found[:, :2], rows, request.inputs[0])
    return Examples(ids=tape.ids(path, rows), inputs=(column,), targets=targets)


def _records(request: Request, root: Path, path: str) -> np.ndarray:
    """Return (n, 3): the span of each record's residues in the file, and its clan."""
    items = pa.table({"path": pa.array([path])})
    column = Decoded(items, partial(_index, root=root), root, (None, 3), "int64", "pfam-1")
    prepared = request.prepare(column)
    return prepared[0] if isinstance(prepared, Stored) else prepared.take(np.array([0]))[0]


def _index(row: dict[str, Any], *, root: Path) -> np.ndarray:
    numbers = array("q")
    for protein in tape.proteins(root / row["path"]):
        clan = protein.field("clan")
        if not isinstance(clan, int) or isinstance(clan, bool) or not 0 <= clan < 2**31:
            raise DataError(f"{protein.where}: expected a whole number as clan, found {shown(clan)}")
        numbers.extend((*protein.span, clan))
    return np.frombuffer(numbers, np.int64).reshape(-1, 3)


PFAM = Pretraining(source=SOURCE, load=load_unlabelled)
TASK = Task(
    name="pfam_transfer",
    row="Pfam Clan",
    source=SOURCE,
    target=CLANS,
    metric="accuracy",
    load=load,
    sizes={"train": 180_000, "test": 20_000},
)
