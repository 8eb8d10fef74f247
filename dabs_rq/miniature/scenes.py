"""One picture engine: pictures of one size are painted together, layer on layer, the farthest first.

The pixels are the same on every processor: their arrays only see what IEEE 754 defines to the last bit in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from dabs_rq.miniature.writers import Rng, rounded

Numbers = np.ndarray | float
Size = tuple[int, int]  # height, width in pixels
Factors = dict[str, np.ndarray]  # what n pictures show: name -> array whose first dimension is n
Painter = Callable[["Canvas", Factors, Rng], None]
SHAPES = ("circle", "square", "triangle", "diamond", "star", "ring", "cross", "moon", "bar", "heart")
FLOWERS = (3, 4, 5, 6)  # petals; as shapes they are numbered after SHAPES
PATTERNS = ("striped", "checkered", "spotted", "wavy", "plain", "grainy")
AT_ONCE = 24  # pictures: what fits a processor's cache


def each(values: Numbers) -> np.ndarray:
    """One number per picture, as (n, 1, 1) float32."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


def wave(x: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1 from -1 to 1: it is 1 at 0 and -1 at 1/2."""
    return 4 * np.abs(x - np.floor(x) - np.float32(0.5)) - 1


def colours(hue: np.ndarray) -> np.ndarray:
    """RGB (n, 3) from 0.1 to 0.9 of hues on a circle of length 1."""
    thirds = np.arange(3, dtype=np.float32) / 3
    return np.float32(0.5) + np.float32(0.4) * wave(hue.astype(np.float32)[:, None] - thirds)


class Canvas:
    """n pictures of one size. x, y: places of the pixels; the longer side reaches from -1 to 1, y points down.
    half: pixels of half the longer side. layers: float32 (n, channels, height, width), 0 is black and 1 white."""

    def __init__(self, n: int, height: int, width: int, channels: int) -> None:
        self.half = max(height, width) / 2
        self.x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / np.float32(self.half))[None, None, :]
        self.y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / np.float32(self.half))[None, :, None]
        self.layers = np.zeros((n, channels, height, width), np.float32)

    def place(self, x: Numbers, y: Numbers, size: Numbers, angle: Numbers = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Where the pixels lie as seen from things at (x, y): (n, height, width) each, 1 being a thing's `size`."""
        cos, sin = each(rounded(np.cos(angle))), each(rounded(np.sin(angle)))
        across, down = (self.x - each(x)) / each(size), (self.y - each(y)) / each(size)
        return cos * across + sin * down, cos * down - sin * across

    def cover(self, shape: np.ndarray, u: np.ndarray, v: np.ndarray, size: np.ndarray) -> np.ndarray:
        """How much of each pixel (n, height, width) lies inside a shape at (u, v); `size` says how sharp it is."""
        deep = np.empty(np.broadcast_shapes(u.shape, v.shape), np.float32)
        for number in np.unique(shape).tolist():
            rows = shape == number
            deep[rows] = depth(number, u[rows], v[rows])
        return np.clip(deep * each(size * self.half) + np.float32(0.5), 0, 1)

    def paint(self, covered: np.ndarray, colour: np.ndarray) -> None:
        """Paint over what is `covered` (n, height, width), from 0 to 1. colour: (n, channels) or one per pixel."""
        self.layers += covered[:, None] * ((colour[:, :, None, None] if colour.ndim == 2 else colour) - self.layers)

    def pixels(self, rng: Rng, light: np.ndarray, slope: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels), or without channels if there is one, under `light` that grows along the
        diagonal by `slope`, with noise of that deviation."""
        self.layers *= (each(light) + each(slope) * (self.x + self.y))[:, None]
        starts = rng.integers(_grains().size - (size := self.layers[0].size), size=len(self.layers))
        for layer, start, deviation in zip(self.layers, starts, noise, strict=True):
            layer += _grains()[start : start + size].reshape(layer.shape) * np.float32(deviation)
        shades = (np.clip(self.layers, 0, 1, out=self.layers) * 255).astype(np.uint8)
        return shades[:, 0] if shades.shape[1] == 1 else np.ascontiguousarray(shades.transpose(0, 2, 3, 1))


@cache
def _grains() -> np.ndarray:
    """Noise of mean 0 and deviation 1, as sums of three bytes: exact in float32."""
    drawn = np.random.default_rng(7).integers(0, 256, (3, 1 << 18), dtype=np.uint8)
    return (drawn.sum(0, dtype=np.int32) - np.float32(382.5)).astype(np.float32) / np.float32(128)


def draw(paint: Painter, rng: Rng, factors: Factors, sizes: Sequence[Size], channels: int = 3) -> list[np.ndarray]:
    """The pictures of `factors`, uint8, picture i at sizes[i]. `paint` adds layers; `Canvas.pixels` lights them."""
    drawn: list[np.ndarray] = [np.empty(0, np.uint8)] * len(sizes)
    for height, width in sorted(set(sizes)):
        rows = np.flatnonzero((np.array(sizes) == (height, width)).all(axis=1))
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            own = {name: values[some] for name, values in factors.items()}
            canvas = Canvas(len(some), height, width, channels)
            paint(canvas, own, rng)
            for row, picture in zip(some, canvas.pixels(rng, own["light"], own["slope"], own["noise"]), strict=True):
                drawn[row] = picture
    return drawn


def uniform(rng: Rng, n: int, **ranges: tuple[float, float]) -> Factors:
    """Factors of n pictures at random, each from and to."""
    return {name: rng.uniform(low, high, n) for name, (low, high) in ranges.items()}


def lights(rng: Rng, n: int) -> Factors:
    """How n pictures are lit, at random."""
    return uniform(rng, n, light=(0.6, 1.1), slope=(-0.3, 0.3), noise=(0.01, 0.06))


def textures(rng: Rng, n: int, contrast: tuple[float, float], name: str = "") -> Factors:
    """Textures at random: pattern (one of the first four), waves per half picture, orientation in radians, phase and
    contrast. name: what the factors' names begin with."""
    drawn = {"pattern": rng.integers(4, size=n)}
    drawn |= uniform(rng, n, frequency=(1.2, 4.0), orientation=(0, 3.14), phase=(0, 1), contrast=contrast)
    return {f"{name}{factor}": values for factor, values in drawn.items()}


def textured(rgb: np.ndarray, factors: Factors, u: np.ndarray, v: np.ndarray, name: str = "") -> np.ndarray:
    """Colours (n, channels, height, width): `rgb`, darker where the texture at (u, v) is low."""
    own = (each(factors[f"{name}{factor}"]) for factor in ("pattern", "frequency", "phase", "contrast"))
    (pattern, frequency, phase, contrast), orientation = own, factors[f"{name}orientation"]
    cos, sin = each(rounded(np.cos(orientation))), each(rounded(np.sin(orientation)))
    across, along = frequency * (cos * v - sin * u), frequency * (cos * u + sin * v) + phase
    bend = wave(across / 2) / 2 * (pattern == 3)
    first, second = wave(along + bend), wave(across + phase)
    waves = np.where(pattern == 1, first * second * 2, np.where(pattern == 2, np.minimum(first, second), first))
    if (pattern >= 4).any():
        grains = _grains()[: waves[0].size].reshape(waves[0].shape)
        waves = np.where(pattern == 4, np.float32(0.5), np.where(pattern == 5, grains, waves))
    shade = 1 - contrast * (np.float32(0.5) - np.float32(0.5) * np.clip(np.float32(2.5) * waves, -1, 1))
    return shade[:, None] * rgb.astype(np.float32)[:, :, None, None]


def depth(shape: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How deep (u, v) lies inside a shape that fits the unit circle, in radii; negative outside."""
    a, b, distance = np.abs(u), np.abs(v), np.sqrt(u * u + v * v)
    if shape >= len(SHAPES):  # petals are discs around the middle
        turns = 2 * np.pi * np.arange(count := FLOWERS[shape - len(SHAPES)]) / count
        middles = np.stack([rounded(np.sin(turns)), -rounded(np.cos(turns))], 1).astype(np.float32) * np.float32(0.6)
        radius = np.float32(0.36 if count > 4 else 0.42)
        nearest = np.min([(u - x) ** 2 + (v - y) ** 2 for x, y in middles], axis=0)
        return np.maximum(radius - np.sqrt(nearest), np.float32(0.4) - distance)
    ways = {
        "circle": lambda: 0.9 - distance,
        "square": lambda: 0.78 - np.maximum(a, b),
        "triangle": lambda: np.minimum(0.6 - v, 0.45 + v / 2 - 0.87 * a),
        "diamond": lambda: 0.7 * (1 - a - b),
        "star": lambda: np.maximum(0.7 * (1 - np.sqrt(a) - np.sqrt(b)), 0.45 - distance),
        "ring": lambda: np.minimum(0.95 - distance, distance - 0.5),
        "cross": lambda: np.maximum(np.minimum(0.95 - a, 0.3 - b), np.minimum(0.3 - a, 0.95 - b)),
        "moon": lambda: np.minimum(0.95 - distance, np.sqrt((u - 0.5) ** 2 + v * v) - 0.75),
        "bar": lambda: np.minimum(0.98 - a, 0.32 - b),
        "heart": lambda: 0.85 - np.sqrt(u * u + (1.1 * v - 0.2 + 0.6 * np.sqrt(a)) ** 2),
    }
    return ways[SHAPES[shape]]()
