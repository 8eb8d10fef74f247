"""Reads a task or a source to pretrain on from Parquet files, a row per example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.rows import Columns, Rows, load
from dabs_rq.data.readers.text import TableLocation
from dabs_rq.data.requests import Request
from dabs_rq.errors import DataError
from dabs_rq.spec import Source

Files = str | Sequence[str]


def parquet_rows(source: Source, files: Files | Mapping[str, Files], columns: Columns) -> Callable[[Request], Examples]:
    """Make the `load` of a `Task` or a `Pretraining` whose examples are rows of Parquet files.

    files: split -> its file or files in order, relative to the source's folder, or those for all splits, which
    `columns` divides. columns: which columns hold inputs and target; pictures and recordings are paths or bytes, and
    `Numbers` may be lists.
    `load` raises DataError with file and row: see `dabs_rq.data.readers.rows.examples`.
    """
    return partial(_load, source=source, files=files, columns=columns)


def _load(request: Request, *, source: Source, files: Files | Mapping[str, Files], columns: Columns) -> Examples:
    return load(request, files, partial(_rows, folder=request.folder(source), columns=columns), columns)


def _rows(names: Files, *, folder: Path, columns: Columns) -> Rows:
    listed = (names,) if isinstance(names, str) else tuple(names)
    return rows_at(TableLocation(tuple(folder / name for name in listed)), folder, columns)


def rows_at(location: TableLocation, folder: Path, columns: Columns) -> Rows:
    """Open the rows of a table; its cells are read when they are needed."""
    table = location.open(columns.names).data.table.select(columns.names)
    if table.num_rows == 0:
        raise DataError(f"{location}: it has no row")
    return Rows(table, folder, location.files, location.row, location)
