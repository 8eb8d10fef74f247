"""Tiles of EuroSAT: GeoTIFF files of thirteen bands, normalised band by band."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dabs_rq.errors import DataError, needing_extra
from dabs_rq.files import reading

VERSION = "eurosat-1"
SIDE = 64  # pixels of 10 m
# In the order of the files: B8A is the last band, not the ninth.
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
# Of all 27,000 tiles, by band, as in DABS.
MEAN = np.array(
    [
        *(1354.3003, 1117.7579, 1042.28, 947.6443, 1199.6334, 2001.9829, 2372.5579, 2299.6663),
        *(731.0175, 12.0956, 1822.4083, 1119.5759, 2598.4456),
    ]
)
STD = np.array(
    [
        *(244.0469, 323.4128, 385.0928, 584.1638, 566.0543, 858.5753, 1083.6704, 1103.0342),
        *(402.9594, 4.7207, 1002.4071, 759.608, 1228.4104),
    ]
)


def tifffile_package() -> ModuleType:
    """Import tifffile, which not every install has. Raises OptionError, with the command, without it."""
    with needing_extra("EuroSAT", "dabs2"):
        import tifffile
    return tifffile


def decode(row: dict[str, Any], *, root: Path, side: int) -> np.ndarray:
    """Decode the tile root/row["path"] to float32 (13, side, side): (value - mean) / std of each band.

    A tile of 64 x 64 pixels is averaged over squares of pixels if `side` is smaller.
    """
    pixels = read_tile(root / row["path"], side).astype(np.float64)
    size = len(pixels) // side
    if size > 1:
        pixels = pixels.reshape(side, size, side, size, len(BANDS)).mean(axis=(1, 3))
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1), dtype=np.float32)


def read_tile(file: Path, side: int) -> np.ndarray:
    """Read uint16 (S, S, 13), where S is 64 or `side`. Raises DataError for a damaged file and for another picture."""
    tifffile = tifffile_package()
    with reading(file, "damaged or not a TIFF file"), tifffile.TiffFile(file) as opened:
        page = opened.pages.first
        apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        shape, dtype = (page.imagelength, page.imagewidth, page.samplesperpixel), page.dtype
        if dtype != np.uint16 or shape not in {(size, size, len(BANDS)) for size in (SIDE, side)}:
            height, width, bands = shape
            raise DataError(
                f"{file}: expected {SIDE} x {SIDE} pixels of {len(BANDS)} bands, uint16; found {height} x {width} of "
                f"{bands}, {dtype}. The archive of all bands is EuroSATallBands.zip, not EuroSAT.zip"
            )
        pixels = page.asarray()
        pixels = pixels.transpose(1, 2, 0) if apart else pixels
        if pixels.shape != shape:
            raise DataError(f"{file}: its tags say {shape} values, but it holds {pixels.shape}")
    return pixels
