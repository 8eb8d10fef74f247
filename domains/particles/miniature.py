"""A small made-up HIGGS in the native layout and format.

Signal has two narrow masses, background broad ones about the same mean: a column alone tells little about the label.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from dabs_rq.miniature.writers import Rng, generator, rounded, write_bytes

LINES = 22 * 512  # the usual splits are parts of 22
TAGS = (0.0, 1.086538, 2.173076)


def write(root: Path, seed: int) -> None:
    """Write HIGGS.csv.gz under `root`; equal seeds give equal bytes."""
    rng = generator(seed, "higgs")
    signal = rng.random(LINES) < 0.53
    values = np.column_stack([signal, *_collisions(rng, signal)])
    lines = rounded(values).astype(np.float32).tolist()
    text = "".join(",".join(f"{value:.18e}" for value in line) + "\n" for line in lines)
    write_bytes(root / "particle_physics" / "HIGGS.csv.gz", gzip.compress(text.encode(), compresslevel=1, mtime=0))


def _collisions(rng: Rng, signal: np.ndarray) -> list[np.ndarray]:
    """Draw the columns of the file after the label: 21 that are measured, 7 that follow from them."""
    n = len(signal)
    particles = [_particle(rng, n) for _ in range(6)]  # lepton, missing energy, four jets
    # The second of two jets gets the momentum that gives their pair its mass.
    for first, second in ((2, 3), (4, 5)):
        mass = np.where(signal, rng.normal(1.0, 0.08, n), 1.1 * np.exp(rng.normal(0, 0.5, n)))
        momentum, pair = particles[second][0], _pair_mass(particles[first], particles[second])
        particles[second] = (np.minimum(momentum * (mass / pair) ** 2, 8.0), *particles[second][1:])
    particles = [tuple(rounded(values) for values in particle) for particle in particles]
    lepton, missing, *jets = particles
    columns = [*lepton, missing[0], missing[2]]
    for jet in jets:
        columns += [*jet, rng.choice(TAGS, n, p=(0.5, 0.2, 0.3))]
    groups = ([2, 3], [2, 3, 4], [0, 1], [0, 1, 4], [4, 5], [0, 1, 4, 5], range(6))
    return columns + [_mass([particles[number] for number in group]) for group in groups]


def _particle(rng: Rng, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw transverse momentum, pseudorapidity and azimuth."""
    return np.exp(rng.normal(-0.15, 0.5, n)), rng.normal(0, 1, n), rng.uniform(-1.74, 1.74, n)


def _pair_mass(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> np.ndarray:
    """Compute the invariant mass of two particles without mass; not 0, which no momentum could change."""
    angle = np.cosh(one[1] - other[1]) - np.cos(one[2] - other[2])
    return np.sqrt(np.maximum(2 * one[0] * other[0] * angle, 0.05))


def _mass(particles: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Compute the invariant mass of several particles without mass, in the mean of their pairs."""
    pairs = [(one, other) for place, one in enumerate(particles) for other in particles[place + 1 :]]
    return np.sqrt(sum(_pair_mass(*pair) ** 2 for pair in pairs) / len(pairs))
