"""Made-up pictures from a space of factors: one object on a textured ground, under nuisances.

Factors (`Scenes`): the object's outline, texture and hue; a mark in its middle; the ground's texture and hue; place,
size and angle; light and its slope; clutter and noise. What a picture shows is a function of the factors alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# lobes, depth of petals (0: a regular polygon), radius of the hole, stretch along the object's axis
OUTLINES = np.array(
    [
        (2, 0.0, 0.0, 1.0),  # the polygon of two corners is drawn as a disc
        (2, 0.0, 0.55, 1.0),
        (3, 0.0, 0.0, 1.0),
        (4, 0.0, 0.0, 1.0),
        (2, 0.0, 0.0, 1.7),
        (3, 0.45, 0.0, 1.0),
        (4, 0.45, 0.0, 1.0),
        (5, 0.45, 0.0, 1.0),
        (4, 0.0, 0.55, 1.0),
        (8, 0.3, 0.0, 1.0),
        (2, 0.6, 0.0, 1.0),
        (6, 0.4, 0.0, 1.0),
    ],
    np.float32,
)
PATTERNS = 4  # stripes, checks, dots, waves
SIZES = ((36, 48), (48, 36), (40, 56), (56, 40), (48, 48), (44, 64))  # height, width


@dataclass(frozen=True)
class Texture:
    """Arrays (n,): pattern in [0, 4), waves per picture, orientation in radians, phase, contrast in [0, 1]."""

    pattern: np.ndarray
    frequency: np.ndarray
    orientation: np.ndarray
    phase: np.ndarray
    contrast: np.ndarray


@dataclass(frozen=True)
class Scenes:
    """The factors of n pictures: arrays (n,), hues in [0, 1), places and sizes in half pictures."""

    outline: np.ndarray
    hue: np.ndarray
    texture: Texture
    mark: np.ndarray
    mark_size: np.ndarray
    mark_hue: np.ndarray
    ground_hue: np.ndarray
    ground: Texture
    x: np.ndarray
    y: np.ndarray
    size: np.ndarray
    angle: np.ndarray
    light: np.ndarray
    slope: np.ndarray
    clutter: np.ndarray
    noise: np.ndarray

    def __len__(self) -> int:
        return len(self.outline)

    def take(self, rows: np.ndarray) -> Scenes:
        """The scenes of `rows`, in that order."""
        return _take(self, rows)


def _take(factors: Any, rows: np.ndarray) -> Any:
    if isinstance(factors, np.ndarray):
        return factors[rows]
    return type(factors)(**{f.name: _take(getattr(factors, f.name), rows) for f in dataclasses.fields(factors)})


def textures(rng: np.random.Generator, n: int, contrast: tuple[float, float]) -> Texture:
    """Textures with every factor at random."""
    return Texture(
        pattern=rng.integers(PATTERNS, size=n),
        frequency=rng.uniform(2.5, 8.0, n),
        orientation=rng.uniform(0, np.pi, n),
        phase=rng.uniform(0, 2 * np.pi, n),
        contrast=rng.uniform(*contrast, n),
    )


def scenes(rng: np.random.Generator, n: int) -> Scenes:
    """Scenes with every factor at random; a task replaces those that its labels decide."""
    return Scenes(
        outline=rng.integers(len(OUTLINES), size=n),
        hue=rng.uniform(0, 1, n),
        texture=textures(rng, n, (0.2, 0.8)),
        mark=rng.integers(len(OUTLINES), size=n),
        mark_size=rng.choice([0.0, 0.35, 0.5], n),
        mark_hue=rng.uniform(0, 1, n),
        ground_hue=rng.uniform(0, 1, n),
        ground=textures(rng, n, (0.0, 0.35)),
        x=rng.uniform(-0.25, 0.25, n),
        y=rng.uniform(-0.2, 0.2, n),
        size=rng.uniform(0.45, 0.7, n),
        angle=rng.uniform(-0.35, 0.35, n),
        light=rng.uniform(0.6, 1.1, n),
        slope=rng.uniform(-0.3, 0.3, n),
        clutter=rng.integers(4, size=n),
        noise=rng.uniform(0.01, 0.06, n),
    )


def pictures(rng: np.random.Generator, wanted: Scenes, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The pictures of `wanted`, picture i at sizes[i] (height, width): uint8 (height, width, 3)."""
    drawn: list[np.ndarray] = [np.empty(0, np.uint8)] * len(wanted)
    places = np.array(sizes)
    for height, width in sorted(set(sizes)):
        rows = np.flatnonzero((places == (height, width)).all(axis=1))
        for start in range(0, len(rows), 64):  # what fits a processor's cache
            some = rows[start : start + 64]
            for row, picture in zip(some, _draw(rng, wanted.take(some), height, width), strict=True):
                drawn[row] = picture
    return drawn


def _draw(rng: np.random.Generator, wanted: Scenes, height: int, width: int) -> np.ndarray:
    """All of `wanted` at one size: uint8 (n, height, width, 3). The longer side reaches from -1 to 1."""
    half = max(height, width) / 2
    y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / half)[None, :, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / half)[None, None, :]

    colour = _coloured(0.45 + 0.4 * _hue(wanted.ground_hue), _pattern(wanted.ground, x, y), wanted.ground.contrast)
    _add_clutter(rng, colour, wanted.clutter, x, y)

    u, v = _turn(x - _each(wanted.x), y - _each(wanted.y), wanted.angle)
    radius = _each(wanted.size)
    body = _inside(u / radius, v / radius, OUTLINES[wanted.outline], half * wanted.size)
    colour += body[..., None] * (
        _coloured(_hue(wanted.hue), _pattern(wanted.texture, u, v), wanted.texture.contrast) - colour
    )
    radius = _each(wanted.size * np.maximum(wanted.mark_size, 1e-3))
    mark = _inside(u / radius, v / radius, OUTLINES[wanted.mark], half * wanted.size * wanted.mark_size)
    mark *= _each(wanted.mark_size > 0)
    colour += mark[..., None] * (_hue(wanted.mark_hue)[:, None, None, :] - colour)

    colour *= (_each(wanted.light) + _each(wanted.slope) * (x + y))[..., None]
    colour += _each(wanted.noise)[..., None] * rng.standard_normal(colour.shape, np.float32)
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8)


def _each(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]


def _hue(hue: np.ndarray) -> np.ndarray:
    """RGB (n, 3) in [0.1, 0.9] of hues on a circle."""
    thirds = np.arange(3, dtype=np.float32) / 3
    return 0.5 + 0.4 * np.cos(2 * np.pi * (hue.astype(np.float32)[:, None] - thirds))


def _coloured(rgb: np.ndarray, pattern: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """(n, height, width, 3): `rgb`, darker where the pattern is low."""
    shade = 1 - _each(contrast) * (1 - pattern)
    return shade[..., None] * rgb.astype(np.float32)[:, None, None, :]


def _turn(x: np.ndarray, y: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = _each(np.cos(angle)), _each(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _pattern(texture: Texture, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, height, width) in [0, 1]."""
    u, v = _turn(x, y, texture.orientation)
    waves, phase = np.pi * _each(texture.frequency), _each(texture.phase)
    across = np.sin(waves * v)
    bent = _each(texture.pattern == 3) * 2 * np.sin(0.5 * waves * v)
    along = np.sin(waves * u + phase + bent)
    kind = _each(texture.pattern)
    waved = np.where(kind == 1, along * across, np.where(kind == 2, np.minimum(along, across), along))
    return 0.5 + 0.5 * np.clip(2.5 * waved, -1, 1)


def _inside(u: np.ndarray, v: np.ndarray, outline: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """How much of each pixel (n, height, width) lies inside the outline of radius 1, which is `pixels` pixels."""
    lobes, depth, hole, stretch = (_each(part) for part in outline.T)
    u, v = u / stretch, v * stretch
    distance, angle = np.hypot(u, v), np.arctan2(v, u)
    step = 2 * np.pi / lobes
    polygon = np.cos(step / 2) / np.cos(np.mod(angle + np.pi / 2, step) - step / 2)
    petals = 1 - depth + depth * np.cos(lobes * (angle + np.pi / 2))
    edge = np.where(depth > 0, petals, np.where(lobes == 2, np.float32(1), polygon))
    return np.clip(np.minimum(edge - distance, distance - hole) * _each(pixels) + 0.5, 0, 1)


def _add_clutter(rng: np.random.Generator, colour: np.ndarray, count: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Up to three discs of any hue anywhere, behind the object."""
    n = len(count)
    for number in range(3):
        at_x, at_y, radius = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n), rng.uniform(0.08, 0.22, n)
        disc = ((x - _each(at_x)) ** 2 + (y - _each(at_y)) ** 2 < _each(radius) ** 2) & _each(count > number).astype(
            bool
        )
        hues = _hue(rng.uniform(0, 1, n))
        rows, down, across = np.nonzero(disc)
        colour[rows, down, across] = hues[rows]
