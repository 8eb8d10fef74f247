"""The prepared cache: deterministic preprocessing runs once, and its arrays are read back from memory-mapped files.

`datasets` decodes in several processes and writes the files; its fingerprint is our key, which holds the data root and
changes when a source file changes. Every array is stored with a hash of it and the key, which a process checks when it
first reads the array. A cache that
cannot be opened is built again. A cache with a damaged array is deleted, and the reading process raises DataError.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from dabs_rq.data.columns import Column, Decoded, Shared
from dabs_rq.data.room import Room
from dabs_rq.errors import DataError, OptionError, first_line
from dabs_rq.files import atomic_folder, digest, locked

Policy = Literal["auto", "always", "never"]
ROWS_PER_PROCESS = 2000  # below this a second process costs more than it saves


@dataclass(frozen=True)
class Stored:
    """A column of arrays in memory-mapped Arrow files, read without a copy."""

    arrays: Sequence[np.ndarray]
    rows: np.ndarray
    content: str

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def key(self) -> str:
        if np.array_equal(self.rows, np.arange(len(self.arrays))):
            return self.content  # all rows: the key of the decoded column, so that keys do not depend on the policy
        return digest(self.content, np.asarray(self.rows, np.int64).tobytes())

    def __getitem__(self, row: int) -> np.ndarray:
        return self.arrays[self.rows[row]]

    def checked(self) -> Stored:
        """Read every array once. Raises DataError if one is damaged."""
        for row in range(len(self)):
            self[row]
        return self

    def take(self, rows: np.ndarray) -> np.ndarray:
        arrays = self.arrays
        return np.stack([arrays[row] for row in self.rows[rows]])

    def select(self, rows: np.ndarray) -> Stored:
        return replace(self, rows=self.rows[rows])


class _Views(Sequence[np.ndarray]):
    """The rows of the Arrow table in `folder` as arrays, located by offset without a Python object per row."""

    def __init__(self, folder: Path, table: pa.Table, column: Decoded) -> None:
        self.folder, self.seed = folder, _seed(column)
        shape, dtype = column.shape, column.dtype
        self.shape, self.dtype = tuple(-1 if n is None else n for n in shape), np.dtype(dtype)
        self.hashes = table["hash"].to_numpy()
        self.checked = np.zeros(len(self.hashes), bool)
        self.chunks = []
        for chunk in table["array"].chunks:
            if len(chunk) == 0:
                continue
            _, offsets, data = chunk.buffers()
            ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            self.chunks.append((ends, np.frombuffer(data, np.uint8)))
        self.first = np.cumsum([0] + [len(ends) - 1 for ends, _ in self.chunks])

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        chunk = int(np.searchsorted(self.first, index, side="right")) - 1
        ends, data = self.chunks[chunk]
        row = index - self.first[chunk]
        array = data[ends[row] : ends[row + 1]]
        if not self.checked[index]:
            self._check(index, array)
        return array.view(self.dtype).reshape(self.shape)

    def _check(self, index: int, array: np.ndarray) -> None:
        if xxh3_64_intdigest(array.data, self.seed) != self.hashes[index]:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise DataError(
                f"{self.folder}: prepared example {index} differs from what was written (a failing disk?). The folder "
                "was deleted: run again to prepare it again"
            )
        self.checked[index] = True


@dataclass(frozen=True)
class Store:
    """Prepares columns under `folder`.

    policy: "always"; "never": decode on the fly, with the same arrays; "auto": prepare columns that fit. A column of
    arrays of any length is read from the cache under every policy, because its readers need all of it at once; "never"
    only does not write it. cache_gb: the most that one column may take; "auto": what the disk has room for, see `Room`.
    workers: processes that decode.
    """

    folder: Path
    policy: Policy = "auto"
    cache_gb: float | Literal["auto"] = "auto"
    workers: int = 0

    def __post_init__(self) -> None:
        if self.policy not in ("auto", "always", "never"):
            raise OptionError(f"loader.prepare is one of auto, always, never; got {self.policy!r}")

    def prepare(self, column: Column) -> Column:
        """Return the column, backed by the cache if the policy allows. Columns that decode nothing stay unchanged."""
        if isinstance(column, Shared):
            return replace(column, column=self.prepare(column.column))
        if not isinstance(column, Decoded) or len(column) == 0:
            return column
        if self.policy == "never":
            return self._kept(column) if None in column.shape else column
        if self.policy == "always" or None in column.shape:
            return self.load_or_build(column)
        if (stored := _read_if_intact(self.folder / column.key, column)) is not None:
            return stored
        largest: float | Literal["auto"] = "auto" if self.cache_gb == "auto" else self.cache_gb * 1e9
        with Room(self.folder, largest).claimed(column.key, len(column) * column.row_bytes) as fits:
            return self.load_or_build(column) if fits else column

    def _kept(self, column: Decoded) -> Column:
        """Return the column, backed by the cache if that is there and every array in it is undamaged."""
        stored = _read_if_intact(self.folder / column.key, column)
        try:
            return column if stored is None else stored.checked()
        except DataError as error:  # which deletes the cache
            print(first_line(error), flush=True)
            return column

    def load_or_build(self, column: Decoded) -> Stored:
        """Read the column from the cache. A missing or damaged cache is built first."""
        folder = self.folder / column.key
        if (stored := _read_if_intact(folder, column)) is not None:
            return stored
        with locked(folder):
            if (stored := _read_if_intact(folder, column)) is not None:  # built while we waited for the lock
                return stored
            if folder.exists():
                print(f"{folder}: damaged or written by another version; preparing it again")
                shutil.rmtree(folder, ignore_errors=True)
            with atomic_folder(folder) as building:
                self._build(building, column)
            return _read(folder, column)

    def _build(self, folder: Path, column: Decoded) -> None:
        from datasets import Dataset, Features, Value
        from datasets.utils.logging import disable_progress_bar, enable_progress_bar

        processes = min(self.workers, len(column) // ROWS_PER_PROCESS)
        if len(column) < ROWS_PER_PROCESS:
            disable_progress_bar()
        try:
            Dataset(pa.table({"row": np.arange(len(column), dtype=np.int64)})).map(
                _Encode(column),
                batched=True,
                batch_size=_rows_per_batch(column),
                writer_batch_size=_rows_per_batch(column),
                remove_columns=["row"],
                features=Features({"array": Value("large_binary"), "hash": Value("uint64")}),
                num_proc=processes if processes > 1 else None,
                cache_file_name=str(folder / "data.arrow"),
                new_fingerprint=column.key,
                load_from_cache_file=False,
                desc="prepare",
            )
        finally:
            enable_progress_bar()


def _read_if_intact(folder: Path, column: Decoded) -> Stored | None:
    """Read the cache in `folder`. Returns None if it is missing or damaged."""
    if not folder.exists():
        return None
    try:
        return _read(folder, column)
    except Exception:  # a damaged Arrow file raises almost any type
        return None


def _read(folder: Path, column: Decoded) -> Stored:
    # As `datasets` reads its own files, without importing it, which takes longer than the reading.
    parts = [pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for path in sorted(folder.glob("*.arrow"))]
    views = _Views(folder, pa.concat_tables(parts), column)
    if len(views) != len(column):
        raise ValueError(f"{len(views)} arrays, expected {len(column)}")
    return Stored(views, np.arange(len(views)), column.key)


def _seed(column: Decoded) -> int:
    """Return the seed of the hashes of a column's rows: its key, so that no row of another column passes."""
    return int(column.key, 16)


class _Encode:
    """Decodes rows to bytes and hashes them, in a worker process."""

    def __init__(self, column: Decoded) -> None:
        self.column, self.seed = column, _seed(column)

    def __call__(self, batch: dict[str, list[int]]) -> dict[str, list[bytes] | np.ndarray]:
        arrays = [np.ascontiguousarray(self.column.row(row)).tobytes() for row in batch["row"]]
        return {"array": arrays, "hash": np.array([xxh3_64_intdigest(array, self.seed) for array in arrays], np.uint64)}


def _rows_per_batch(column: Decoded, size: float = 32e6) -> int:
    if None in column.shape:
        return 1
    return max(1, min(1000, int(size / column.row_bytes)))
