"""Pictures: decodes a file to an RGB array (3, height, width), for every domain.

Resizes with Pillow's bilinear filter, as torchvision's Resize((h, w)); ignores the aspect ratio; does not normalise.

Opens the formats of `FORMATS` only: Pillow knows others, such as EPS, for which it starts a program.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.errors import DataError
from dabs_rq.files import explained, reading

VERSION = "image-1"
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF")
MAX_PIXELS = 80_000_000  # the largest picture of ImageNet has 61 million; decoded, a pixel takes 4 bytes
MARGIN = 2  # a picture that is decoded to this multiple of its final size differs by about half a grey value
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_FAULT = f"damaged or not a picture in one of the formats {', '.join(FORMATS)}"

Box = tuple[int, int, int, int]


Jpeg = Literal["full", "scaled"]


def column(items: pa.Table, root: Path, shape: tuple[int, ...], jpeg: Jpeg = "full") -> Decoded:
    """Make a column of pictures, uint8 of `shape` (3, height, width).

    items: has a column "path", a file relative to `root`, and may have a column "box", (left, top, right, bottom) in
    pixels to crop to. jpeg: "scaled" decodes large JPEG files to a half, a quarter or an eighth of their size, if that
    is at least twice the size asked for: quicker, with slightly other pixels. Not for items with a box.
    """
    scaled = jpeg == "scaled" and "box" not in items.column_names
    channels, height, width = shape
    if channels != 3:
        raise ValueError(f"pictures are decoded to 3 channels, not {channels}")
    return Decoded(
        items=items.combine_chunks(),
        decode=partial(decode, root=root, width=width, height=height, scaled=scaled),
        root=root,
        shape=shape,
        dtype="uint8",
        version=version(width, height, scaled),
    )


def version(width: int, height: int, scaled: bool) -> str:
    """Name the decoder of pictures of a size."""
    return f"{VERSION}:{width}x{height}{':scaled' if scaled else ''}"


def decode(row: dict[str, Any], *, root: Path, width: int, height: int, scaled: bool = False) -> np.ndarray:
    """Decode the picture root/row["path"], cropped to row["box"] if it has one: uint8 (3, height, width)."""
    file = root / row["path"]
    image = open_rgb(file, at_least=(MARGIN * width, MARGIN * height) if scaled else None)
    if box := row.get("box"):
        image = crop(image, box, str(file))
    return to_array(image, width, height)


def open_rgb(source: Path | BinaryIO, name: str | None = None, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Open a picture and convert it to RGB; grey values of 16 bits become the nearest below of 8 bits.

    at_least: (width, height) in pixels. A JPEG file is decoded to the smallest of its whole, half, quarter and eighth
    size that is not smaller; None: to the whole.

    Raises DataError, naming `name` (or the file), if it is damaged, has another format, more than `MAX_PIXELS` pixels,
    or values without a known range, such as floating point.
    """
    where = name or source
    with reading(source, _FAULT) if isinstance(source, Path) else explained(where, _FAULT):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            opened = Image.open(source, formats=FORMATS)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{where}: {image.width} x {image.height} pixels, expected at most {MAX_PIXELS:,}")
            if at_least is not None:
                image.draft(None, at_least)  # does nothing to other formats
            return _eight_bits(image, where).convert("RGB")


def _eight_bits(image: Image.Image, where: object) -> Image.Image:
    if image.mode in _EIGHT_BITS:
        return image
    # Only PNG and PPM say that grey values of 32 bits have a range of 16; Pillow itself would cut them off at 255.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image)
        return Image.fromarray((values.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    raise DataError(
        f"{where}: its values are of Pillow's mode {image.mode!r}, whose range is not known; expected 8 or 16 bits. "
        "Convert it to PNG or JPEG."
    )


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
