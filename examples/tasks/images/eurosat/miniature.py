"""A small made-up EuroSAT in its native layout. Each of the ten classes is a hue (of 5) with a coarse or fine grain."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image

from . import CLASSES, FOLDER, SOURCE

PICTURES, SIZE = 110, 64  # per class; pixels


def write(root: Path, seed: int) -> None:
    """Write the folder of the source below `root`. Equal seeds give equal bytes."""
    for label, name in enumerate(CLASSES):
        rng = np.random.default_rng([seed, label])
        folder = root / SOURCE.folder / FOLDER / name
        folder.mkdir(parents=True)
        for number in range(1, PICTURES + 1):
            _picture(label, rng).save(folder / f"{name}_{number}.jpg", quality=90)


def _picture(label: int, rng: np.random.Generator) -> Image.Image:
    hue, coarse = label % 5, label // 5
    cells = int(rng.integers(3, 6)) if coarse else int(rng.integers(10, 17))
    grain = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8)).resize((SIZE, SIZE), Image.BILINEAR)
    colour = np.array(colorsys.hsv_to_rgb((hue + rng.uniform(-0.6, 0.6)) / 5 % 1, 0.5, 0.8))
    light = 0.6 + 0.4 * np.asarray(grain)[..., None] / 255 + rng.normal(0, 0.05, (SIZE, SIZE, 1))
    return Image.fromarray((255 * (colour * light).clip(0, 1)).astype(np.uint8))
