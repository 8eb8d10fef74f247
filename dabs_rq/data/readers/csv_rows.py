"""Reads a task or a source to pretrain on from csv files with a header line, a row per example."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.index import csv_table
from dabs_rq.data.readers.rows import Columns, Rows, load
from dabs_rq.data.requests import Request
from dabs_rq.errors import DataError, OptionError
from dabs_rq.spec import Source


def csv_rows(
    source: Source, files: str | Mapping[str, str], columns: Columns, delimiter: str = ","
) -> Callable[[Request], Examples]:
    """Make the `load` of a `Task` or a `Pretraining` whose examples are rows of csv files.

    files: split -> its file, relative to the source's folder ({"train": "train.csv", "test": "test.csv"}), or one file
    for all splits, which `columns` divides. columns: which columns hold inputs and target. delimiter: between cells,
    such as "\\t".
    `load` raises DataError with file and line: see `dabs_rq.data.readers.rows.examples`.
    """
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise OptionError(f"delimiter= is one character between cells, such as ','; got {delimiter!r}")
    return partial(_load, source=source, files=files, columns=columns, delimiter=delimiter)


def _load(
    request: Request, *, source: Source, files: str | Mapping[str, str], columns: Columns, delimiter: str
) -> Examples:
    opened = partial(_rows, folder=request.folder(source), columns=columns, delimiter=delimiter)
    return load(request, files, opened, columns)


def _rows(name: str, *, folder: Path, columns: Columns, delimiter: str) -> Rows:
    file = folder / name
    table = csv_table(file, columns.names, delimiter, several_lines=True)
    if table.num_rows == 0:
        raise DataError(f"{file}: it has no row below the header")
    return Rows(table, folder, (file,), partial(_where, file, delimiter))


def _where(file: Path, delimiter: str, row: int) -> str:
    """Return "file:line" of a row, counted from 0. Quoted cells may hold line breaks; empty lines are no rows."""
    # Arrow does not decode columns that nobody reads, so these may hold any bytes.
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        reader, first, number = csv.reader(opened, delimiter=delimiter), 1, -2
        with contextlib.suppress(csv.Error):  # a cell longer than the module reads
            for cells in reader:
                number += bool(cells)
                if number == row:
                    return f"{file}:{first}"
                first = reader.line_num + 1
    return f"{file}, row {row}"
