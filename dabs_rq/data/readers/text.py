"""Text: tables on disk or on the hub, and columns of token ids of their rows, the one path for every domain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.columns import Decoded
from dabs_rq.data.readers.tokenizer import Encode
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.errors import DataError, MissingDataError, first_line
from dabs_rq.files import digest, digest_files
from dabs_rq.spec import Source, Tokens

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Place:
    """Where a table is: parquet files below the data root, or a split of a dataset on the hub."""

    files: tuple[Path, ...]
    hub: tuple[str, str, str] | None = None  # id, config, split

    def open(self, fields: Sequence[str]) -> datasets.Dataset:
        """The table, memory-mapped. Raises DataError if a file is damaged or lacks one of `fields`."""
        found = _open(self, tuple(file.stat().st_mtime_ns for file in self.files))
        if missing := [name for name in fields if name not in found.column_names]:
            raise DataError(
                f"{self}: expected columns {', '.join(fields)}; {', '.join(missing)} missing, "
                f"found {', '.join(found.column_names)}"
            )
        return found

    def column(self, field: str) -> pa.ChunkedArray:
        """One column, still memory-mapped."""
        return values(self.open((field,)), field)

    def __str__(self) -> str:
        return ", ".join(map(str, self.files)) or f"the hub's {' '.join(self.hub or ())}"

    def row(self, number: int) -> str:
        """The file that holds row `number` of the table, and which of its rows, counted from 0, it is."""
        from pyarrow import parquet

        for file in self.files:
            if number < (rows := parquet.read_metadata(file).num_rows):
                return f"{file}, row {number}"
            number -= rows
        return f"{self}, row {number}"


def find(request: Request, source: Source, config: str, split: str, hub_config: str | None = None) -> Place:
    """The table `<folder>/<config>/<split>.parquet` (or the hub's `<split>-*.parquet`) of a source, else on the hub.

    Raises MissingDataError if it is at neither place.
    """
    folder = request.root / source.folder / config
    whole = folder / f"{split}.parquet"
    files = [whole] if whole.exists() else _parts(folder, split)
    if files or source.hub is None or request.made_up:
        if not files:
            raise MissingDataError(missing_text(source, request.root, [whole]))
        return Place(tuple(files))
    place = Place((), (source.hub, hub_config or config, split))
    try:
        _open(place, ())
    except Exception as error:  # the hub's client lets errors of several libraries through
        raise not_on_hub(request, source, [whole], hub_config or config, error) from error
    return place


def not_on_hub(
    request: Request, source: Source, missing: Sequence[Path], config: str, error: Exception
) -> MissingDataError:
    """The error for files that are not under the data root and cannot be had from the hub, for the reason `error`."""
    text = missing_text(source, request.root, missing)
    return MissingDataError(f"{text}\n  on the hub ({source.hub}, {config}): {first_line(error)}")


def _parts(folder: Path, split: str) -> list[Path]:
    """`<split>-00000-of-00002.parquet` ..., in order. Raises MissingDataError if some of them are missing."""
    files = sorted(folder.glob(f"{split}-*.parquet"))
    for count in {matched[1] for file in files if (matched := re.search(r"-of-(\d+)\.parquet$", file.name))}:
        wanted = [folder / f"{split}-{number:0{len(count)}d}-of-{count}.parquet" for number in range(int(count))]
        if files != wanted:
            missing = ", ".join(str(file) for file in wanted if file not in files) or "none"
            raise MissingDataError(
                f"{folder}: expected the {int(count)} parts of {split!r} and nothing else of it; "
                f"found {', '.join(file.name for file in files)}, missing {missing}"
            )
    return files


@lru_cache(maxsize=64)
def _open(place: Place, changed: tuple[int, ...]) -> datasets.Dataset:
    import datasets
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar

    if place.hub is not None:
        return datasets.load_dataset(place.hub[0], place.hub[1], split=place.hub[2])
    disable_progress_bar()
    try:
        return datasets.Dataset.from_parquet([str(file) for file in place.files])
    except (datasets.exceptions.DatasetGenerationError, pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{', '.join(map(str, place.files))}: damaged or no parquet table ({error.__cause__ or error})"
        ) from error
    finally:
        enable_progress_bar()


def values(table: datasets.Dataset, field: str) -> pa.ChunkedArray:
    """One column of a table, still memory-mapped."""
    return table.data.table[field]


def tokens(request: Request) -> Tokens:
    """The first of the domain's inputs that takes text."""
    return next(spec for spec in request.inputs if isinstance(spec, Tokens))


def rows_with_text(place: Place, fields: Sequence[str]) -> np.ndarray:
    """The rows, in order, that are empty in none of `fields`. Only lengths are looked at, so no text is read.

    Raises DataError if there is no such row, or a row without value.
    """
    kept = []
    for field in fields:
        column = place.column(field)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise DataError(f"{place}: column {field} holds {column.type}; text expected")
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise DataError(f"{place.row(row)}: no value in column {field}; text expected")
        kept.append(pc.greater(pc.binary_length(column), 0).to_numpy())
    rows = np.flatnonzero(np.logical_and.reduce(kept))
    if not len(rows):
        raise DataError(f"{place}: no row with text in {', '.join(fields)}")
    return rows


def labels(place: Place, highest: float, expected: str, *, real: bool = False) -> np.ndarray:
    """Column "label" of all rows, (n,) int64, or float64 where they are `real` numbers.

    Raises DataError, saying what is `expected`, at the first that is not from 0 to `highest`, such as the -1 of a split
    without labels.
    """
    column = place.column("label")
    if not (pa.types.is_floating if real else pa.types.is_integer)(column.type):
        raise DataError(f"{place}: column label holds {column.type}; {'real' if real else 'whole'} numbers expected")
    legal = pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, highest)).fill_null(False)
    if (row := pc.index(legal, False).as_py()) >= 0:
        raise DataError(f"{place.row(row)}: label {column[row].as_py()}; {expected}")
    return column.to_numpy().astype(np.float64 if real else np.int64)


def row_ids(split: str, rows: np.ndarray) -> pa.Array:
    """Ids such as "train/17" of rows of a table, made without a Python object per row."""
    return pc.binary_join_element_wise(split, pc.cast(pa.array(rows), pa.string()), "/")


def from_table(place: Place, fields: tuple[str, ...], rows: np.ndarray, spec: Tokens, root: Path) -> Decoded:
    """Ids of `rows` of a table: one text or a pair, by `fields`. Nothing but the row numbers is held in memory."""
    files = place.files or tuple(Path(part["filename"]) for part in place.open(fields).cache_files)
    named = [file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file) for file in files]
    encode = Encode(spec, root)
    paths = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int8)), pa.array(named[:1]))
    return Decoded(
        items=pa.table({"path": paths, "row": np.asarray(rows, np.int64)}),
        decode=partial(_decode_row, place=place, fields=fields, encode=encode),
        root=root,
        shape=(spec.length,),
        dtype="int32",
        version=digest(encode.key, fields, digest_files(root, named)),  # all files, "path" has the first
    )


def _decode_row(row: dict[str, Any], *, place: Place, fields: tuple[str, ...], encode: Encode) -> np.ndarray:
    table, number = place.open(fields), row["row"]
    texts = tuple(values(table, field)[number].as_py() for field in fields)  # several times faster than table[number]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{place.row(number)}: {', '.join(fields)} are {texts}; text expected")
    return encode([texts])[0]


def given(items: pa.Table, fields: tuple[str, ...], spec: Tokens, root: Path) -> Decoded:
    """Ids of texts that are in `items` themselves, in columns `fields`; "path" is the file they were read from,
    relative to the data root `root`, where the tokenizer is too, or absolute."""
    encode = Encode(spec, root)
    return Decoded(
        items=items,
        decode=partial(_decode_given, fields=fields, encode=encode),
        root=root,
        shape=(spec.length,),
        dtype="int32",
        version=digest(encode.key, fields),
    )


def _decode_given(row: dict[str, Any], *, fields: tuple[str, ...], encode: Encode) -> np.ndarray:
    return encode([tuple(row[field] for field in fields)])[0]
