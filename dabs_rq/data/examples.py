"""What a reader gives: the examples of one split, in a fixed order, with a column of arrays for every input.

A reader indexes files without decoding them. An example is decoded when a batch asks for it, unless its column was
prepared before (`dabs_rq.data.prepared`), in which case it is a slice of a memory-mapped file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq import protocol, spec
from dabs_rq.errors import DataError, DataWarning, MissingDataError
from dabs_rq.files import digest, digest_each, digest_files


class Column(Protocol):
    """Arrays of one shape and dtype, one per example. `key` identifies their content."""

    @property
    def key(self) -> str: ...

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The arrays of `rows`, stacked: (len(rows), *shape)."""

    def select(self, rows: np.ndarray) -> Column: ...


@dataclass(frozen=True)
class Decoded:
    """Arrays decoded one at a time from files.

    items: one row per array; the columns are what `decode` needs. Column "path" is the file, relative to `root`.
    decode: (row as dict) -> array of `shape` and `dtype`; picklable (a top-level function, or a partial of one).
        None in `shape` stands for a length that varies.
    version: names the decoder and its options; change it whenever the same file would give other arrays.
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
        paths = pc.array_take(unique := self.items["path"].unique(), pc.array_sort_indices(unique))
        files = digest_files(self.root, (path for part in _parts(paths) for path in part.to_pylist()))
        rows = [digest_each(part.to_pylist() for part in _parts(column)) for column in self.items.columns]
        return digest(self.version, self.shape, self.dtype, rows, files)

    @property
    def row_bytes(self) -> int:
        """Size of one array; lengths that vary count as one."""
        return int(np.prod([length or 1 for length in self.shape])) * np.dtype(self.dtype).itemsize

    def row(self, index: int) -> np.ndarray:
        """Array `index`, checked against the declared shape. Raises DataError naming the file if it is damaged."""
        row = self.items.slice(int(index), 1).to_pylist()[0]
        try:
            array = self.decode(row)
        except DataError:
            raise
        except Exception as error:  # a decoder raises whatever the damage makes of it
            path = self.root / row["path"]
            raise DataError(f"{path}: cannot be decoded ({type(error).__name__}: {error})") from error
        fits = len(array.shape) == len(self.shape) and all(
            expected in (None, found) for expected, found in zip(self.shape, array.shape, strict=True)
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
    """Examples whose arrays are rows of another column, which several examples may share, or of which one example has
    several to choose from.

    rows: (n, k) int, the rows of `column` that each example may take; k = 1 where there is nothing to choose.
    chosen: (n,) int in [0, k). Only the rows that are in use are decoded and prepared.
    """

    column: Column
    rows: np.ndarray
    chosen: np.ndarray

    @classmethod
    def of(cls, column: Column, rows: np.ndarray) -> Shared:
        """The first choice of each of `rows`, (n,) or (n, k)."""
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
        """Another choice for every example, by (seed, epoch)."""
        generator = np.random.default_rng([seed, epoch])
        return replace(self, chosen=generator.integers(self.rows.shape[1], size=len(self)))


@dataclass(frozen=True)
class Examples:
    """One split in its fixed order.

    ids: a string per example, unique in the split, the same on every machine (a path relative to the source's folder).
    inputs: one column per input of the domain, in the domain's order.
    targets: (n,) int classes or 0/1, (n, labels) 0/1, (n,) float; None for an unlabelled source.
    groups: (n,) int, what must not be torn apart (track, patient, chapter, subject); None where nothing must.
    redraw: (seed, epoch) -> the examples of that epoch, for a training split that is drawn anew in every epoch.
    """

    ids: Any
    inputs: tuple[Column, ...]
    targets: np.ndarray | None = None
    groups: np.ndarray | None = None
    redraw: Callable[[int, int], Examples] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.ids, pa.Array):
            object.__setattr__(self, "ids", pa.array(self.ids, pa.string()))
        lengths = {"inputs": [len(column) for column in self.inputs]}
        for name in ("targets", "groups"):
            if (values := getattr(self, name)) is not None:
                lengths[name] = [len(values)]
        wrong = {name: found for name, found in lengths.items() if any(n != len(self.ids) for n in found)}
        if wrong:
            raise ValueError(f"{len(self.ids)} ids, but {wrong}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> Examples:
        """Only `rows` (int indices), in that order."""
        return Examples(
            ids=self.ids.take(pa.array(rows)),
            inputs=tuple(column.select(rows) for column in self.inputs),
            targets=None if self.targets is None else self.targets[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def sample(self, limit: int | None, seed: int = 0) -> Examples:
        """At most `limit` examples, drawn by `seed` and kept in order; nothing is decoded."""
        if limit is None or len(self) <= limit:
            return self
        rows = np.random.default_rng(seed).choice(len(self), size=limit, replace=False)
        sampled = self.select(np.sort(rows))
        if (redraw := self.redraw) is None:
            return sampled
        return replace(sampled, redraw=lambda run_seed, epoch: redraw(run_seed, epoch).sample(limit, seed))

    def prepared(self, prepare: Callable[[Column], Column]) -> Examples:
        return replace(self, inputs=tuple(prepare(column) for column in self.inputs))

    def of_epoch(self, seed: int, epoch: int) -> Examples:
        """The examples of an epoch: drawn anew where the split is, else always the same."""
        if self.redraw is not None:
            return self.redraw(seed, epoch)
        if not any(isinstance(column, Shared) and column.varies for column in self.inputs):
            return self
        drawn = (column.redrawn(seed, epoch) if isinstance(column, Shared) else column for column in self.inputs)
        return replace(self, inputs=tuple(drawn))

    @cached_property
    def key(self) -> str:
        """Identity of the split: ids, targets and the content of every input."""
        targets = b"" if self.targets is None else np.ascontiguousarray(self.targets).tobytes()
        return digest(self.ids_key, targets, [column.key for column in self.inputs])

    @cached_property
    def labels_key(self) -> str:
        """Identity of ids and targets, in their order: the same on every machine that has the same split."""
        targets = b"" if self.targets is None else np.ascontiguousarray(self.targets, np.float64).tobytes()
        return digest(self.ids_key, targets)

    @cached_property
    def ids_key(self) -> str:
        return digest_each(part.to_pylist() for part in _parts(self.ids))

    @property
    def inputs_key(self) -> str:
        """Identity of what an encoder sees, whatever the targets: tasks that share inputs share features by it."""
        return digest(self.ids_key, [column.key for column in self.inputs])


def _parts(values: pa.Array | pa.ChunkedArray, size: int = 65536) -> Iterator[pa.Array | pa.ChunkedArray]:
    """Pieces of `values` small enough to become Python objects."""
    return (values.slice(start, size) for start in range(0, len(values), size))


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a reader is asked for.

    root: the data root. split: "train", "test" or another that the task declares.
    inputs: the domain's inputs at this scale. prepare: keeps decoded arrays (for a reader that must look into them to
    make its index). strict: a count that differs from the declared one is an error instead of a warning.
    """

    root: Path
    split: str
    inputs: tuple[spec.Input, ...]
    protocol: protocol.Protocol
    prepare: Callable[[Column], Column]
    strict: bool = False
    made_up: bool = field(default=False)

    def folder(self, source: spec.Source) -> Path:
        """The source's folder, if all it needs is there; else an error that tells how to get it."""
        if missing := source.missing(self.root):
            raise MissingDataError(missing_text(source, self.root, missing))
        return self.root / source.folder

    def expect(self, what: str, declared: int, found: int) -> None:
        """Compare a count of the real data with the declared one."""
        if self.made_up or declared == found:
            return
        text = f"{what}: {declared:,} are declared, {found:,} were found under {self.root}"
        if self.strict:
            raise DataError(f"{text}. Fetch the source again, or leave strict=false to go on with what is there.")
        warnings.warn(text, DataWarning, stacklevel=2)


def missing_text(source: spec.Source, root: Path, missing: Sequence[Path]) -> str:
    shown = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    registration = source.registration or "none needed"
    return (
        f"{source.title} is not under {root}: missing {shown}.\n"
        f"  expected layout below {root / source.folder}:\n"
        + "".join(f"    {line}\n" for line in source.layout.strip().splitlines())
        + f"  source: {source.url}\n  registration: {registration}"
    )
