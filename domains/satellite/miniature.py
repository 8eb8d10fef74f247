"""A small made-up EuroSAT in the native layout and format, with torchgeo's lists.

A class is a spectrum (5) and a texture (2): the mean of a tile tells some classes apart, its texture must tell the
rest.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from dabs_rq.domains.satellite.eurosat import CLASSES, FOLDER, LISTS, SOURCE
from dabs_rq.domains.satellite.tiles import BANDS, MEAN, STD, tifffile_package
from dabs_rq.miniature.writers import Rng, generator, rounded, run, write_bytes, write_lines

SIDE = 16
PARTS = {"train": 2080, "val": 520, "test": 320}  # divisible by the number of classes
SPECTRA = 5


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write the class folders and the lists under `root`; equal seeds give equal bytes."""
    folder = root / SOURCE.folder
    run([(_class, folder / FOLDER, number, seed) for number in range(len(CLASSES))], processes)
    per_class = [count // len(CLASSES) for count in PARTS.values()]
    starts = np.cumsum([1, *per_class])
    for part, (name, file) in enumerate(LISTS.items()):
        numbers = range(starts[part], starts[part + 1])
        names = [f"{kind}_{number}.jpg" for kind in CLASSES for number in numbers]
        order = generator(seed, "lists", name).permutation(len(names))
        write_lines(folder / file, [names[row] for row in order])


def _class(folder: Path, number: int, seed: int) -> None:
    """Write all tiles of a class."""
    rng, spectra = generator(seed, CLASSES[number]), generator(seed, "spectra").normal(0, 0.7, (SPECTRA, len(BANDS)))
    spectrum, crossed = spectra[number % SPECTRA], number >= SPECTRA
    for index in range(1, sum(PARTS.values()) // len(CLASSES) + 1):
        values = MEAN + STD * (_texture(rng, crossed) + spectrum + rng.normal(0, 0.6) + rng.normal(0, 0.3, len(BANDS)))
        pixels = rounded(values).clip(0, 10_000).astype(np.uint16)
        write_bytes(folder / CLASSES[number] / f"{CLASSES[number]}_{index}.tif", _tiff(pixels))


def _texture(rng: Rng, crossed: bool) -> np.ndarray:
    """Stripes along the rows or the columns, or both at once as a pattern of the same variance: (S, S, 1)."""
    place = np.arange(SIDE) / SIDE
    waves = [np.sin(2 * np.pi * (rng.uniform(1.5, 3) * place + rng.uniform())) for _ in range(2)]
    if crossed:
        pattern = np.sqrt(2) * waves[0][:, None] * waves[1][None, :]
    else:
        pattern = np.broadcast_to(waves[0], (SIDE, SIDE))
        pattern = pattern.T if rng.random() < 0.5 else pattern
    return 0.8 * pattern[..., None] + rng.normal(0, 0.2, (SIDE, SIDE, 1))


def _tiff(pixels: np.ndarray) -> bytes:
    """Write a GeoTIFF: pixels of all bands side by side, uncompressed, 10 m a pixel in UTM zone 32."""
    scale, origin = (10.0, 10.0, 0.0), (0.0, 0.0, 0.0, 600_000.0, 5_500_000.0, 0.0)
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    tags = [(33550, "d", 3, scale, True), (33922, "d", 6, origin, True), (34735, "H", len(keys), keys, True)]
    tifffile_package().imwrite(
        content := io.BytesIO(),
        pixels,
        photometric="minisblack",
        planarconfig="contig",
        metadata=None,
        software=None,
        extratags=tags,
    )
    return content.getvalue()
