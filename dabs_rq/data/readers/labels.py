"""Targets from the cells of a table or the names of folders, for every kind of target."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dabs_rq.errors import DataError, OptionError, shown, unknown
from dabs_rq.spec import Binary, Multiclass, Multilabel, Regression, Target

YES_OR_NO = (("0", "1"), ("false", "true"), ("no", "yes"))  # what Binary takes without declared classes


@dataclass(frozen=True)
class Labels:
    """The cells of a split: a list of texts per column. where: number of an example -> the file and line."""

    columns: Sequence[Sequence[str]]
    where: Callable[[int], str]


def columns(target: Target | None, label: str | None) -> tuple[str, ...]:
    """List the columns that hold a target. Raises OptionError if the declaration does not say which."""
    if target is None:
        if label is not None:
            raise OptionError(f"label={label!r} needs target=, the kind of the target")
        return ()
    if isinstance(target, Multilabel) and label is None:
        return target.labels
    if label is None:
        raise OptionError(f"label= must name the column of the {type(target).__name__} target")
    return (label,)


def check_declared(target: Target | None, classes: Sequence[str]) -> None:
    """Raise OptionError unless declared classes fit the target."""
    if not classes:
        return
    if not isinstance(target, Multiclass | Binary):
        kind = "no target" if target is None else f"a {type(target).__name__} target"
        raise OptionError(f"classes= is for Multiclass and Binary targets; this is {kind}")
    count = target.classes if isinstance(target, Multiclass) else 2
    if isinstance(classes, str) or len(classes) != count or len(set(classes)) != count:
        raise OptionError(f"classes= must name the target's {count} classes, each once; got {classes!r}")


def strata(target: Target | None, cells: Sequence[Sequence[str]], count: int) -> list[str]:
    """Name the class of each of `count` examples, of which a seeded split takes equal parts; without classes they have
    one name."""
    return list(cells[0]) if isinstance(target, Multiclass | Binary) else [""] * count


def targets(
    cells: Mapping[str, Labels],
    wanted: str,
    target: Target,
    names: Sequence[str],
    classes: Sequence[str],
    separator: str,
) -> np.ndarray:
    """Convert the cells of split `wanted`: (n,) int classes or 0/1, (n, labels) 0/1, (n,) float.

    cells: those of "train" too, against which the labels of other splits are checked. names: of the columns.
    Raises DataError: see `dabs_rq.data.readers.rows.examples`.
    """
    if isinstance(target, Regression):
        return _numbers(cells[wanted], names[0])
    if isinstance(target, Multilabel):
        return _sets(cells, wanted, target, names, separator)
    if isinstance(target, Multiclass | Binary):
        return _classes(cells, wanted, target, names[0], classes)
    raise OptionError(f"a column cannot hold a {type(target).__name__} target; write a reader: docs/add-a-domain.md")


def _numbers(cells: Labels, name: str) -> np.ndarray:
    values = np.empty(len(cells.columns[0]))
    for row, text in enumerate(cells.columns[0]):
        values[row] = number(text)
        if not math.isfinite(values[row]):
            found = f"{shown(text)} in column {name} is not a finite number" if text else f"no value in column {name}"
            raise DataError(f"{cells.where(row)}: {found}")
    return values


def number(cell: object) -> float:
    """Convert a cell to a number; NaN if it is none. Python would read 2021_05 as 202105, which no table means."""
    try:
        return math.nan if isinstance(cell, str) and "_" in cell else float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _classes(
    cells: Mapping[str, Labels], wanted: str, target: Multiclass | Binary, name: str, classes: Sequence[str]
) -> np.ndarray:
    for split in dict.fromkeys(("train", wanted)):
        if split in cells and "" in cells[split].columns[0]:
            raise DataError(f"{cells[split].where(cells[split].columns[0].index(''))}: no label in column {name}")
    known = tuple(classes) or _found(cells, target, name)
    index = {each: number for number, each in enumerate(known)}
    read = _case(known)
    for split, of_split in cells.items():
        for number, text in enumerate(of_split.columns[0]):
            if read(text) not in index:
                raise DataError(f"{of_split.where(number)}: {unknown('label', text, known)} (split {split!r})")
    numbers = {
        split: np.array([index[read(text)] for text in each.columns[0]], np.int64) for split, each in cells.items()
    }
    if "train" in numbers:
        _check_trained(numbers, known, cells)
    return numbers[wanted]


def _case(known: Sequence[str]) -> Callable[[str], str]:
    return str.lower if tuple(known) in YES_OR_NO else str


def _found(cells: Mapping[str, Labels], target: Multiclass | Binary, name: str) -> tuple[str, ...]:
    found = {text for each in cells.values() for text in each.columns[0]}
    first = next(iter(cells.values())).where(0)
    if isinstance(target, Binary):
        for known in YES_OR_NO:
            if {text.lower() for text in found} <= set(known):
                return known
        raise DataError(f"{first}: column {name} holds {_few(found)}; name them with classes=(no, yes)")
    whole = all(text.isdecimal() for text in found)
    ordered = tuple(sorted(found, key=int if whole else str))
    if len(ordered) != target.classes:
        raise DataError(
            f"{first}: column {name} holds {len(ordered)} classes ({_few(ordered)}), and the target is "
            f"Multiclass({target.classes}). Correct the target, or name the classes with classes="
        )
    return ordered


def _few(names: Sequence[str] | set[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:6]) + (f" and {len(ordered) - 6} more" if len(ordered) > 6 else "")


def _check_trained(numbers: Mapping[str, np.ndarray], known: Sequence[str], cells: Mapping[str, Labels]) -> None:
    """Raise DataError if a class has no training example; where another split has one, its line is named."""
    missing = np.setdiff1d(np.arange(len(known)), numbers["train"])
    for split, values in numbers.items():
        if split != "train" and len(rows := np.flatnonzero(np.isin(values, missing))):
            label = known[values[rows[0]]]
            raise DataError(
                f"{cells[split].where(int(rows[0]))}: label {label!r} is only in split {split!r}; expected examples of "
                "it in 'train'"
            )
    if len(missing):
        raise DataError(f"{cells['train'].where(0)}: class {known[missing[0]]!r} has no example in split 'train'")


def _sets(
    cells: Mapping[str, Labels], wanted: str, target: Multilabel, names: Sequence[str], separator: str
) -> np.ndarray:
    encoded = {split: _set_of(each, target, names, separator) for split, each in cells.items()}
    if "train" in encoded and len(missing := np.flatnonzero(encoded["train"].sum(0) == 0)):
        raise DataError(
            f"{cells['train'].where(0)}: label {target.labels[missing[0]]!r} has no example in split 'train'"
        )
    return encoded[wanted]


def _set_of(cells: Labels, target: Multilabel, names: Sequence[str], separator: str) -> np.ndarray:
    if tuple(names) == target.labels and len(cells.columns) == len(target.labels):
        return np.stack(
            [_zeros_and_ones(cells, name, column) for name, column in zip(names, cells.columns, strict=True)], 1
        )
    index = {label: number for number, label in enumerate(target.labels)}
    values = np.zeros((len(cells.columns[0]), len(index)), np.int64)
    for number, text in enumerate(cells.columns[0]):
        for label in filter(None, map(str.strip, text.split(separator))):
            if label not in index:
                raise DataError(f"{cells.where(number)}: {unknown('label', label, index)}")
            values[number, index[label]] = 1
    return values


def _zeros_and_ones(cells: Labels, name: str, column: Sequence[str]) -> np.ndarray:
    for number, text in enumerate(column):
        if text.lower() not in ("0", "1", "false", "true"):
            raise DataError(f"{cells.where(number)}: {shown(text)} in column {name}; expected 0 or 1")
    return np.array([text.lower() in ("1", "true") for text in column], np.int64)
