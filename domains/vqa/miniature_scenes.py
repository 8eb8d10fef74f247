"""Made-up pictures from a space of factors: up to three things on a patterned ground, under nuisances.

A thing has a shape, a colour, a size and a place; the ground has a pattern. Captions and questions speak of nothing
else; light, noise, tones, angles and exact places vary freely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle", "diamond", "star", "ring", "cross", "moon", "bar", "heart")
COLOURS = {
    "red": (205, 35, 40),
    "blue": (40, 70, 205),
    "white": (240, 240, 240),
    "green": (45, 150, 50),
    "black": (25, 25, 25),
    "yellow": (240, 220, 50),
    "brown": (120, 70, 30),
    "orange": (245, 140, 30),
    "pink": (245, 150, 185),
    "purple": (125, 45, 150),
}
PATTERNS = ("plain", "striped", "spotted", "checkered", "wavy", "grainy")
COLUMNS, LEVELS = ("left", "middle", "right"), ("upper", "lower")
SIZES = ((48, 64), (48, 64), (64, 48), (64, 64), (45, 64), (52, 72), (60, 56))  # height, width


@dataclass(frozen=True)
class Thing:
    """Numbers in SHAPES, COLOURS, COLUMNS and LEVELS. box: left, top, width, height in pixels."""

    shape: int
    colour: int
    large: bool
    column: int
    level: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    """pattern: a number in PATTERNS. things are in no order."""

    height: int
    width: int
    pattern: int
    things: tuple[Thing, ...]


def scene(rng: np.random.Generator, most: int = 3) -> Scene:
    """A scene of 1 to `most` things (or none) in different columns, inside the middle three quarters of the height.

    Some colours and shapes are more frequent than others; a thing often repeats the colour or shape of the one before.
    """
    height, width = SIZES[rng.integers(len(SIZES))]
    count = rng.integers(min(1, most), most + 1)
    things: list[Thing] = []
    for column in rng.permutation(len(COLUMNS))[:count].tolist():
        shape, colour = (_skewed(rng, n) for n in (len(SHAPES), len(COLOURS)))
        if things and rng.random() < 0.3:
            shape = things[-1].shape
        if things and rng.random() < 0.3:
            colour = things[-1].colour
        large, level = bool(rng.integers(2)), int(rng.integers(len(LEVELS)))
        radius = width / 2 * ((0.28 if large else 0.18) + rng.uniform(-0.02, 0.02))
        x = width / 2 * (1 + 0.6 * (column - 1) + rng.uniform(-0.08, 0.08))
        y = height / 2 * (1 + 0.6 * (level - 0.5) + rng.uniform(-0.06, 0.06))
        box = tuple(round(float(v), 2) for v in (x - radius, y - radius, 2 * radius, 2 * radius))
        things.append(Thing(shape, colour, large, column, level, box))  # type: ignore[arg-type]
    return Scene(height, width, _skewed(rng, len(PATTERNS)), tuple(things))


def _skewed(rng: np.random.Generator, n: int) -> int:
    """A number in [0, n), the first ones about three times as likely as the last."""
    weights = 1 / (np.arange(n) + n / 2)
    return int(rng.choice(n, p=weights / weights.sum()))


def draw(rng: np.random.Generator, wanted: Scene) -> np.ndarray:
    """The picture of a scene: uint8 (height, width, 3)."""
    half = wanted.width / 2
    y, x = np.indices((wanted.height, wanted.width), np.float32) + 0.5
    tone = rng.uniform(0.35, 0.75) + rng.normal(0, 0.06, 3)
    colour = (tone * _pattern(rng, wanted.pattern, x / half, y / half)[..., None]).astype(np.float32)
    for thing in wanted.things:
        left, top, size, _ = thing.box
        angle, radius = rng.uniform(-0.25, 0.25), size / 2
        across, down = (x - left - radius) / radius, (y - top - radius) / radius
        u = np.cos(angle) * across + np.sin(angle) * down
        v = np.cos(angle) * down - np.sin(angle) * across
        inside = np.clip(_depth(SHAPES[thing.shape], u, v) * radius + 0.5, 0, 1)[..., None]
        paint = np.array(list(COLOURS.values())[thing.colour]) / 255 + rng.normal(0, 0.05, 3)
        colour += inside * (paint.astype(np.float32) - colour)
    slope = rng.uniform(-0.15, 0.15, 2)
    colour *= (rng.uniform(0.8, 1.1) + slope[0] * (x / half - 1) + slope[1] * (y / half - 1)).astype(np.float32)[
        ..., None
    ]
    colour += np.float32(rng.uniform(0.01, 0.05)) * rng.standard_normal(colour.shape, np.float32)
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8)


def _pattern(rng: np.random.Generator, number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness (height, width) about 1 of the ground."""
    waves, phase, turn = rng.uniform(10, 16), rng.uniform(0, 6.3, 2), rng.uniform(-0.4, 0.4)
    u, v = x + turn * y, y - turn * x
    along, across = np.sin(waves * u + phase[0]), np.sin(waves * v + phase[1])
    shade = {
        "plain": np.zeros_like(x),
        "striped": np.sign(along),
        "spotted": np.where(np.minimum(along, across) > 0.2, 1.0, -0.4),
        "checkered": np.sign(along * across),
        "wavy": np.sign(np.sin(waves * v + 2 * np.sin(5 * u + phase[0]))),
        "grainy": rng.uniform(-1.5, 1.5, x.shape),
    }[PATTERNS[number]]
    return 1 + rng.uniform(0.12, 0.3) * shade


def _depth(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How deep (u, v) lies inside a shape that fits the unit circle, in radii; negative outside. v points down."""
    distance, a, b = np.hypot(u, v), np.abs(u), np.abs(v)
    if shape == "circle":
        return 0.95 - distance
    if shape == "square":
        return 0.8 - np.maximum(a, b)
    if shape == "triangle":
        return np.minimum(0.6 - v, 0.45 + v / 2 - 0.87 * a)
    if shape == "diamond":
        return 0.7 * (1 - a - b)
    if shape == "star":
        return 0.68 + 0.32 * np.cos(5 * np.arctan2(u, -v)) - distance
    if shape == "ring":
        return np.minimum(0.95 - distance, distance - 0.5)
    if shape == "cross":
        return np.maximum(np.minimum(0.95 - a, 0.3 - b), np.minimum(0.3 - a, 0.95 - b))
    if shape == "moon":
        return np.minimum(0.95 - distance, np.hypot(u - 0.5, v) - 0.75)
    if shape == "bar":
        return np.minimum(0.98 - a, 0.32 - b)
    return 0.85 - np.hypot(a, 1.1 * v - 0.2 + 0.6 * np.sqrt(a))  # heart
