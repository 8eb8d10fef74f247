"""Reads index files: lines, csv tables, class numbers, DABS's seeded split. Errors name file and line."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.errors import DataError, shown
from dabs_rq.files import reading
from dabs_rq.spec import Multiclass

T = TypeVar("T")


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield (where, text) of every line that is not blank; `where` is "file:line"."""
    with reading(file, "not UTF-8 text"):
        text = file.read_text(encoding="utf-8")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{file}:{number}", line.strip()


def keyed(file: Path) -> dict[str, tuple[str, str]]:
    """Read lines "key rest" as key -> (rest, where). Raises DataError for another line and for a repeated key."""
    entries: dict[str, tuple[str, str]] = {}
    for where, text in lines(file):
        key, *rest = text.split(maxsplit=1)
        if not rest:
            raise DataError(f"{where}: expected two parts with a space between, found {text!r}")
        if key in entries:
            raise DataError(f"{where}: {key} is listed already: {entries[key][1]}")
        entries[key] = (rest[0], where)
    return entries


def entry(table: dict[str, tuple[str, str]], key: str, file: Path, where: str) -> tuple[str, str]:
    """Return the entry of `key` in `table`, which `keyed` read from `file`. where: the line that refers to it."""
    if key not in table:
        raise DataError(f"{where}: {key} has no line in {file}")
    return table[key]


def class_number(value: object, target: Multiclass, where: str, first: int = 0) -> int:
    """Convert the label `value`, counted from `first`, to a class in [0, classes): a whole number or its text."""
    last = first + target.classes - 1
    number = first - 1
    if isinstance(value, int | np.integer | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            number = int(value)
    if not first <= number <= last:
        raise DataError(f"{where}: label {shown(value)} is not a whole number from {first} to {last}")
    return number - first


def first_duplicate(values: pa.Array) -> tuple[int, int] | None:
    """Find the first row that repeats an earlier value: (that row, the earlier row). None if all values differ."""
    first = pc.index_in(values, values).to_numpy()
    duplicates = np.flatnonzero(first != np.arange(len(values)))
    return (int(duplicates[0]), int(first[duplicates[0]])) if len(duplicates) else None


def split_80_20(classes: Iterable[Sequence[T]], split: str) -> list[T]:
    """Split as DABS does: one RandomState(42) shuffles every class; int(0.8 n) are "train", the rest "test"."""
    state = np.random.RandomState(42)
    chosen: list[T] = []
    for members in classes:
        order = state.permutation(len(members))
        cut = int(0.8 * len(members))
        chosen += [members[i] for i in (order[:cut] if split == "train" else order[cut:])]
    return chosen


def shuffled(count: int) -> np.ndarray:
    """Return the order of `count` rows in which DABS 2.0 shuffles them, that of pandas' sample(random_state=42)."""
    return np.random.RandomState(42).permutation(count)


def split_90_10(count: int, split: str) -> np.ndarray:
    """Split `count` rows as DABS 2.0 does, `shuffled`, and return those of a split in its order."""
    return cut_90_10(shuffled(count), split)


def cut_90_10(rows: np.ndarray, split: str) -> np.ndarray:
    """Cut `rows`, in their order: the first ceil(0.9 n) are "train", the last floor(0.1 n) any other split."""
    count = len(rows)
    return rows[: math.ceil(0.9 * count)] if split == "train" else rows[count - math.floor(0.1 * count) :]


def csv_table(file: Path, columns: Sequence[str], delimiter: str = ",", several_lines: bool = False) -> pa.Table:
    """Read `columns` of a csv file with a header line, as strings (empty cells are ""), in file order.

    several_lines: a quoted cell may hold line breaks.
    Raises DataError if a column is missing, the file is not csv, or a line has another number of cells.
    """
    from pyarrow import csv

    with reading(file, "not a csv table"):
        types = csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False)
        form = csv.ParseOptions(delimiter=delimiter, newlines_in_values=several_lines)
        table = csv.read_csv(file, parse_options=form, convert_options=types)
        names = table.column_names
    if missing := [name for name in columns if name not in names]:
        raise DataError(f"{file}:1: expected columns {', '.join(columns)}; {', '.join(missing)} missing, found {names}")
    if repeated := [name for name in columns if names.count(name) > 1]:
        raise DataError(f"{file}:1: expected each column once; {', '.join(repeated)} repeated in {names}")
    return table.select(list(columns))
