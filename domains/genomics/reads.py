"""Reads files of DNA sequences, one in a line: the publisher's, separated by tabs, and those that DABS 2.0 writes.

A line is a sequence with its genus and where it comes from, `seq_info`, which ends with the position in the genome.
DABS's files are csv with Python's bytes literals and class numbers, as pandas writes TensorFlow's copy.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dabs_rq.data.readers.index import class_number
from dabs_rq.data.readers.spans import Spans
from dabs_rq.errors import DataError, shown
from dabs_rq.files import State, reading, state
from dabs_rq.spec import Input, Multiclass

BASES = b"ACGT"  # ids 0 to 3
LENGTH = 250
LONGEST_LINE = 1 << 16
COLUMNS = ("seq", "label", "seq_info")
_IDS = np.full(256, 255, np.uint8)
_IDS[list(BASES)] = range(len(BASES))
_INFO = re.compile(rb"(.+)\D(\d+)", re.DOTALL)
_LITERAL = re.compile(rb"b'(.*)'", re.DOTALL)


@dataclass(frozen=True)
class Genera:
    """The classes of a file. first: the number of the first one in DABS's files."""

    names: tuple[str, ...]
    first: int = 0

    @property
    def target(self) -> Multiclass:
        return Multiclass(len(self.names))


class Index(NamedTuple):
    """spans: (n, 2) of the sequences in the file, see `Spans`. lines: (n,) from 1. classes, genomes, positions: (n,);
    genomes are numbered as in `names`."""

    spans: np.ndarray
    lines: np.ndarray
    classes: np.ndarray
    genomes: np.ndarray
    positions: np.ndarray
    names: tuple[str, ...]


def index(file: Path, genera: Genera) -> Index:
    """Find all sequences of a file without keeping them. Raises DataError with file and line if it is damaged."""
    return _index(file, genera, state(file))


@lru_cache(maxsize=4)
def _index(file: Path, genera: Genera, changed: State) -> Index:
    found, genomes = array("q"), dict[bytes, int]()
    with reading(file, "damaged"):
        lines = _lines(file)
        columns = _Columns.of(file, next(lines, (1, 0, b"")))
        numbers = {name.encode(): number for number, name in enumerate(genera.names)}
        for number, start, line in lines:
            where = f"{file}:{number}"
            sequence, label, info = columns.cells(line, where)
            if len(sequence) != LENGTH:
                raise DataError(f"{where}: expected a sequence of {LENGTH} bases, found {len(sequence)}")
            if columns.numbered:
                class_index = class_number(label.decode("latin-1"), genera.target, where, genera.first)
            elif (class_index := numbers.get(label, -1)) < 0:
                raise DataError(
                    f"{where}: label {shown(label.decode('latin-1'))} is none of the {len(numbers)} genera of this "
                    f"file, {genera.names[0]} to {genera.names[-1]}"
                )
            if (place := _INFO.fullmatch(info)) is None or len(place[2]) > 18:
                raise DataError(
                    f"{where}: expected seq_info with a genome and a position, such as NC_000913.3_1200, found "
                    f"{shown(info.decode('latin-1'))}"
                )
            genome = genomes.setdefault(place[1], len(genomes))
            found.extend((start + line.index(sequence), number, class_index, genome, int(place[2])))
    if not found:
        raise DataError(f"{file}: it holds no sequence below its header")
    table = np.frombuffer(found, np.int64).reshape(-1, 5)
    spans = np.stack([table[:, 0], np.full(len(table), LENGTH)], axis=1)
    lines_found, classes, places, positions = table[:, 1:].T.copy()
    names = tuple(name.decode("latin-1") for name in genomes)
    return Index(spans, lines_found, classes, places, positions, names)


def _lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number from 1, first byte, text) of every line that is not blank."""
    start = 0
    with file.open("rb") as opened:
        for number, line in enumerate(iter(lambda: opened.readline(LONGEST_LINE), b""), 1):
            if len(line) == LONGEST_LINE:
                raise DataError(f"{file}:{number}: the line has {LONGEST_LINE:,} bytes or more, which is no sequence")
            if line.strip():
                yield number, start, line
            start += len(line)


@dataclass(frozen=True)
class _Columns:
    """Where the header says the cells are. numbered: the file is DABS's, with class numbers and bytes literals."""

    count: int
    places: tuple[int, ...]
    numbered: bool

    @classmethod
    def of(cls, file: Path, header: tuple[int, int, bytes]) -> _Columns:
        numbered = file.suffix == ".csv"
        names = [cell.decode("latin-1") for cell in _cells(header[2], numbered)]
        if missing := [name for name in COLUMNS if names.count(name) != 1]:
            separator = "commas" if numbered else "tabs"
            raise DataError(
                f"{file}:{header[0]}: expected a header with {', '.join(COLUMNS)}, separated by {separator}; "
                f"{', '.join(missing)} missing or repeated, found {shown(names)}"
            )
        return cls(len(names), tuple(names.index(name) for name in COLUMNS), numbered)

    def cells(self, line: bytes, where: str) -> Sequence[bytes]:
        """Return the cells of `COLUMNS`."""
        cells = _cells(line, self.numbered)
        if len(cells) != self.count:
            raise DataError(f"{where}: expected {self.count} cells, as in the header, found {len(cells)}")
        chosen = [cells[place] for place in self.places]
        if self.numbered:
            chosen = [literal[1] if (literal := _LITERAL.fullmatch(cell)) else cell for cell in chosen]
        return chosen


def _cells(line: bytes, comma: bool) -> list[bytes]:
    text = line.rstrip(b"\r\n")
    if comma and b'"' in text:
        return [cell.encode("latin-1") for cell in next(csv.reader([text.decode("latin-1")]))]
    return text.split(b"," if comma else b"\t")


def column(root: Path, path: str, found: Index, rows: np.ndarray, spec: Input) -> Spans:
    """Return the column of base ids of `rows`, which `index` found in the file `path` below `root`."""
    (length,) = spec.shape
    decode = partial(_decode, file=root / path, length=length)
    return Spans(root, path, found.spans[rows], found.lines[rows], decode, (length,), "int32", f"bases-1:{length}")


def _decode(raw: bytes, line: int, *, file: Path, length: int) -> np.ndarray:
    ids = _IDS[np.frombuffer(raw, np.uint8)]
    if len(ids) != LENGTH or (ids == 255).any():
        others = sorted({chr(letter) for letter in raw if letter not in BASES})
        raise DataError(f"{file}:{line}: expected {LENGTH} bases, A, C, G or T, found {' '.join(map(repr, others))}")
    return ids[:length].astype(np.int32)
