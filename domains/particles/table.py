"""A large table of numbers in a csv file without a header: parsed once, as a stream, and read by row afterwards."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from dabs_rq.errors import DataError, shown
from dabs_rq.files import State, check_regular, digest, explained, state

LINES = 250_000  # of a chunk
BLOCK = 16 << 20  # bytes that are parsed at a time
LONGEST = 1 << 16  # bytes of a line


@dataclass(frozen=True)
class Table:
    """What a file holds: numbers, of which the first of a line is a label, 0 or 1. names: of the columns."""

    names: tuple[str, ...]

    def blocks(self, file: Path) -> Iterator[np.ndarray]:
        """Yield float32 (lines, columns), from the first line to the last, a block at a time.

        Raises DataError, with line and column, for a line of another length and for what is no finite number.
        """
        from pyarrow import csv

        check_regular(file)
        lines, names = 0, list(self.names)
        packed = "gzip" if file.suffix == ".gz" else None
        try:
            with pa.input_stream(str(file), compression=packed) as stream:
                parsed = csv.open_csv(
                    stream,
                    read_options=csv.ReadOptions(column_names=names, block_size=BLOCK),
                    parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
                    convert_options=csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.float64()), null_values=[], strings_can_be_null=False
                    ),
                )
                for batch in parsed:
                    values = np.empty((len(batch), len(names)), np.float32)
                    with np.errstate(over="ignore"):  # infinity, which is refused below
                        for column, numbers in enumerate(batch.columns):
                            values[:, column] = numbers.to_numpy()
                    label = values[:, 0]
                    if not (np.isfinite(values).all() and ((label == 0) | (label == 1)).all()):
                        raise self._fault(file, lines, "values")
                    lines += len(values)
                    yield values
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._fault(file, lines, str(error)) from error

    def _fault(self, file: Path, first: int, reason: str) -> DataError:
        """Return the error for a file that cannot be parsed after `first` lines; reads on, slowly, to find the line."""
        with explained(file, "cannot be read: damaged or cut off"), _opened(file) as content:
            lines = iter(lambda: content.readline(LONGEST), b"")
            for number, line in enumerate(islice(lines, first, None), start=first + 1):
                fields, place = line.decode("ascii", "replace").rstrip("\r\n").split(","), f"{file}, line {number}"
                if len(fields) != len(self.names):
                    return DataError(f"{place}: expected {len(self.names)} numbers between commas, found {len(fields)}")
                for name, field in zip(self.names, fields, strict=True):
                    if not _is_finite(field):
                        return DataError(f"{place}, column {name}: expected a finite number, found {shown(field)}")
                if float(fields[0]) not in (0, 1):
                    return DataError(f"{place}: the label {fields[0]} is not 0 or 1")
        return DataError(f"{file}: cannot be read ({reason:.300})")


def _opened(file: Path) -> IO[bytes]:
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _is_finite(text: str) -> bool:
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float32(text)))
    except ValueError:
        return False


class _Reader:
    """Reads the chunks of a file one after the other; an earlier one than the last means to begin again."""

    def __init__(self, file: Path, table: Table) -> None:
        self.file, self.table = file, table
        self._begin()

    def _begin(self) -> None:
        self.next, self.rest = 0, np.empty((0, len(self.table.names)), np.float32)
        self.blocks = self.table.blocks(self.file)

    def chunk(self, number: int, last: int) -> np.ndarray:
        if number < self.next:
            self._begin()
        while self.next < number:
            self._read(LINES)
        return self._read(None if number == last else LINES)

    def _read(self, lines: int | None) -> np.ndarray:
        self.next += 1
        parts, count = [self.rest], len(self.rest)
        while lines is None or count < lines:
            if (block := next(self.blocks, None)) is None:
                break
            parts.append(block)
            count += len(block)
        values = np.concatenate(parts)
        self.rest = values[lines:].copy() if lines is not None else values[:0]
        return values if lines is None else values[:lines]


@lru_cache(maxsize=1)
def _reader(file: Path, table: Table, changed: State, process: int) -> _Reader:
    return _Reader(file, table)


def decode(row: dict[str, Any], *, root: Path, table: Table, chunks: int) -> np.ndarray:
    """Decode chunk number row["chunk"] of `chunks`, each of `LINES` lines, the last of all the rest: float32 (lines,
    columns). It has no lines if the file ends before it."""
    file = root / row["path"]
    reader = _reader(file, table, state(file), os.getpid())
    try:
        return reader.chunk(row["chunk"], chunks - 1)
    except BaseException:
        _reader.cache_clear()  # its stream has ended in the middle
        raise


@dataclass(frozen=True)
class Rows:
    """A column of rows of a table, each number a token: float32 (n, len(columns), 1).

    chunks: the table, `LINES` rows each but for the last one with rows. rows: (n,) int, the row of each example.
    columns: (k,) int, the columns of the table, in the order of the tokens. mean, std: (k,), subtracted and divided by.
    table_key: identity of the table.
    """

    chunks: Sequence[np.ndarray]
    rows: np.ndarray
    columns: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    table_key: str

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def key(self) -> str:
        numbers = (self.rows, self.columns, self.mean, self.std)
        return digest(self.table_key, *(np.ascontiguousarray(values).tobytes() for values in numbers))

    def take(self, rows: np.ndarray) -> np.ndarray:
        values = np.empty((len(rows), len(self.columns)), np.float32)
        for chunk, chosen, places in by_chunk(self.rows[rows], len(self.chunks)):
            values[places] = self.chunks[chunk][chosen][:, self.columns]
        return ((values - self.mean) / self.std).astype(np.float32)[..., None]

    def select(self, rows: np.ndarray) -> Rows:
        return replace(self, rows=self.rows[rows])


def by_chunk(rows: np.ndarray, chunks: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (chunk, rows in it, their places in `rows`) for each chunk with some of the rows of the table."""
    which = np.minimum(rows // LINES, chunks - 1)
    for chunk in np.unique(which).tolist():
        places = np.flatnonzero(which == chunk)
        yield chunk, rows[places] - chunk * LINES, places


def statistics(chunks: Sequence[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation, (columns,) float64, of some rows of a table; 1 for a constant column."""
    total, squares = np.zeros((2, chunks[0].shape[1]))
    for chunk, chosen, _ in by_chunk(rows, len(chunks)):
        values = chunks[chunk][chosen].astype(np.float64)
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
    mean = total / len(rows)
    std = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
    # A deviation below the resolution of float32 means a constant column: dividing would only amplify rounding.
    return mean, np.where(std <= 1e-6 * np.abs(mean), 1.0, std)
