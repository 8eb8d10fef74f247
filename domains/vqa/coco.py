"""What both sources share: the JSON files of COCO and VQA, and COCO's pictures as DABS prepares them.

The trap in DABS's preprocessing: its `Resize((640, 480))` means height 640 and width 480 where most pictures are 640
wide and 480 high. So a landscape picture is squeezed to 3/4 of its width and stretched to 4/3 of its height, and the
crop to the middle 480 x 480 that follows cuts off an eighth of its height above and below. Nothing is cut off at the
sides. Every published number was made with it, so both protocols keep it.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.data.readers import image, text
from dabs_rq.errors import DataError, shown
from dabs_rq.files import reading
from dabs_rq.spec import Input, Tokens

VERSION = "coco-1"
RESIZED = (480, 640)  # width, height
MIDDLE = (0, 80, 480, 560)  # left, top, right, bottom


# ---- pictures ------------------------------------------------------------------------------------------------------


def pictures(paths: Sequence[str] | pa.Array, root: Path, shape: tuple[int, ...]) -> Decoded:
    """Pictures as DABS prepares them, uint8 of `shape` (3, height, width). paths: files relative to `root`."""
    channels, height, width = shape
    if channels != 3:
        raise ValueError(f"pictures are decoded to 3 channels, not {channels}")
    return Decoded(
        items=pa.table({"path": pa.array(paths, pa.string())}),
        decode=partial(decode, root=root, width=width, height=height),
        root=root,
        shape=shape,
        dtype="uint8",
        version=f"{VERSION}:{image.VERSION}:{width}x{height}",
    )


def decode(row: dict[str, Any], *, root: Path, width: int, height: int) -> np.ndarray:
    """The picture root/row["path"] at 480 x 640 (width x height), its middle 480 x 480 of that, at the size of the
    input: uint8 (3, height, width). Bilinear throughout, as torchvision's transforms do it."""
    picture = image.open_rgb(root / row["path"])
    return image.to_array(picture.resize(RESIZED, Image.Resampling.BILINEAR).crop(MIDDLE), width, height)


# ---- texts ---------------------------------------------------------------------------------------------------------


def texts(columns: Mapping[str, Sequence[str]], file: Path, spec: Input, root: Path) -> Decoded:
    """Make a column of token ids from the texts in `columns`: one column, or two that form a pair.

    file: the source of the texts, under the data root `root`, which holds the tokenizer.
    """
    assert isinstance(spec, Tokens)
    try:
        arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    except UnicodeEncodeError as error:  # JSON may hold lone surrogates
        raise DataError(f"{file}: a text in it is not Unicode ({error})") from error
    places = pa.array(np.zeros(len(next(iter(arrays.values()))), np.int8))
    paths = pa.DictionaryArray.from_arrays(places, pa.array([file.relative_to(root).as_posix()]))
    return text.from_items(pa.table({"path": paths, **arrays}), tuple(columns), spec, root)


# ---- JSON files ----------------------------------------------------------------------------------------------------

_MISSING = object()
_KINDS = {int: "a whole number of at most 63 bits", str: "text", list: "a list"}


def entries(file: Path, name: str, fields: Mapping[str, type]) -> list[tuple[Any, ...]]:
    """Read the `fields` (name -> type) of every object in the list `name` of {name: [{...}, ...], ...}, in order.

    Drops everything else while parsing: of instances_train2017.json (450 MB of outlines), only the picture of every
    instance is held in memory.
    Raises: DataError naming the file, and the entry if one lacks a field.
    """

    def keep(content: dict[str, Any]) -> Any:
        if name in content:
            return {name: content[name]}  # the file itself
        return tuple([content.get(field, _MISSING) for field in fields])

    with (  # the file is mapped, so that its bytes and its text are not both in memory
        reading(file, "damaged or not JSON", "Extract it from its archive again"),
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        parsed = json.loads(str(content, "utf-8"), object_hook=keep)
    objects = parsed.get(name) if isinstance(parsed, dict) else None
    if not isinstance(objects, list):
        raise DataError(f'{file}: expected {{"{name}": [...], ...}}, found no list of that name')
    for number, entry in enumerate(objects, 1):
        if fault := _fault(entry, fields):
            raise DataError(f"{file}: {name}, entry {number}: {fault}")
    return objects


def _fault(entry: Any, fields: Mapping[str, type]) -> str | None:
    """Describe what is wrong with an entry; None if it is correct."""
    if not isinstance(entry, tuple):
        return f"expected an object with {', '.join(fields)}, found {shown(entry)}"
    for (field, kind), value in zip(fields.items(), entry, strict=True):
        if value is _MISSING:
            return f"{field} is missing; expected {', '.join(fields)}"
        if type(value) is not kind or (type(value) is int and value.bit_length() > 63):
            return f"{field} is {shown(value)}, expected {_KINDS[kind]}"
    return None
