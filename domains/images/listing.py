"""From the index files of a labelled source to examples: lines, classes, seeded splits, and the checks all share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from dabs_rq.errors import DataError
from dabs_rq.examples import Examples, Request
from dabs_rq.readers import image
from dabs_rq.spec import Multiclass

T = TypeVar("T")


class Picture(NamedTuple):
    """One picture of an index. path: relative to the source's folder. where: the file and line that name it."""

    path: str
    label: int
    where: str
    group: int | None = None
    box: image.Box | None = None


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """(where, text) of every line that is not blank; `where` is "file:line"."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: no text ({error})") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{file}:{number}", line.strip()


def keyed(file: Path) -> dict[str, tuple[str, str]]:
    """key -> (rest of the line, where) of lines "key rest". Raises DataError on any other line and on a key twice."""
    found: dict[str, tuple[str, str]] = {}
    for where, text in lines(file):
        key, *rest = text.split(maxsplit=1)
        if not rest:
            raise DataError(f"{where}: expected two parts with a space between, found {text!r}")
        if key in found:
            raise DataError(f"{where}: {key} has a line already: {found[key][1]}")
        found[key] = (rest[0], where)
    return found


def entry(table: dict[str, tuple[str, str]], key: str, file: Path, where: str) -> tuple[str, str]:
    """The line of `key` in `table`, read by `keyed` from `file`. `where` is the line that asks for it."""
    if key not in table:
        raise DataError(f"{where}: {key} has no line in {file}")
    return table[key]


def class_number(value: str | int, target: Multiclass, where: str, first: int = 0) -> int:
    """The class in [0, classes) that `value` names, where classes are counted from `first`."""
    last = first + target.classes - 1
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = first - 1
    if not first <= number <= last:
        raise DataError(f"{where}: label {value!r} is no whole number from {first} to {last}")
    return number - first


def split_80_20(classes: Iterable[Sequence[T]], split: str) -> list[T]:
    """DABS's own split: every class shuffled by one RandomState(42), int(0.8 n) of it "train", the rest "test"."""
    state = np.random.RandomState(42)
    chosen: list[T] = []
    for members in classes:
        order = state.permutation(len(members))
        cut = int(0.8 * len(members))
        chosen += [members[i] for i in (order[:cut] if split == "train" else order[cut:])]
    return chosen


def labelled(request: Request, folder: Path, pictures: Sequence[Picture]) -> Examples:
    """The examples of `pictures` in their order. Raises DataError if there is none, one is missing or listed twice."""
    if not pictures:
        raise DataError(f"{folder}: no picture is listed for split {request.split!r}")
    named_by: dict[str, str] = {}
    for picture in pictures:
        if picture.path in named_by:
            raise DataError(f"{picture.where}: {picture.path} is listed already: {named_by[picture.path]}")
        named_by[picture.path] = picture.where
        if not (folder / picture.path).is_file():
            raise DataError(f"{picture.where}: no such file {folder / picture.path}")
    paths = pa.array(named_by, pa.string())
    items = {"path": paths}
    if pictures[0].box is not None:
        items["box"] = pa.array([picture.box for picture in pictures], pa.list_(pa.int32()))
    return Examples(
        ids=paths,
        inputs=(image.column(pa.table(items), folder, request.inputs[0].shape),),
        targets=np.array([picture.label for picture in pictures], np.int64),
        groups=None if pictures[0].group is None else np.array([picture.group for picture in pictures], np.int64),
    )
