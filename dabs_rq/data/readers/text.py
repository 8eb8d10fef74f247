"""Text: finds tables on disk or on the hub and makes columns of token ids from their rows, for every domain."""

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
from dabs_rq.data.readers import hub
from dabs_rq.data.readers.parquet import check_size
from dabs_rq.data.readers.tokenizer import Encode
from dabs_rq.data.requests import Request, missing_text
from dabs_rq.errors import DataError, MissingDataError, first_line
from dabs_rq.files import State, digest, digest_files, state
from dabs_rq.spec import Source, Tokens

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class TableLocation:
    """Where a table is stored: parquet files under the data root, or a split of a dataset on the hub."""

    files: tuple[Path, ...]
    hub: tuple[str, str, str] | None = None  # id, config, split

    def open(self, fields: Sequence[str]) -> datasets.Dataset:
        """Open the table, memory-mapped. Raises DataError if a file is damaged or lacks one of `fields`."""
        table = _open(self, tuple(map(state, self.files)))
        if missing := [name for name in fields if name not in table.column_names]:
            raise DataError(
                f"{self}: expected columns {', '.join(fields)}; {', '.join(missing)} missing, "
                f"found {', '.join(table.column_names)}"
            )
        return table

    def column(self, field: str) -> pa.ChunkedArray:
        """Return one column, still memory-mapped."""
        return values(self.open((field,)), field)

    def __str__(self) -> str:
        return ", ".join(map(str, self.files)) or f"the hub's {' '.join(self.hub or ())}"

    def row(self, number: int) -> str:
        """Describe where row `number` of the table is: `<file>, row <n>`, counted from 0 in that file."""
        from pyarrow import parquet

        for file in self.files:
            if number < (rows := parquet.read_metadata(file).num_rows):
                return f"{file}, row {number}"
            number -= rows
        return f"{self}, row {number}"


def find_table(
    request: Request, source: Source, config: str, split: str, hub_config: str | None = None
) -> TableLocation:
    """Find `<folder>/<config>/<split>.parquet` (or the parts `<split>-*.parquet`) under the data root, else on the hub.

    Raises MissingDataError if the table is in neither.
    """
    folder = request.root / source.folder / config
    whole = folder / f"{split}.parquet"
    files = [whole] if whole.exists() else _parts(folder, split)
    if files or source.hub is None or request.made_up:
        if not files:
            raise MissingDataError(missing_text(source, request.root, [whole]))
        return TableLocation(tuple(files))
    location = TableLocation((), (source.hub, hub_config or config, split))
    try:
        _open(location, ())
    except Exception as error:  # the hub's client raises errors of several libraries
        raise not_on_hub(request, source, [whole], hub_config or config, error) from error
    return location


def not_on_hub(
    request: Request, source: Source, missing: Sequence[Path], config: str, error: Exception
) -> MissingDataError:
    """Return the error for files that are not under the data root and that the hub failed to deliver (`error`)."""
    text = missing_text(source, request.root, missing)
    return MissingDataError(f"{text}\n  on the hub ({source.hub}, {config}): {first_line(error)}")


def _parts(folder: Path, split: str) -> list[Path]:
    """List `<split>-00000-of-00002.parquet` ..., in order. Raises MissingDataError if some of them are missing."""
    files = sorted(folder.glob(f"{split}-*.parquet"))
    for count in {matched[1] for file in files if (matched := re.search(r"-of-(\d+)\.parquet$", file.name))}:
        expected = [folder / f"{split}-{number:0{len(count)}d}-of-{count}.parquet" for number in range(int(count))]
        if files != expected:
            missing = ", ".join(str(file) for file in expected if file not in files) or "none"
            raise MissingDataError(
                f"{folder}: expected the {int(count)} parts of {split!r} and nothing else of it; "
                f"found {', '.join(file.name for file in files)}, missing {missing}"
            )
    return files


@lru_cache(maxsize=64)
def _open(location: TableLocation, states: tuple[State, ...]) -> datasets.Dataset:
    import datasets
    from datasets.data_files import DataFilesDict, DataFilesList
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar

    if location.hub is not None:
        hub.reach(" ".join(location.hub))
        return datasets.load_dataset(location.hub[0], location.hub[1], split=location.hub[2])
    for file in location.files:
        check_size(file)
    # Not a list of names: those are read as patterns, and `[a]` finds its neighbour `a`. The library's own cache of a
    # file is kept under its name and this state.
    files = DataFilesList([str(file.absolute()) for file in location.files], [tuple(map(str, each)) for each in states])
    disable_progress_bar()
    try:
        return datasets.Dataset.from_parquet(DataFilesDict({"train": files}), split="train")
    except Exception as error:  # a damaged file can raise any type
        raise DataError(
            f"{', '.join(map(str, location.files))}: damaged or not a parquet table ({error.__cause__ or error})"
        ) from error
    finally:
        enable_progress_bar()


def values(table: datasets.Dataset, field: str) -> pa.ChunkedArray:
    """Return one column of a table, still memory-mapped."""
    return table.data.table[field]


def tokens_input(request: Request) -> Tokens:
    """Return the first of the domain's inputs that takes text."""
    return next(spec for spec in request.inputs if isinstance(spec, Tokens))


def rows_with_text(location: TableLocation, fields: Sequence[str]) -> np.ndarray:
    """List the rows, in order, whose texts in all `fields` are not empty. Only lengths are read, not texts.

    Raises DataError if there is no such row, or if a row has a null value.
    """
    nonempty = []
    for field in fields:
        column = location.column(field)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise DataError(f"{location}: column {field} holds {column.type}; text expected")
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise DataError(f"{location.row(row)}: no value in column {field}; text expected")
        nonempty.append(pc.greater(pc.binary_length(column), 0).to_numpy())
    rows = np.flatnonzero(np.logical_and.reduce(nonempty))
    if not len(rows):
        raise DataError(f"{location}: no row has text in {', '.join(fields)}")
    return rows


def labels(location: TableLocation, highest: float, expected: str, *, real: bool = False) -> np.ndarray:
    """Read column "label" of all rows: (n,) int64, or float64 if they are `real` numbers.

    Raises DataError, with the text `expected`, at the first label outside [0, highest], such as the -1 of a split
    without labels.
    """
    column = location.column("label")
    if not (pa.types.is_floating if real else pa.types.is_integer)(column.type):
        raise DataError(f"{location}: column label holds {column.type}; {'real' if real else 'whole'} numbers expected")
    numbers = pc.cast(column, pa.float64(), safe=False)  # a whole number beyond 2**53 is far beyond any label
    legal = pc.and_(pc.greater_equal(numbers, 0.0), pc.less_equal(numbers, float(highest))).fill_null(False)
    if (row := pc.index(legal, False).as_py()) >= 0:
        raise DataError(f"{location.row(row)}: label {column[row].as_py()}; {expected}")
    return column.to_numpy().astype(np.float64 if real else np.int64)


def row_ids(split: str, rows: np.ndarray) -> pa.Array:
    """Make ids such as "train/17" for rows of a table, without a Python object per row."""
    return pc.binary_join_element_wise(split, pc.cast(pa.array(rows), pa.string()), "/")


def files_of(location: TableLocation, fields: Sequence[str]) -> tuple[Path, ...]:
    """List the files of a table; of one on the hub those of the library's cache."""
    return location.files or tuple(Path(part["filename"]) for part in location.open(fields).cache_files)


def relative(file: Path, root: Path) -> str:
    """Return the path of a file from `root`, or its whole path if it lies elsewhere, as the hub's cache does."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def repeated(path: str, count: int) -> pa.Array:
    """Make a column with one path in every row, which takes a byte each."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array([path]))


def from_table(location: TableLocation, fields: tuple[str, ...], rows: np.ndarray, spec: Tokens, root: Path) -> Decoded:
    """Make a column of token ids from `rows` of a table; `fields` name one text or a pair.

    Only the row numbers are held in memory.
    """
    paths = [relative(file, root) for file in files_of(location, fields)]
    encode = Encode(spec, root)
    return Decoded(
        items=pa.table({"path": repeated(paths[0], len(rows)), "row": np.asarray(rows, np.int64)}),
        decode=partial(_decode_row, location=location, fields=fields, encode=encode),
        root=root,
        shape=(spec.length,),
        dtype="int32",
        version=digest(encode.key, fields, digest_files(root, paths)),  # all files; column "path" has only the first
    )


def _decode_row(row: dict[str, Any], *, location: TableLocation, fields: tuple[str, ...], encode: Encode) -> np.ndarray:
    table, number = location.open(fields), row["row"]
    texts = tuple(values(table, field)[number].as_py() for field in fields)  # several times faster than table[number]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{location.row(number)}: {', '.join(fields)} are {texts}; text expected")
    return encode([texts])[0]


def from_items(items: pa.Table, fields: tuple[str, ...], spec: Tokens, root: Path) -> Decoded:
    """Make a column of token ids from texts in memory, the columns `fields` of `items`.

    items: has a column "path" too, the file of the texts, relative to `root` or absolute. root: the data root, which
    holds the tokenizer.
    """
    encode = Encode(spec, root)
    return Decoded(
        items=items,
        decode=partial(_decode_item, fields=fields, encode=encode),
        root=root,
        shape=(spec.length,),
        dtype="int32",
        version=digest(encode.key, fields),
    )


def _decode_item(row: dict[str, Any], *, fields: tuple[str, ...], encode: Encode) -> np.ndarray:
    return encode([tuple(row[field] for field in fields)])[0]
