"""Reads TAPE's proteins: a JSON list of records, whose `primary` is a sequence of residues, a letter each.

TAPE also has LMDB files. They hold pickles, which run code when they are read, so they are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.readers import json_records
from dabs_rq.data.readers.spans import Spans
from dabs_rq.errors import DataError, shown
from dabs_rq.spec import Archive, Input, Source, Tokens

FOLDER = "proteins"
RESIDUES = b"XARNDCQEGHILKMFPSTWYVUOBZJ"  # ids 0 to 25; X is an unknown one
UNKNOWN = 0
_PRIMARY = re.compile(r'"primary"\s*:\s*"([^"\\]*)"')
_IDS = np.full(256, 255, np.uint8)
_IDS[list(RESIDUES)] = range(len(RESIDUES))


class Protein(NamedTuple):
    """where: the file and the record. span: the first byte of its residues in the file, and how many there are."""

    where: str
    span: tuple[int, int]
    record: dict[str, Any]

    @property
    def length(self) -> int:
        return self.span[1]

    def field(self, name: str) -> Any:
        """Return a field of the record. Raises DataError if it has none of that name."""
        if name not in self.record:
            raise DataError(f"{self.where}: expected a field {name!r}, found {', '.join(self.record) or 'none'}")
        return self.record[name]


def proteins(file: Path) -> Iterator[Protein]:
    """Yield the proteins of a file in order. Raises DataError with the record, counted from 0, if it is damaged."""
    for number, start, text, record in json_records.read(file):
        where = place(file, number)
        residues, found = record.get("primary"), _PRIMARY.search(text)
        if not isinstance(residues, str) or not residues:
            raise DataError(f"{where}: expected residues in `primary`, found {shown(residues)}")
        if found is None or found[1] != residues:
            raise DataError(f"{where}: expected letters in `primary`, found {shown(residues)}")
        yield Protein(where, (start + found.start(1), len(residues)), record)


def place(file: Path, number: int) -> str:
    return f"{file}, record {number}"


def ids(path: str, rows: np.ndarray) -> pa.Array:
    """Return the ids of the records at `rows` of a file: its name and the number."""
    return pc.binary_join_element_wise(pa.scalar(Path(path).stem), pa.array(rows).cast(pa.string()), "/")


def column(root: Path, path: str, spans: np.ndarray, rows: np.ndarray, spec: Input) -> Spans:
    """Return the column of residue ids of the records at `rows`, cut to the input's length and filled with padding.

    path: the file, relative to `root`. spans: (n, 2) of its records.
    """
    assert isinstance(spec, Tokens)
    pad = UNKNOWN if spec.pad is None else spec.pad
    spans = np.stack([spans[rows, 0], np.minimum(spans[rows, 1], spec.length)], axis=1)
    decode = partial(_decode, file=root / path, length=spec.length, pad=pad)
    return Spans(root, path, spans, rows, decode, spec.shape, "int32", f"residues-1:{pad}")


def _decode(raw: bytes, number: int, *, file: Path, length: int, pad: int) -> np.ndarray:
    found = _IDS[np.frombuffer(raw, np.uint8)]
    if (found == 255).any():
        others = sorted({chr(letter) for letter in raw if letter not in RESIDUES})
        raise DataError(
            f"{place(file, number)}: expected residues, the letters {RESIDUES.decode()}, found "
            f"{' '.join(map(repr, others))}"
        )
    padded = np.full(length, pad, np.int32)
    padded[: len(found)] = found
    return padded


def source(folder: str, title: str, files: str, *, size: str, licence: str, citation: str, further: str = "") -> Source:
    """Declare a source of TAPE. folder: its name in TAPE. files: what its records hold. further: files that need not be
    there."""
    return Source(
        name=f"tape_{folder}",
        title=f"TAPE {title}",
        url="https://github.com/songlab-cal/tape",
        folder=FOLDER,
        layout=f"{folder}/{folder}_train.json, {folder}_valid.json      a JSON list of records with {files}{further}",
        needs=tuple(f"{folder}/{folder}_{split}.json" for split in ("train", "valid")),
        licence=licence,
        size=size,
        citation=f"{citation}; Rao et al. 2019, Evaluating Protein Transfer Learning with TAPE, NeurIPS, "
        "arXiv:1906.08230",
        archives=(Archive(f"https://s3.amazonaws.com/songlabdata/proteindata/data_raw_pytorch/{folder}.tar.gz"),),
    )
