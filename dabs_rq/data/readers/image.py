"""Pictures: decodes a file to an RGB array (3, height, width), for every domain.

Resizes with Pillow's bilinear filter, as torchvision's Resize((h, w)); ignores the aspect ratio; does not normalise.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.errors import DataError

VERSION = "image-1"
# What Pillow raises for a damaged file depends on the format and on the position of the damage.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError)

Box = tuple[int, int, int, int]


def column(items: pa.Table, root: Path, shape: tuple[int, ...]) -> Decoded:
    """Make a column of pictures, uint8 of `shape` (3, height, width).

    items: has a column "path", a file relative to `root`, and may have a column "box", (left, top, right, bottom) in
    pixels to crop to.
    """
    channels, height, width = shape
    if channels != 3:
        raise ValueError(f"pictures are decoded to 3 channels, not {channels}")
    return Decoded(
        items=items.combine_chunks(),
        decode=partial(decode, root=root, width=width, height=height),
        root=root,
        shape=shape,
        dtype="uint8",
        version=f"{VERSION}:{width}x{height}",
    )


def decode(row: dict[str, Any], *, root: Path, width: int, height: int) -> np.ndarray:
    """Decode the picture root/row["path"], cropped to row["box"] if it has one: uint8 (3, height, width)."""
    file = root / row["path"]
    image = open_rgb(file)
    if box := row.get("box"):
        image = crop(image, box, str(file))
    return to_array(image, width, height)


def open_rgb(source: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """Open a picture and convert it to RGB. Raises DataError, naming `name` (or the file), if it is damaged."""
    try:
        with Image.open(source) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"{name or source}: no such file") from error
    except _DAMAGE as error:
        raise DataError(f"{name or source}: damaged or not a picture ({type(error).__name__}: {error})") from error


def crop(image: Image.Image, box: Box, name: str) -> Image.Image:
    """Crop `image` to box (left, top, right, bottom), in pixels; pixels outside the picture are black."""
    left, top, right, bottom = box
    if not (left < right and top < bottom and left < image.width and top < image.height and right > 0 and bottom > 0):
        raise DataError(f"{name}: box {tuple(box)} is empty or outside the picture of {image.width} x {image.height}")
    return image.crop((left, top, right, bottom))


def to_array(image: Image.Image, width: int, height: int) -> np.ndarray:
    """Resize an RGB picture: uint8 (3, height, width)."""
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))
