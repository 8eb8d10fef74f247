"""Reads csv tables of molecules in SMILES: a line of characters that are atoms, bonds, branches and rings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.data.readers.index import csv_table
from dabs_rq.errors import DataError
from dabs_rq.spec import Input

PAD = 0
FIRST, LAST = "!", "~"  # the printable characters of ASCII: ids 1 to 94
VOCABULARY = ord(LAST) - ord(FIRST) + 2


class Molecule(NamedTuple):
    """line: the line number in the table, from 1. smiles: the molecule. label: its cell in the column of labels."""

    line: int
    smiles: str
    label: str


def read(file: Path, label: str) -> list[Molecule]:
    """Read the molecules of a table in order, with their cells in the column `label`.

    Raises DataError with file and line if the table is damaged or a molecule is empty.
    """
    table = csv_table(file, ("smiles", label))
    molecules = [
        Molecule(line, smiles.strip(), cell)
        for line, (smiles, cell) in enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True), 2)
    ]
    if not molecules:
        raise DataError(f"{file}: contains no molecule")
    for molecule in molecules:
        if not molecule.smiles:
            raise DataError(f"{file}:{molecule.line}: a line without a molecule")
    return molecules


def column(molecules: Sequence[Molecule], root: Path, path: str, spec: Input) -> Decoded:
    """Return the column of character ids of `molecules`, which were read from the file `path` below `root`."""
    items = {
        "path": pa.array([path] * len(molecules), pa.string()),
        "line": pa.array([molecule.line for molecule in molecules], pa.int64()),
        "smiles": pa.array([molecule.smiles for molecule in molecules], pa.string()),
    }
    decode = partial(_decode, root=root, length=spec.shape[0])
    return Decoded(pa.table(items), decode, root, spec.shape, "int32", f"smiles-1:{spec.shape[0]}")


def _decode(row: dict[str, Any], *, root: Path, length: int) -> np.ndarray:
    if unknown := sorted({character for character in row["smiles"] if not FIRST <= character <= LAST}):
        raise DataError(
            f"{root / row['path']}:{row['line']}: expected a molecule in ASCII without spaces, found "
            f"{' '.join(map(repr, unknown))}"
        )
    ids = np.full(length, PAD, np.int32)
    characters = np.frombuffer(row["smiles"].encode()[:length], np.uint8)
    ids[: len(characters)] = characters.astype(np.int32) - ord(FIRST) + 1
    return ids
