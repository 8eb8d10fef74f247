"""HIGGS: simulated collisions of protons, of which some produce Higgs bosons. DABS pretrains on nine tenths of them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Stored
from dabs_rq.data.readers.index import cut_90_10, split_90_10
from dabs_rq.data.requests import Request
from dabs_rq.domain import Pretraining, Task
from dabs_rq.domains.particles.table import LINES, Rows, Table, decode, statistics
from dabs_rq.errors import DataError
from dabs_rq.files import State, state
from dabs_rq.spec import Archive, Binary, Source

FILES = ("HIGGS.csv.gz", "HIGGS.csv")
# In the order of the file, after the label: 21 that detectors measure, 7 derived from them.
FEATURES = (
    *("lepton_pT", "lepton_eta", "lepton_phi", "missing_energy_magnitude", "missing_energy_phi"),
    *(f"jet_{number}_{what}" for number in range(1, 5) for what in ("pt", "eta", "phi", "b-tag")),
    *("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb"),
)
TABLE = Table(("class_label", *FEATURES))
COLLISIONS = 11_000_000
CHUNKS = COLLISIONS // LINES
HELD_OUT = COLLISIONS // 500_000  # the usual test set is one part of so many, the last one

SOURCE = Source(
    name="higgs",
    title="HIGGS",
    url="https://archive.ics.uci.edu/dataset/280/higgs",
    folder="particle_physics",
    layout="HIGGS.csv.gz   or, extracted, HIGGS.csv: no header; label and 28 numbers a line",
    needs=FILES[:1],
    instead=FILES[1:],
    licence="CC BY 4.0",
    size="2.8 GB",
    citation="Baldi, Sadowski and Whiteson 2014, Searching for Exotic Particles in High-Energy Physics with Deep "
    "Learning, Nature Communications, arXiv:1402.4735",
    archives=(
        Archive(
            "https://archive.ics.uci.edu/ml/machine-learning-databases/00280/HIGGS.csv.gz",
            size=2_816_407_858,
            sha256="ea302c18164d4e3d916a1e2e83a9a8d07069fa6ebc7771e4c0540d54e593b698",
        ),
    ),
)


def load(request: Request) -> Examples:
    """Load labelled collisions of the part of the file that pretraining does not read."""
    return _load(request, "transfer")


def load_unlabelled(request: Request) -> Examples:
    """Load collisions without labels of the part of the file for pretraining. Under higgs_split=last, those on which
    the probe is fitted are for validation."""
    return replace(_load(request, "pretraining"), targets=None)


def _load(request: Request, role: str) -> Examples:
    chunks, key = _chunks(request)
    protocol = request.protocol
    count = sum(map(len, chunks))
    request.expect("HIGGS lines", COLLISIONS, count)
    lines = split_lines(count, role, request.split, protocol.higgs_split)
    ordered = sorted(FEATURES) if protocol.higgs_columns == "name" else FEATURES
    columns = np.array([TABLE.names.index(name) for name in ordered])
    mean, std = np.zeros(len(columns)), np.ones(len(columns))
    if protocol.higgs_standardise:
        training = split_lines(count, "pretraining", "train", protocol.higgs_split)
        mean, std = (values[columns] for values in statistics(chunks, training))
    labels = np.concatenate([chunk[:, 0].astype(np.int8) for chunk in chunks])
    return Examples(
        ids=pa.array(lines + 1).cast(pa.string()),
        inputs=(Rows(chunks, lines, columns, mean.astype(np.float32), std.astype(np.float32), key),),
        targets=labels[lines].astype(np.int64),
    )


def split_lines(count: int, role: str, split: str, how: str) -> np.ndarray:
    """Return the lines of a split of "pretraining" or "transfer", counted from 0, in its order.

    how: "tenths" gives the first ceil(0.9 n) lines to pretraining and the last floor(0.1 n) to transfer, and shuffles
    and cuts each 9:1; "last" tests on the last part of 22, trains on the one before, and pretrains on the rest.
    """
    lines = np.arange(count)
    if how == "tenths":
        part = cut_90_10(lines, "train" if role == "pretraining" else "test")
        return part[split_90_10(len(part), split)]
    probe, test = count - 2 * (count // HELD_OUT), count - count // HELD_OUT
    if split == "test":
        return lines[test:]
    return lines[:probe] if (role, split) == ("pretraining", "train") else lines[probe:test]


def _chunks(request: Request) -> tuple[list[np.ndarray], str]:
    """Return the table in chunks, memory-mapped if it is prepared, else in memory, and its identity."""
    root = request.folder(SOURCE)
    name = next(name for name in FILES if (root / name).exists())
    column = Decoded(
        items=pa.table({"path": [name] * CHUNKS, "chunk": range(CHUNKS)}),
        decode=partial(decode, root=root, table=TABLE, chunks=CHUNKS),
        root=root,
        shape=(None, len(TABLE.names)),
        dtype="float32",
        version="higgs-1",
    )
    prepared = request.prepare(column)
    if isinstance(prepared, Stored):
        chunks = [prepared[number] for number in range(CHUNKS)]
    else:
        chunks = _in_memory(root, name, state(root / name))
    if (count := sum(map(len, chunks))) < HELD_OUT:
        raise DataError(f"{root / name}: expected {COLLISIONS:,} lines, found {count}, too few to divide")
    return [chunk for chunk in chunks if len(chunk)], column.key


@lru_cache(maxsize=1)
def _in_memory(root: Path, name: str, changed: State) -> list[np.ndarray]:
    rows = ({"path": name, "chunk": number} for number in range(CHUNKS))
    return [decode(row, root=root, table=TABLE, chunks=CHUNKS) for row in rows]


PRETRAINING = Pretraining(source=SOURCE, load=load_unlabelled)
TASK = Task(
    name="higgs_transfer",
    row="HIGGS",
    source=SOURCE,
    target=Binary(),
    metric="accuracy",
    also=("auroc",),
    load=load,
    note="DABS takes the collisions in the order in which TFDS hands them over, which depends on a hash. Here they are "
    "in the order of the file, so the published protocol has subsets of DABS's sizes, but of other collisions.",
)
