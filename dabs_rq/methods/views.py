"""Random views of pictures, computed for a whole batch on its device, with parameters drawn for each picture.

torchvision's transforms draw from torch's global generator, and once for a whole batch; here every number comes from
the caller, so that a resumed training and any number of ranks see the same views. The operations equal those of
torchvision on float pictures in [0, 1], see tests/test_views.py.
Source of the recipes: moco-v3 and torchvision's references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from dabs_rq.data.crops import Draw, crop_boxes

GREY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class Recipe:
    """Which operations make a view, in this order; probabilities are of each picture.

    crop: the smallest share of the picture's area that a random crop has; None does not crop. jitter: probability of
    changing brightness, contrast, saturation and hue, in random order. grey, blur, solarize, flip: probabilities.
    """

    crop: float | None = None
    jitter: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0
    flip: float = 0.0


def recipes(augment: str, crop_min: float) -> tuple[Recipe, Recipe]:
    """Return the recipes of the two views. augment: none, crop, crop_flip, or full (MoCo-v3's)."""
    if augment == "full":
        common = {"crop": crop_min, "jitter": 0.8, "grey": 0.2, "flip": 0.5}
        return Recipe(**common, blur=1.0), Recipe(**common, blur=0.1, solarize=0.2)
    one = Recipe(crop=None if augment == "none" else crop_min, flip=0.5 if augment == "crop_flip" else 0.0)
    return one, one


def pairs(images: Tensor, recipes: Sequence[Recipe]) -> list[tuple[Tensor, Recipe]]:
    """Return the pictures (B, C, H, W) and the recipe of each view.

    images: (B, C, H, W), of which every view is made; or crops of whole pictures, (B, recipes, C, side, side), which
    are not cropped again.
    """
    if images.ndim == 4:
        return [(images, recipe) for recipe in recipes]
    uncropped = [replace(recipe, crop=None) for recipe in recipes]
    return list(zip(images.unbind(1), uncropped, strict=True))


def view(images: Tensor, recipe: Recipe, size: int, draw: Draw) -> Tensor:
    """Make a view of each picture: (B, C, H, W) in [0, 1] -> (B, C, size, size); (B, C, H, W) without a crop.

    draw: on the pictures' device.
    """
    if recipe.crop is not None:
        images = resized_crop(images, crop_boxes(images.shape[2], images.shape[3], (recipe.crop, 1.0), draw), size)
    if recipe.jitter:
        images = _sometimes(recipe.jitter, draw, jitter(images, draw(8)), images)
    if recipe.grey:
        images = _sometimes(recipe.grey, draw, grey(images).expand_as(images), images)
    if recipe.blur:
        images = _sometimes(recipe.blur, draw, blur(images, 0.1 + 1.9 * draw(1)[0]), images)
    if recipe.solarize:
        images = _sometimes(recipe.solarize, draw, torch.where(images >= 128 / 255, 1 - images, images), images)
    if recipe.flip:
        images = _sometimes(recipe.flip, draw, images.flip(3), images)
    return images


@cache
def numbers(recipe: Recipe) -> int:
    """Return how many random numbers `view` draws for each picture."""
    asked: list[int] = []

    def draw(count: int) -> Tensor:
        asked.append(count)
        return torch.empty(count, 1, device="meta")

    view(torch.empty(1, 3, 8, 8, device="meta"), recipe, 8, draw)
    return sum(asked)


def _sometimes(probability: float, draw: Draw, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(_each(draw(1)[0] < probability), changed, images)


def _each(values: Tensor) -> Tensor:
    """One value for each picture: (B,) -> (B, 1, 1, 1)."""
    return values[:, None, None, None]


def resized_crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box (top, left, height, width) in pixels out of each picture and resize it, bilinear with antialiasing:
    (B, C, H, W), (4, B) -> (B, C, size, size). Two products of matrices, one per direction."""
    top, left, down, across = boxes
    rows = _resize_weights(images.shape[2], top, down, size).to(images.dtype)
    columns = _resize_weights(images.shape[3], left, across, size).to(images.dtype)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def _resize_weights(length: int, start: Tensor, extent: Tensor, size: int) -> Tensor:
    """The weight of each pixel of a side in each pixel of the result: (B, size, length)."""
    scale = (extent / size)[:, None, None]
    target = torch.arange(size, device=start.device)[None, :, None]
    place = torch.arange(length, device=start.device)[None, None, :] - start[:, None, None]
    distance = (place + 0.5 - scale * (target + 0.5)).abs() / scale.clamp(min=1)
    inside = (place >= 0) & (place < extent[:, None, None])
    weights = torch.where(inside, (1 - distance).clamp(min=0), 0.0)
    return weights / weights.sum(2, keepdim=True)


def grey(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)"""
    red, green, blue = images.unbind(1)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue).unsqueeze(1)


def jitter(images: Tensor, drawn: Tensor) -> Tensor:
    """MoCo-v3's ColorJitter(0.4, 0.4, 0.2, 0.1).

    drawn: (8, B) uniform numbers, for brightness, contrast, saturation and hue, then for their order.
    """
    strengths = 1 + (2 * drawn[:3] - 1) * filled_like(drawn, (0.4, 0.4, 0.2))[:, None]
    shift = (2 * drawn[3] - 1) * 0.1
    operations = (
        lambda x: brightness(x, strengths[0]),
        lambda x: contrast(x, strengths[1]),
        lambda x: saturation(x, strengths[2]),
        lambda x: hue(x, shift),
    )
    for chosen in drawn[4:].argsort(0):
        changed = images
        for number, operation in enumerate(operations):
            changed = torch.where(_each(chosen == number), operation(images), changed)
        images = changed
    return images


def filled_like(x: Tensor, values: Sequence[float]) -> Tensor:
    """Return `values`, (n,), in the type and on the device of x. They are written there: a copy of a Python list makes
    the host wait for the device, and cuts a compiled graph."""
    return torch.stack([x.new_full((), value) for value in values])


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each picture by its factor (B,)."""
    return (images * _each(factor)).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance of each picture from its mean grey by its factor (B,)."""
    return torch.lerp(grey(images).mean((1, 2, 3), keepdim=True).expand_as(images), images, _each(factor)).clamp(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance of each pixel from its grey by the factor (B,) of its picture."""
    return torch.lerp(grey(images).expand_as(images), images, _each(factor)).clamp(0, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Shift the hue of each picture by a share (B,) of the circle of colours."""
    high, low = images.amax(1), images.amin(1)
    spread = high - low
    divisor = torch.where(spread == 0, torch.ones_like(spread), spread)
    red, green, blue = ((high - channel) / divisor for channel in images.unbind(1))
    is_red, is_green = images[:, 0] == high, (images[:, 1] == high) & (images[:, 0] != high)
    angle = torch.where(is_red, blue - green, torch.where(is_green, 2 + red - blue, 4 + green - red))
    angle = torch.where(spread == 0, torch.zeros_like(angle), angle) / 6 + shift[:, None, None]
    return torch.stack([_channel(angle % 1, high, spread, offset) for offset in (5, 3, 1)], dim=1)


def _channel(angle: Tensor, high: Tensor, spread: Tensor, offset: int) -> Tensor:
    """The red (5), green (3) or blue (1) of colours of hue `angle` in [0, 1)."""
    place = (offset + 6 * angle) % 6
    return high - spread * torch.minimum(place, 4 - place).clamp(0, 1)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each picture by a Gaussian of its own sigma (B,), in pixels, as torchvision's gaussian_blur. The kernel has
    a tenth of the picture's side: 23 pixels of 224."""
    side = max(3, min(images.shape[2:]) // 10 | 1)
    offsets = torch.arange(side, device=images.device) - side // 2
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(images.dtype)
    batch, channels, height, width = images.shape
    kernels = kernel.repeat_interleave(channels, 0)[:, None]
    flat = images.reshape(1, batch * channels, height, width)
    pad = side // 2
    flat = F.pad(flat, (pad, pad, pad, pad), mode="reflect")
    flat = F.conv2d(flat, kernels[:, :, None], groups=batch * channels)
    return F.conv2d(flat, kernels[:, :, :, None], groups=batch * channels).reshape(images.shape)
