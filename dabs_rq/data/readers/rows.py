"""Rows of a table as examples: which columns hold inputs, target, ids and groups, and what divides the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa

from dabs_rq.data.columns import Column
from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import labels
from dabs_rq.data.readers.division import divide
from dabs_rq.data.readers.text import TableLocation
from dabs_rq.data.requests import Request
from dabs_rq.errors import DataError, OptionError, unknown
from dabs_rq.spec import Input, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    """A table whose rows are examples.

    table: its columns. folder: that of the source, to which paths in cells are relative. files: the table's files.
    where: row number -> the file and line, for errors. location: where the table lies if it is Parquet.
    """

    table: pa.Table
    folder: Path
    files: tuple[Path, ...]
    where: Callable[[int], str]
    location: TableLocation | None = None

    def texts(self, column: str, chosen: np.ndarray) -> list[str]:
        """Return the cells of a column as texts without spaces at their ends: "" for no value, "3" for 3 and 3.0."""
        cells = self.table[column].take(pa.array(chosen))
        if pa.types.is_nested(cells.type) or holds_bytes(cells.type):
            raise DataError(f"{self.where(0)}: column {column} holds {cells.type}; text or a number expected")
        return [_text(cell) for cell in cells.to_pylist()]


def holds_bytes(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def holds_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds texts."""
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(values) or pa.types.is_large_string(values))


def _text(cell: object) -> str:
    if cell is None or cell != cell:  # NaN, which some programs write for no value
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


class Cells(Protocol):
    """How the cells of a row become an input: see `dabs_rq.data.readers.cells`."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def column(self, rows: Rows, chosen: np.ndarray, spec: Input, request: Request) -> Column:
        """Make the column of an input from the rows `chosen`. Raises DataError, with file and line."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    inputs: name of an input of the domain -> its cells; all inputs of the domain are named. target: the task's; None
    for a source to pretrain on. label: the column of the target; for a Multilabel target by default one column per
    label, named as the label, with 0 or 1. classes: the names in the column, in the order of the classes; by default
    those that occur, sorted, as numbers if all are. For Binary: (no, yes). separator: between the labels of one column,
    for a Multilabel target. ids: a column of unique names; by default the paths of pictures or recordings, else row
    numbers. group: a column; rows of one group (a patient, a speaker) stay together when a split is divided. split: a
    column that names the split of each row. test_share: the part of the examples that is held out for "test" (or
    "validation") where neither files nor a column divide them; which ones follows from their ids alone, by `seed`,
    equally from all classes, and of groups whole ones.
    """

    inputs: Mapping[str, Cells]
    target: Target | None = None
    label: str | None = None
    classes: Sequence[str] = ()
    separator: str = "|"
    ids: str | None = None
    group: str | None = None
    split: str | None = None
    test_share: float = 0.2
    seed: int = 0
    labelled_by: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise OptionError("inputs must name at least one input of the domain")
        if not 0 < self.test_share < 1:
            raise OptionError(f"test_share is a part between 0 and 1; got {self.test_share}")
        if not self.separator:
            raise OptionError(f"separator= is the text between labels, such as '|'; got {self.separator!r}")
        object.__setattr__(self, "labelled_by", labels.columns(self.target, self.label))
        labels.check_declared(self.target, self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are read, each once."""
        named = [*self.labelled_by, self.ids, self.group, self.split]
        cells = [column for each in self.inputs.values() for column in each.columns]
        return tuple(dict.fromkeys([*cells, *(name for name in named if name is not None)]))


Part = tuple[Rows, np.ndarray]  # a table, and the numbers of its rows that belong to a split


def load(request: Request, given: T | Mapping[str, T], opened: Callable[[T], Rows], columns: Columns) -> Examples:
    """Make the examples of a split from what a declaration names: split -> a table, or one table for all splits.

    opened: opens what is named. Raises DataError as `examples` does.
    """
    if isinstance(given, Mapping):
        return examples(request, {split: opened(one) for split, one in given.items()}, columns)
    return examples(request, opened(given), columns)


def examples(request: Request, tables: Mapping[str, Rows] | Rows, columns: Columns) -> Examples:
    """Make the examples of a split. tables: one per split, or one that `columns` divides.

    Raises DataError, with file and line: a split that nobody declares, a label that is unknown, not a number or only
    outside "train", a class without training examples, an id that repeats, an id or a group in two splits, and what the
    inputs refuse.
    """
    check_inputs(request, columns)
    parts = _divided(tables, columns)
    wanted = request.split
    if isinstance(tables, Rows) and columns.split is None and wanted != "train":
        wanted = "test"  # the held-out part, which pretraining calls "validation"
    if wanted not in parts:
        raise DataError(f"{_place(tables)}: no split {request.split!r}; there are {', '.join(sorted(parts))}")
    rows, chosen = parts[wanted]
    if not len(chosen):
        advice = "Give more examples, or say which they are, by files or with split="
        raise DataError(f"{_place(tables)}: split {request.split!r} has no example. {advice}")
    for what, name in (("id", _id_column(rows, columns)), ("group", columns.group)):
        if name is not None:
            _check_apart(parts, what, name)
    return Examples(
        ids=_ids(rows, chosen, columns, wanted),
        inputs=tuple(columns.inputs[spec.name].column(rows, chosen, spec, request) for spec in request.inputs),
        targets=_targets(parts, wanted, columns),
        groups=None if columns.group is None else np.unique(rows.texts(columns.group, chosen), return_inverse=True)[1],
    )


def check_inputs(request: Request, columns: Columns) -> None:
    """Raise OptionError unless the declaration names the inputs of the domain, all of them and no other."""
    names = [spec.name for spec in request.inputs]
    for name in columns.inputs:
        if name not in names:
            raise OptionError(unknown("input", name, names))
    if missing := [name for name in names if name not in columns.inputs]:
        raise OptionError(f"inputs says nothing of {', '.join(missing)}; the domain's inputs are {', '.join(names)}")


def _place(tables: Mapping[str, Rows] | Rows) -> str:
    every = [tables] if isinstance(tables, Rows) else list(tables.values())
    return ", ".join(dict.fromkeys(str(file) for rows in every for file in rows.files))


def _divided(tables: Mapping[str, Rows] | Rows, columns: Columns) -> dict[str, Part]:
    if not isinstance(tables, Rows):
        return {split: (rows, np.arange(rows.table.num_rows)) for split, rows in tables.items()}
    every = np.arange(tables.table.num_rows)
    if columns.split is not None:
        named = tables.texts(columns.split, every)
        if "" in named:
            raise DataError(f"{tables.where(named.index(''))}: no split in column {columns.split}")
        of_rows = np.array(named, object)
        return {split: (tables, np.flatnonzero(of_rows == split)) for split in dict.fromkeys(named)}
    ids = _ids(tables, every, columns, "row")
    groups = None if columns.group is None else tables.texts(columns.group, every)
    strata = labels.strata(columns.target, [tables.texts(name, every) for name in columns.labelled_by], len(every))
    held_out = divide(ids, strata, groups, columns.test_share, columns.seed)
    return {"train": (tables, np.flatnonzero(~held_out)), "test": (tables, np.flatnonzero(held_out))}


def _id_column(rows: Rows, columns: Columns) -> str | None:
    """Return the column of unique names: the declared one, else that of the paths of pictures or recordings."""
    files = [each.columns[0] for each in columns.inputs.values() if getattr(each, "holds_paths", False)]
    return columns.ids or next((name for name in files if holds_text(rows.table[name].type)), None)


def _ids(rows: Rows, chosen: np.ndarray, columns: Columns, split: str) -> list[str]:
    named = _id_column(rows, columns)
    if named is None:
        return [f"{split}/{row}" for row in chosen]
    ids = rows.texts(named, chosen)
    first: dict[str, int] = {}
    for row, each in zip(chosen, ids, strict=True):
        if not each:
            raise DataError(f"{rows.where(row)}: no value in column {named}")
        if each in first:
            raise DataError(
                f"{rows.where(row)}: {each} in column {named} is listed already: {rows.where(first[each])}. If it may "
                "repeat, name a column of unique names with ids="
            )
        first[each] = row
    return ids


def _targets(parts: Mapping[str, Part], wanted: str, columns: Columns) -> np.ndarray | None:
    if columns.target is None:
        return None
    cells = {
        split: labels.Labels([rows.texts(name, chosen) for name in columns.labelled_by], _where(rows, chosen))
        for split, (rows, chosen) in parts.items()
        if split in ("train", wanted)
    }
    return labels.targets(cells, wanted, columns.target, columns.labelled_by, columns.classes, columns.separator)


def _where(rows: Rows, chosen: np.ndarray) -> Callable[[int], str]:
    return lambda number: rows.where(int(chosen[number]))


def _check_apart(parts: Mapping[str, Part], what: str, name: str) -> None:
    """Raise DataError if a value of column `name`, an id or a group, is in two splits, or missing."""
    owner: dict[str, str] = {}
    for split, (rows, chosen) in parts.items():
        for number, value in enumerate(rows.texts(name, chosen)):
            if value and owner.setdefault(value, split) == split:
                continue
            where = rows.where(int(chosen[number]))
            if not value:
                raise DataError(f"{where}: no value in column {name}")
            raise DataError(
                f"{where}: {what} {value!r} of column {name} is in split {split!r} and in {owner[value]!r}; expected "
                "each in one"
            )
