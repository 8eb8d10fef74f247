"""Made-up X-rays: the density of a schematic chest with its findings, many pictures at once.

u and v are places in the chest, x and y in the picture, both from -1 to 1 to the right and downwards. A picture is
bright where much lies in the way of the rays: bone, heart, fluid; the lungs are dark as far as there is air in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domains.xray.miniature_chests import FINDINGS, Pictures, take

SHARP = 14.0  # edges fade over 1 / SHARP half pictures
# Radius and density of the spots: consolidation, mass, nodule, three of pneumonia, three of infiltration.
SPOT_FINDING = ("Consolidation", "Mass", "Nodule", *["Pneumonia"] * 3, *["Infiltration"] * 3)
SPOT_RADIUS = np.array([0.2, 0.12, 0.06, 0.11, 0.09, 0.1, 0.17, 0.14, 0.2])
SPOT_DENSITY = np.array([0.8, 1.1, 1.1, 0.6, 0.6, 0.6, 0.4, 0.4, 0.4])
WAVES = 6


def draw(rng: np.random.Generator, wanted: Pictures, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The pictures of `wanted`, picture i at sizes[i] (height, width): uint8 (height, width)."""
    drawn: list[np.ndarray] = [np.empty(0, np.uint8)] * len(wanted)
    places = np.array(sizes)
    for height, width in sorted(set(sizes)):
        rows = np.flatnonzero((places == (height, width)).all(axis=1))
        for start in range(0, len(rows), 48):  # what fits a processor's cache
            some = rows[start : start + 48]
            for row, picture in zip(some, _draw(rng, take(wanted, some), height, width), strict=True):
                drawn[row] = picture
    return drawn


def _draw(rng: np.random.Generator, wanted: Pictures, height: int, width: int) -> np.ndarray:
    """All of `wanted` at one size: uint8 (n, height, width)."""
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1)[None, :, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1)[None, None, :]
    shifted_x, shifted_y = (x - _each(wanted.x)) / _each(wanted.zoom), (y - _each(wanted.y)) / _each(wanted.zoom)
    cos, sin = _each(np.cos(wanted.turn)), _each(np.sin(wanted.turn))
    u, v = cos * shifted_x + sin * shifted_y, cos * shifted_y - sin * shifted_x

    one = wanted.patient
    from_middle = np.abs(u)
    torso = _edge(_each(one.width) * (1 - 0.5 * np.clip((-0.75 - v) / 0.4, 0, 1)) - from_middle)
    texture = _texture(rng, wanted, x, y)
    air, base = _air(wanted, u, v, _opacity(wanted, x, y) + texture)

    density = 0.5 + _each(one.thickness) + 0.1 * base
    density += _each(one.rib_contrast) * _ribs(wanted, v, from_middle) * (1 - 0.7 * base)
    spine = _each(np.where(wanted.lateral, 0.6, 0.0))
    density += (0.12 + 0.03 * np.sin(30 * v)) * _edge(0.1 - np.abs(u - spine))
    density += 0.08 * _edge(0.03 - np.abs(v + 0.75 - 0.25 * from_middle)) * _each(~wanted.lateral)  # clavicles
    density += texture
    density -= 0.45 * air
    density *= torso

    light = _each(wanted.gain) * np.clip(density, 0, 1.2) ** _each(wanted.gamma) + _each(wanted.offset)
    light += _each(wanted.slope[:, 0]) * x + _each(wanted.slope[:, 1]) * y
    light += _each(wanted.noise) * rng.standard_normal(light.shape, np.float32)
    return (np.clip(light, 0, 1) * 255).astype(np.uint8)


def _severity(wanted: Pictures, finding: str) -> np.ndarray:
    return wanted.severity[:, list(FINDINGS).index(finding)]


def _each(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]


def _edge(distance: np.ndarray) -> np.ndarray:
    """0 outside, 1 inside, of a signed distance that is positive inside."""
    return np.clip(distance * np.float32(SHARP) + np.float32(0.5), 0, 1)


def _air(wanted: Pictures, u: np.ndarray, v: np.ndarray, opacity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much air lies in the way, and what is below the diaphragm; both (n, height, width) from 0 to 1."""
    one, lateral = wanted.patient, wanted.lateral
    middle, wide = _each(np.where(lateral, 0.03, 0.44)), _each(one.lung_width * np.where(lateral, 1.8, 1.0))
    heart = _heart(wanted, u, v)
    edema = _severity(wanted, "Edema")
    effused, collapsed, escaped = (
        _severity(wanted, finding)[:, None] * np.where(wanted.side[:, [number]] * np.array([-1, 1]) >= 0, 1.0, 0.0)
        for number, finding in enumerate(("Effusion", "Atelectasis", "Pneumothorax"))
    )
    air, base = np.zeros_like(opacity), np.ones_like(opacity)
    for number, side in enumerate((-1, 1)):
        p = (side * u - middle) / wide
        q = (v + 0.1) / _each(one.lung_height)
        narrow = p * (1 + _each(one.taper) * np.clip(0.5 - q, 0, 2))
        inside = 1 - narrow**2 - np.square(np.square(q))
        floor = one.diaphragm + wanted.breath + 0.03 * side - 0.14 * collapsed[:, number]
        over_floor = _each(floor) - 0.12 * np.clip(1 - p**2, 0, 1) - v
        lung = _edge(0.5 * inside) * _edge(over_floor)
        # Fluid rises at the outer wall; lines of collapse lie above the diaphragm; free air lies at apex and wall.
        fluid = effused[:, number]
        level = _each(floor - 0.02 - 0.4 * fluid) - 0.15 * _each(fluid) * p**2
        dense = _each(np.minimum(1, 1.5 * fluid)) * _edge(v - level)
        dense += 0.7 * _each(collapsed[:, number]) * _edge(0.04 - np.abs(over_floor - 0.14 + 0.1 * p))
        dense += 0.25 * _each(edema) * (0.6 + np.exp(-np.square(p + 0.5) - 3 * np.square(q)))
        free = _each(escaped[:, number])
        rim = np.minimum(1, 5 * free) * _edge(0.25 * free - 0.5 * inside - 0.08 * q)
        air += lung * np.clip(0.8 - dense - opacity * (1 - rim) + free * (0.45 * rim - 0.05), 0, 1.3)
        base = np.minimum(base, _edge(-over_floor))
    air *= _each(np.where(lateral, 0.55, 1.0)) * (1 - 0.85 * heart)
    return air, base


def _heart(wanted: Pictures, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Heart and great vessels, (n, height, width)."""
    one = wanted.patient
    large = 1 + 0.4 * _severity(wanted, "Cardiomegaly")
    across = u - _each(np.where(wanted.lateral, -0.25, 0.1 + 0.1 * (large - 1)))
    down = v - _each(0.22 + wanted.breath)
    along, beside = across + _each(one.heart_tilt) * down, down - _each(one.heart_tilt) * across
    radius = _each(one.heart * large)
    ball = 1 - np.square(along / (1.25 * radius)) - np.square(beside / radius)
    vessels = 0.14 - np.abs(u - _each(np.where(wanted.lateral, 0.0, 0.01))) + 0.1 * np.minimum(0, 0.2 - v)
    return np.maximum(_edge(0.25 * ball), _edge(vessels) * _each(np.where(wanted.lateral, 0.3, 1.0)))


def _ribs(wanted: Pictures, v: np.ndarray, from_middle: np.ndarray) -> np.ndarray:
    one = wanted.patient
    wave = np.sin(np.pi * _each(one.ribs) * (v - _each(one.rib_slope) * np.square(from_middle)))
    return np.clip(2 * wave, -1, 1) * _edge(from_middle - 0.15)


def _opacity(wanted: Pictures, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Dense spots in the lungs, (n, height, width): Gaussians, each an outer product of a column and a row."""
    severity = np.stack([_severity(wanted, finding) for finding in SPOT_FINDING], axis=1)
    side, p, q = np.moveaxis(wanted.spots, 2, 0)
    one, lateral = wanted.patient, wanted.lateral[:, None]
    wide = one.lung_width[:, None] * np.where(lateral, 1.8, 1.0)
    zoom = wanted.zoom[:, None]
    at_x = wanted.x[:, None] + zoom * side * (np.where(lateral, 0.03, 0.44) + wide * p)
    at_y = wanted.y[:, None] + zoom * (one.lung_height[:, None] * q - 0.15)
    radius = zoom * SPOT_RADIUS * (0.7 + 0.5 * severity)
    density = np.where(lateral, 1.3, 1.0) * SPOT_DENSITY * severity
    columns = np.exp(-0.5 * np.square((y - at_y[:, None, :]) / radius[:, None, :])) * density[:, None, :]
    rows = np.exp(-0.5 * np.square((x - at_x[:, :, None]) / radius[:, :, None]))
    return columns.astype(np.float32) @ rows.astype(np.float32)


def _texture(rng: np.random.Generator, wanted: Pictures, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Vessels and folds that mean nothing: a few waves, (n, height, width)."""
    n = len(wanted)
    frequency, phase = rng.uniform(2, 14, (2, n, WAVES)), rng.uniform(0, 2 * np.pi, (2, n, WAVES))
    columns = np.sin(frequency[0][:, None, :] * y + phase[0][:, None, :]) * wanted.texture[:, None, None]
    rows = np.sin(frequency[1][:, :, None] * x + phase[1][:, :, None])
    return columns.astype(np.float32) @ rows.astype(np.float32)
