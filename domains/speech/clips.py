"""Makes a column of spectrograms from the clips of a source, cropped as `protocol.speech_crop` says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dabs_rq.data.columns import Column, Shared
from dabs_rq.data.readers import audio
from dabs_rq.data.readers.index import first_duplicate
from dabs_rq.data.requests import Request
from dabs_rq.errors import DataError

Where = Callable[[int], str]  # row -> the file and line that name it; called only for an error


def column(request: Request, folder: Path, paths: pa.Array, statistics: audio.Statistics) -> Column:
    """Make a column of spectrograms of `paths` (relative to `folder`). A repeated path is decoded once.

    With speech_crop=head_or_tail, a training clip longer than the input chooses between two rows: head and tail.
    """
    unique = paths.unique()
    rows = np.arange(len(paths)) if len(unique) == len(paths) else pc.index_in(paths, unique).to_numpy()
    items = pa.table({"path": unique})
    if request.protocol.speech_crop == "head_or_tail" and request.split == "train":
        long = np.flatnonzero(audio.lengths(folder, unique) > audio.SAMPLES)
        if len(long):
            tails = np.arange(len(unique))
            tails[long] = len(unique) + np.arange(len(long))
            rows = np.stack([rows, tails[rows]], axis=1)
            items = pa.table(
                {
                    "path": pa.concat_arrays([unique, unique.take(pa.array(long))]),
                    "tail": np.arange(len(unique) + len(long)) >= len(unique),
                }
            )
    decoded = audio.column(items, folder, request.inputs[0].shape, statistics)
    return decoded if len(items) == len(paths) and rows.ndim == 1 else Shared.of(decoded, rows)


def names(folder: Path, suffix: str) -> list[str]:
    """List the files in `folder` that end in `suffix`, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.endswith(suffix) and not entry.name.startswith("."))


def check_listed(folder: Path, paths: pa.Array, where: Where) -> None:
    """Raise DataError, naming the line, if there is no path, a path is not a file, or a path is listed twice."""
    if len(paths) == 0:
        raise DataError(f"{folder}: no clip is listed for this split")
    for row, path in enumerate(paths):
        if not (folder / path.as_py()).is_file():
            raise DataError(f"{where(row)}: no such file {folder / path.as_py()}")
    check_once(paths, where)


def check_once(paths: pa.Array, where: Where) -> None:
    """Raise DataError, naming both lines, if a path is listed twice."""
    if duplicate := first_duplicate(paths):
        row, first = duplicate
        raise DataError(f"{where(row)}: {paths[row].as_py()} is listed already: {where(first)}")
