"""Reads a task or a source to pretrain on from a dataset of the Hugging Face hub, a row per example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.parquet_rows import rows_at
from dabs_rq.data.readers.rows import Columns, Rows, load
from dabs_rq.data.readers.text import find_table
from dabs_rq.data.requests import Request
from dabs_rq.errors import OptionError
from dabs_rq.spec import Source


def hub_dataset(
    source: Source, config: str, splits: str | Mapping[str, str], columns: Columns
) -> Callable[[Request], Examples]:
    """Make the `load` of a `Task` or a `Pretraining` whose examples are rows of a dataset on the hub.

    source: declares the dataset's id as `hub`. config: the dataset's configuration, "default" if it has one only.
    splits: our split -> the dataset's ({"train": "train", "test": "validation"}), or one split of the dataset, which
    `columns` divides. columns: which columns hold inputs and target. Pictures and recordings are read from the bytes in
    the cells. Numbers of classes count as names of classes: classes=("0", "1", ...).
    A table that lies in the source's folder as `<config>/<split>.parquet` (or in parts, as the hub names them) is read
    from there, and the hub is not asked.
    `load` raises MissingDataError if the table is in neither place, and DataError with the row.
    """
    if source.hub is None:
        raise OptionError(f"source {source.name!r} must say which dataset of the hub it is: own_source(..., hub=)")
    return partial(_load, source=source, config=config, splits=splits, columns=columns)


def _load(
    request: Request, *, source: Source, config: str, splits: str | Mapping[str, str], columns: Columns
) -> Examples:
    def opened(split: str) -> Rows:
        return rows_at(find_table(request, source, config, split), request.root / source.folder, columns)

    return load(request, splits, opened, columns)
