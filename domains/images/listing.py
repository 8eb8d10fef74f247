"""Makes examples from the listed pictures of a labelled source, with checks that all sources share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dabs_rq.data.examples import Examples
from dabs_rq.data.readers import image
from dabs_rq.data.requests import Request
from dabs_rq.errors import DataError


class Picture(NamedTuple):
    """One picture of an index. path: relative to the source's folder. where: the file and line that name it."""

    path: str
    label: int
    where: str
    group: int | None = None
    box: image.Box | None = None


def labelled(request: Request, folder: Path, pictures: Sequence[Picture]) -> Examples:
    """Make examples of `pictures` in order. Raises DataError if the list is empty, or a picture is missing or listed
    twice."""
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
        inputs=(image.column(pa.table(items), folder, request.inputs[0].shape, request.jpeg),),
        targets=np.array([picture.label for picture in pictures], np.int64),
        groups=None if pictures[0].group is None else np.array([picture.group for picture in pictures], np.int64),
    )
