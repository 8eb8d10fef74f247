"""Reads a task from a folder of pictures with a subfolder per class, or a source to pretrain on from any pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers.cells import Picture
from dabs_rq.data.readers.rows import Columns, Rows, load
from dabs_rq.data.requests import Request
from dabs_rq.errors import DataError, shown
from dabs_rq.spec import Source, Target

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff")


def folder_of_images(
    source: Source,
    target: Target | None = None,
    *,
    folders: str | Mapping[str, str] = "",
    classes: Sequence[str] = (),
    input: str = "image",
    test_share: float = 0.2,
    seed: int = 0,
) -> Callable[[Request], Examples]:
    """Make the `load` of a `Task` whose pictures lie in `<folder>/<class>/`, or of a `Pretraining` without classes.

    target: the task's; None for a source to pretrain on, whose pictures may lie at any depth. folders: split -> its
    folder, relative to the source's ({"train": "train", "test": "val"}), or one folder for all splits, of which
    `test_share` of each class is held out by `seed`. classes: the names of the subfolders in the order of the classes;
    by default those that are there, sorted. input: the name of the domain's input that takes the pictures.
    Hidden files are left out. The subfolders and pictures may be links. `load` raises DataError, naming the file or
    folder: another file than a picture, an empty class, a class only in "test", a link to a folder at a deeper level, a
    name that is not UTF-8 or begins or ends with a space.
    """
    label = None if target is None else "class"
    columns = Columns({input: Picture("path")}, target, label, classes, separator="+", test_share=test_share, seed=seed)
    return partial(_load, source=source, folders=folders, columns=columns)


def _load(request: Request, *, source: Source, folders: str | Mapping[str, str], columns: Columns) -> Examples:
    opened = partial(_rows, folder=request.folder(source), with_classes=columns.target is not None)
    return load(request, folders, opened, columns)


def _rows(name: str, *, folder: Path, with_classes: bool) -> Rows:
    """List the pictures below a folder, sorted by their paths, with their classes."""
    top = folder / name
    if not top.is_dir():
        raise DataError(f"{top}: no such folder")
    paths, labels = [], []
    for parent, label in _subfolders(top) if with_classes else [(top, "")]:
        found = sorted(_pictures(parent))
        if not found:
            raise DataError(f"{parent}: it holds no picture ({', '.join(SUFFIXES)})")
        paths += [file.relative_to(folder).as_posix() for file in found]
        labels += [label] * len(found)
    for path, label in zip(paths, labels, strict=True):
        if path != path.strip() or label != label.strip() or any("\ud800" <= sign <= "\udfff" for sign in path):
            raise DataError(
                f"{folder}: {shown(path)} is not UTF-8, or begins or ends with a space; give it another name"
            )
    table = pa.table({"path": pa.array(paths, pa.string()), "class": pa.array(labels, pa.string())})
    return Rows(table, folder, (top,), lambda row: str(folder / paths[row]))


def _subfolders(top: Path) -> list[tuple[Path, str]]:
    entries = sorted(entry for entry in top.iterdir() if not entry.name.startswith("."))
    if files := [entry for entry in entries if not entry.is_dir()]:
        raise DataError(f"{files[0]}: expected only folders in {top}, one for each class")
    if not entries:
        raise DataError(f"{top}: it holds no folder; expected one for each class")
    return [(entry, entry.name) for entry in entries]


def _pictures(parent: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(parent):
        inner[:] = [name for name in inner if not name.startswith(".")]
        if links := [name for name in inner if (Path(folder) / name).is_symlink()]:
            raise DataError(
                f"{Path(folder) / links[0]}: a link to a folder, which is not followed; put the folder itself there"
            )
        for name in files:
            if name.startswith("."):
                continue
            if not name.lower().endswith(SUFFIXES):
                raise DataError(f"{Path(folder) / name}: not a picture; expected {', '.join(SUFFIXES)}")
            yield Path(folder) / name
