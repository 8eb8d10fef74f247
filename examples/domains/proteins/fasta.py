"""FASTA files: a line `>name description`, then the residues of one protein in lines of any length and either case."""

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
FIRST = ord("A") - 1  # A is 1, Z is 26: every letter stands for a residue, or for not knowing which
VOCABULARY = 27


class Protein(NamedTuple):
    """line: of its header, from 1 on. residues: the first of them, upper case."""

    line: int
    name: str
    description: str
    residues: str


def read(file: Path, length: int) -> Iterator[Protein]:
    """Every protein of a file (.gz or not) in its order, each with at most `length` residues.

    Raises DataError with file and line for a damaged file and for what is no FASTA.
    """
    header: tuple[int, str] | None = None
    residues: list[str] = []
    held = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as opened:
            for number, text in enumerate(opened, 1):
                line = text.strip()
                if line.startswith(">"):
                    if header:
                        yield _protein(file, *header, residues, length)
                    header, residues, held = (number, line[1:]), [], 0
                elif line and header is None:
                    raise DataError(f"{file}:{number}: expected a line that begins with >, found {line[:40]!r}")
                elif held < length:
                    residues.append(line)
                    held += len(line)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: no FASTA file, or damaged ({error})") from error
    if header is None:
        raise DataError(f"{file}: holds no protein")
    yield _protein(file, *header, residues, length)


def _protein(file: Path, number: int, header: str, residues: list[str], length: int) -> Protein:
    name, _, description = header.partition(" ")
    joined = "".join(residues)[:length].upper()
    if not name or not joined:
        raise DataError(f"{file}:{number}: a protein without {'residues' if name else 'a name'}: >{header[:40]}")
    return Protein(number, name, description, joined)


def column(proteins: Sequence[Protein], root: Path, path: str, spec: Input) -> Decoded:
    """The ids of `proteins`, which are from the file `path` below `root`."""
    items = {
        "path": pa.array([path] * len(proteins), pa.string()),
        "line": pa.array([one.line for one in proteins], pa.int64()),
        "residues": pa.array([one.residues for one in proteins], pa.string()),
    }
    decode = partial(_decode, root=root, length=spec.shape[0])
    return Decoded(pa.table(items), decode, root, spec.shape, "int32", f"fasta-1:{spec.shape[0]}")


def _decode(row: dict[str, Any], *, root: Path, length: int) -> np.ndarray:
    ids = np.full(length, PAD, np.int32)
    letters = np.frombuffer(row["residues"].encode(), np.uint8).astype(np.int32) - FIRST
    if ((letters < 1) | (letters >= VOCABULARY)).any():
        found = sorted({letter for letter in row["residues"] if not "A" <= letter <= "Z"})
        raise DataError(f"{root / row['path']}:{row['line']}: {' '.join(found)} stands for no residue; letters do")
    ids[: len(letters)] = letters
    return ids
