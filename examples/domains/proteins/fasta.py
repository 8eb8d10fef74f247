"""Reads FASTA files: each protein is a line `>name description`, then its residues in lines of any length, in upper or
lower case."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Decoded
from dabs_rq.errors import DataError
from dabs_rq.spec import Input

PAD = 0
OFFSET = ord("A") - 1  # A is 1, Z is 26: every letter is a residue or an ambiguous residue
VOCABULARY = 27


class Protein(NamedTuple):
    """line: the line number of its header, from 1. residues: the leading residues in upper case."""

    line: int
    name: str
    description: str
    residues: str


def read(file: Path, length: int) -> Iterator[Protein]:
    """Yield the proteins of a file (.gz or not) in order, each with at most `length` residues.

    Raises DataError with file and line if the file is damaged or not in FASTA format.
    """
    header: tuple[int, str] | None = None
    residues: list[str] = []
    count = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as opened:
            for number, text in enumerate(opened, 1):
                line = text.strip()
                if line.startswith(">"):
                    if header:
                        yield _protein(file, *header, residues, length)
                    header, residues, count = (number, line[1:]), [], 0
                elif line and header is None:
                    raise DataError(f"{file}:{number}: expected a line that starts with >, found {line[:40]!r}")
                elif count < length:
                    residues.append(line)
                    count += len(line)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a FASTA file, or damaged ({error})") from error
    if header is None:
        raise DataError(f"{file}: contains no protein")
    yield _protein(file, *header, residues, length)


def _protein(file: Path, number: int, header: str, residues: list[str], length: int) -> Protein:
    name, _, description = header.partition(" ")
    joined = "".join(residues)[:length].upper()
    if not name or not joined:
        raise DataError(f"{file}:{number}: a protein without {'residues' if name else 'a name'}: >{header[:40]}")
    return Protein(number, name, description, joined)


def column(proteins: Sequence[Protein], root: Path, path: str, spec: Input) -> Decoded:
    """Return the column of residue ids of `proteins`, which were read from the file `path` below `root`."""
    items = {
        "path": pa.array([path] * len(proteins), pa.string()),
        "line": pa.array([protein.line for protein in proteins], pa.int64()),
        "residues": pa.array([protein.residues for protein in proteins], pa.string()),
    }
    decode = partial(_decode, root=root, length=spec.shape[0])
    return Decoded(pa.table(items), decode, root, spec.shape, "int32", f"fasta-1:{spec.shape[0]}")


def _decode(row: dict[str, Any], *, root: Path, length: int) -> np.ndarray:
    ids = np.full(length, PAD, np.int32)
    letters = np.frombuffer(row["residues"].encode(), np.uint8).astype(np.int32) - OFFSET
    if ((letters < 1) | (letters >= VOCABULARY)).any():
        unknown = sorted({letter for letter in row["residues"] if not "A" <= letter <= "Z"})
        raise DataError(f"{root / row['path']}:{row['line']}: residues are letters, found {' '.join(unknown)}")
    ids[: len(letters)] = letters
    return ids
