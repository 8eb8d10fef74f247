"""Columns: one input of every example of a split, as arrays that are decoded on request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.known_keys import known_or_computed
from dabs_rq.errors import DataError
from dabs_rq.files import digest, digest_each, digest_files, explained


class Column(Protocol):
    """Arrays of one shape and dtype, one per example. `key` identifies their content."""

    @property
    def key(self) -> str: ...

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the arrays of `rows`, stacked: (len(rows), *shape)."""

    def select(self, rows: np.ndarray) -> Column: ...


@dataclass(frozen=True)
class Decoded:
    """Arrays decoded one at a time from files.

    items: one row per array; the columns are what `decode` needs. Column "path" is the file, relative to `root`.
    decode: (row as dict) -> array of `shape` and `dtype`; picklable (a top-level function, or a partial of one).
    shape: None stands for a length that varies.
    version: names the decoder and its options; change it whenever the same file would decode to other arrays.
    """

    items: pa.Table
    decode: Callable[[dict[str, Any]], np.ndarray]
    root: Path
    shape: tuple[int | None, ...]
    dtype: str
    version: str

    def __len__(self) -> int:
        return self.items.num_rows

    @cached_property
    def key(self) -> str:
        return known_or_computed(self._name, self._compute_key)

    def _name(self) -> str:
        """Identify the column without the state of its files, faster than its key does."""
        content = hashlib.sha256()
        for batch in self.items.combine_chunks().to_batches():
            content.update(batch.serialize())
        types = {name: str(kind) for name, kind in zip(self.items.schema.names, self.items.schema.types, strict=True)}
        return digest(self.version, self.shape, self.dtype, str(self.root.resolve()), types, content.digest())

    def _compute_key(self) -> str:
        paths = pc.array_take(unique := self.items["path"].unique(), pc.array_sort_indices(unique))
        files = digest_files(self.root, (path for part in in_chunks(paths) for path in part.to_pylist()))
        rows = [digest_each(part.to_pylist() for part in in_chunks(column)) for column in self.items.columns]
        return digest(self.version, self.shape, self.dtype, rows, files)

    @property
    def row_bytes(self) -> int:
        """Bytes of one array; a length that varies counts as one."""
        return int(np.prod([length or 1 for length in self.shape])) * np.dtype(self.dtype).itemsize

    def row(self, index: int) -> np.ndarray:
        """Decode array `index`. Raises DataError naming the file if it is damaged or decodes to another shape."""
        row = self.items.slice(int(index), 1).to_pylist()[0]
        with explained(self.root / row["path"], "cannot be decoded"):
            array = self.decode(row)
        fits = len(array.shape) == len(self.shape) and all(
            expected in (None, actual) for expected, actual in zip(self.shape, array.shape, strict=True)
        )
        if not fits or array.dtype != self.dtype:
            raise DataError(
                f"{self.root / row['path']}: decoded to {array.dtype} {array.shape}, expected {self.dtype} {self.shape}"
            )
        return array

    def take(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self.row(row) for row in rows])

    def select(self, rows: np.ndarray) -> Decoded:
        return replace(self, items=self.items.take(pa.array(rows)).combine_chunks())


@dataclass(frozen=True)
class Windows:
    """Slices of `length` rows of long recordings: example i is series[which[i]][start[i] : start[i] + length]."""

    series: Sequence[np.ndarray]
    which: np.ndarray
    start: np.ndarray
    length: int
    series_key: str

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def key(self) -> str:
        places = np.stack([self.which, self.start]).astype(np.int64)
        return digest(self.series_key, self.length, places.tobytes())

    def take(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self.series[self.which[i]][self.start[i] : self.start[i] + self.length] for i in rows])

    def select(self, rows: np.ndarray) -> Windows:
        return replace(self, which=self.which[rows], start=self.start[rows])


@dataclass(frozen=True)
class Shared:
    """A column of indices into another column: several examples may share an array, and an example may choose among
    several arrays.

    rows: (n, k) int, the rows of `column` among which each example chooses; k = 1 if there is no choice. chosen: (n,)
    int in [0, k). Only rows in use are decoded and prepared.
    """

    column: Column
    rows: np.ndarray
    chosen: np.ndarray

    @classmethod
    def of(cls, column: Column, rows: np.ndarray) -> Shared:
        """Make a column that takes the first choice of `rows`, (n,) or (n, k)."""
        rows = np.asarray(rows, np.int64).reshape(len(rows), -1)
        return cls(column, rows, np.zeros(len(rows), np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def key(self) -> str:
        return digest(self.column.key, self.rows.shape[1], self.rows.tobytes(), self.chosen.tobytes())

    @property
    def varies(self) -> bool:
        return self.rows.shape[1] > 1

    def take(self, rows: np.ndarray) -> np.ndarray:
        needed, places = np.unique(self.rows[rows, self.chosen[rows]], return_inverse=True)
        return self.column.take(needed)[places]

    def select(self, rows: np.ndarray) -> Shared:
        needed, places = np.unique(self.rows[rows], return_inverse=True)
        return Shared(self.column.select(needed), places.reshape(len(rows), -1), self.chosen[rows])

    def redrawn(self, seed: int, epoch: int) -> Shared:
        """Draw a choice for every example by (seed, epoch)."""
        generator = np.random.default_rng([seed, epoch])
        return replace(self, chosen=generator.integers(self.rows.shape[1], size=len(self)))


def in_chunks(values: pa.Array | pa.ChunkedArray, size: int = 65536) -> Iterator[pa.Array | pa.ChunkedArray]:
    """Cut `values` into pieces small enough to convert to Python objects."""
    return (values.slice(start, size) for start in range(0, len(values), size))
