"""Random resized crops of whole pictures, cut when a batch is read: torchvision's RandomResizedCrop on Pillow pictures.

The draws follow from the seed, the epoch, the picture and the number of the crop alone, so that any number of workers
and ranks, and a resumed training, see the same crops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from dabs_rq.data.columns import Decoded
from dabs_rq.files import digest, explained

if TYPE_CHECKING:
    from torch import Tensor

VERSION = "crops-1"
Draw: TypeAlias = "Callable[[int], Tensor]"  # k -> k uniform numbers in [0, 1) for each crop: (k, B)
ATTEMPTS = 10  # of drawing a crop that lies inside the picture
RATIO = (3 / 4, 4 / 3)  # width / height of a crop


def crop_boxes(height: int, width: int, scale: tuple[float, float], draw: Draw) -> Tensor:
    """Draw boxes (top, left, height, width) in whole pixels, (4, B): torchvision's RandomResizedCrop.

    scale: the range of the share of the area. The first attempt that lies inside the picture counts; if none of
    `ATTEMPTS` does, the box is the largest centred one with a legal ratio.
    """
    import torch

    drawn = draw(2 * ATTEMPTS + 2)
    areas = height * width * (scale[0] + (scale[1] - scale[0]) * drawn[:ATTEMPTS])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratios = torch.exp(low + (high - low) * drawn[ATTEMPTS : 2 * ATTEMPTS])
    across, down = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
    fits = (across > 0) & (across <= width) & (down > 0) & (down <= height)
    first = fits.float().argmax(0, keepdim=True)
    across, down = across.gather(0, first)[0], down.gather(0, first)[0]
    largest_across, largest_down = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    found = fits.any(0)
    across = torch.where(found, across, float(largest_across))
    down = torch.where(found, down, float(largest_down))
    top = torch.where(found, (drawn[-2] * (height - down + 1)).floor(), float((height - largest_down) // 2))
    left = torch.where(found, (drawn[-1] * (width - across + 1)).floor(), float((width - largest_across) // 2))
    return torch.stack([top, left, down, across])


def resized_crop(picture: Image.Image, box: tuple[int, int, int, int], side: int) -> Image.Image:
    """Cut a box (top, left, height, width) in pixels out of a picture and resize it to a square, bilinear with
    antialiasing."""
    top, left, down, across = box
    cut = picture.crop((left, top, left + across, top + down))
    return cut.resize((side, side), Image.Resampling.BILINEAR)


@dataclass(frozen=True)
class Crops:
    """Random resized crops. count: of each picture. side: of the result, in pixels. least: the smallest share of the
    picture's area."""

    count: int
    side: int
    least: float


@dataclass(frozen=True)
class Cropped:
    """A column of random crops of the pictures of another column, drawn anew in every epoch: uint8
    (count, 3, side, side) for each.

    pictures: its items name the files; its arrays are not read. opened: opens a file's whole picture, in RGB.
    """

    pictures: Decoded
    opened: Callable[[Path], Image.Image]
    crops: Crops
    seed: int = 0
    epoch: int = 0

    varies = True  # between epochs

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def key(self) -> str:
        """Identity of the pictures and of the kind of crops, whatever the epoch."""
        return digest(VERSION, self.pictures.key, *astuple(self.crops))

    def take(self, rows: np.ndarray) -> np.ndarray:
        paths = self.pictures.items["path"]
        return np.stack([self._cut(paths[int(row)].as_py()) for row in rows])

    def select(self, rows: np.ndarray) -> Cropped:
        return replace(self, pictures=self.pictures.select(rows))

    def redrawn(self, seed: int, epoch: int) -> Cropped:
        """Return the crops of another (seed, epoch)."""
        return replace(self, seed=seed, epoch=epoch)

    def boxes(self, path: str, height: int, width: int) -> list[tuple[int, int, int, int]]:
        """Return the boxes (top, left, height, width) that are cut out of the picture `path`, in pixels."""
        import torch

        picture = int(digest(path), 16)
        generators = [
            np.random.default_rng([self.seed, self.epoch, picture, number]) for number in range(self.crops.count)
        ]

        def draw(count: int) -> Tensor:
            return torch.from_numpy(np.stack([generator.random(count) for generator in generators], axis=1))

        top, left, down, across = crop_boxes(height, width, (self.crops.least, 1.0), draw).int().tolist()
        return list(zip(top, left, down, across, strict=True))

    def _cut(self, path: str) -> np.ndarray:
        """Cut all crops of the picture `path`. Raises DataError naming the file if it is damaged."""
        file = self.pictures.root / path
        with explained(file, "cannot be decoded"):
            picture = self.opened(file)
            boxes = self.boxes(path, picture.height, picture.width)
            made = [np.asarray(resized_crop(picture, box, self.crops.side)) for box in boxes]
        return np.stack(made).transpose(0, 3, 1, 2)
