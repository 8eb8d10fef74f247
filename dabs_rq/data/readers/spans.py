"""Columns whose arrays are decoded from parts of one large text file, which is never read as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dabs_rq.files import digest, digest_files, reading


@dataclass(frozen=True)
class Spans:
    """Arrays decoded from spans of bytes of one file.

    path: the file, relative to `root`. spans: (n, 2) int64, the first byte of each and the number of bytes. places:
    (n,) int64, the number of its line or record, for errors. decode: (bytes, number) -> array of `shape` and `dtype`,
    picklable. version: names the decoder and its options; change it whenever the same bytes would decode to other
    arrays.
    """

    root: Path
    path: str
    spans: np.ndarray
    places: np.ndarray
    decode: Callable[[bytes, int], np.ndarray]
    shape: tuple[int, ...]
    dtype: str
    version: str

    def __len__(self) -> int:
        return len(self.spans)

    @cached_property
    def key(self) -> str:
        file = digest_files(self.root, [self.path])
        spans = np.ascontiguousarray(self.spans, np.int64).tobytes()
        return digest(self.version, self.shape, self.dtype, file, spans)

    def take(self, rows: np.ndarray) -> np.ndarray:
        arrays = np.empty((len(rows), *self.shape), self.dtype)
        file = self.root / self.path
        with reading(file, "cannot be read"), file.open("rb") as opened:
            for place, row in enumerate(rows):
                start, size = self.spans[row].tolist()
                opened.seek(start)
                arrays[place] = self.decode(opened.read(size), int(self.places[row]))
        return arrays

    def select(self, rows: np.ndarray) -> Spans:
        return replace(self, spans=self.spans[rows], places=self.places[rows])
