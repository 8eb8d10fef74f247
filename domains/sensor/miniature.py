"""A small made-up PAMAP2 in the native layout and format.

What is in it: an activity is a rhythm, an amplitude for every limb, a posture (where gravity points), a mix of
harmonics and an effort; a subject is a tempo, a strength, the way the units are strapped on and a heart. Postures are
shared between activities, so that a window's mean tells only some of them apart, and rhythm must tell the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from dabs_rq.files import atomic_path

RATE = 100  # Hz
LIMBS = 3  # hand, chest, ankle
POSTURES = 4  # lying, sitting, upright, bent
TRANSIENT = 0
WINDOW = 320  # bouts are a few windows long


@dataclass(frozen=True)
class Activity:
    """rhythm: Hz. amplitudes: m/s^2 at hand, chest, ankle. harmonics: weights of once, twice, three times the rhythm.
    effort: 0 at rest, 1 at most; drives the heart."""

    posture: int
    rhythm: float
    amplitudes: tuple[float, float, float]
    harmonics: tuple[float, float, float]
    effort: float


ACTIVITIES = {
    1: Activity(0, 0.25, (0.3, 0.4, 0.1), (1.0, 0.2, 0.0), 0.0),  # lying
    2: Activity(1, 0.30, (0.6, 0.3, 0.1), (1.0, 0.2, 0.0), 0.05),  # sitting
    3: Activity(2, 0.45, (0.7, 0.3, 0.2), (1.0, 0.3, 0.0), 0.1),  # standing
    4: Activity(2, 1.7, (3.0, 2.0, 5.0), (1.0, 0.6, 0.3), 0.35),  # walking
    5: Activity(2, 2.6, (7.0, 5.0, 9.0), (1.0, 0.8, 0.5), 0.9),  # running
    6: Activity(1, 1.2, (0.8, 0.8, 5.0), (1.0, 0.2, 0.1), 0.5),  # cycling
    7: Activity(2, 1.6, (6.0, 2.0, 5.0), (1.0, 0.3, 0.6), 0.5),  # Nordic walking
    12: Activity(2, 1.4, (2.5, 2.0, 4.5), (1.0, 0.9, 0.1), 0.6),  # ascending stairs
    13: Activity(2, 1.9, (3.0, 2.5, 6.0), (0.6, 1.0, 0.8), 0.45),  # descending stairs
    16: Activity(3, 0.8, (4.0, 1.2, 0.8), (1.0, 0.5, 0.4), 0.4),  # vacuum cleaning
    17: Activity(3, 0.7, (3.0, 0.8, 0.3), (1.0, 0.4, 0.2), 0.2),  # ironing
    24: Activity(2, 2.2, (6.0, 6.0, 8.0), (1.0, 0.4, 0.7), 1.0),  # rope jumping
}
# The order of the real protocol; stairs are climbed and descended twice.
SCHEDULE = (1, 2, 3, 17, 16, 12, 13, 12, 13, 4, 7, 6, 5, 24)
# Windows of every labelled activity that a subject has.
WINDOWS = {101: 14, 102: 14, 103: 16, 104: 16, 105: 20, 106: 6, 107: 14, 108: 14}
NEVER_DONE = {103: (5, 7, 24), 104: (24,)}


@dataclass(frozen=True)
class World:
    """What all subjects share. gravity: (postures, limbs, 3) unit vectors. direction: (activities, limbs, 3 harmonics,
    3 axes), where each harmonic pushes; phase: the same without axes."""

    gravity: np.ndarray
    direction: dict[int, np.ndarray]
    phase: dict[int, np.ndarray]


def write(root: Path, seed: int) -> None:
    """Write Protocol/subject101.dat to subject109.dat under `root`; equal seeds give equal bytes."""
    world = make_world(seed)
    for subject in range(101, 110):
        write_subject(root / f"sensor/pamap2/PAMAP2_Dataset/Protocol/subject{subject}.dat", world, subject, seed)


def write_subject(path: Path, world: World, subject: int, seed: int) -> None:
    """One subject's file: 54 columns separated by one space, no header, NaN for what is missing."""
    generator = np.random.default_rng([seed, subject])
    columns = _columns(world, _bouts(subject, generator), generator)
    table = pa.table({str(place): column for place, column in enumerate(columns)})
    with atomic_path(path) as temporary:
        csv.write_csv(table, temporary, csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none"))


def make_world(seed: int) -> World:
    """The activities' shared factors, drawn by `seed`."""
    generator = np.random.default_rng([seed, 0])
    shared = generator.normal(size=(LIMBS, 3, 3))
    return World(
        gravity=_unit(generator.normal(size=(POSTURES, LIMBS, 3))),
        direction={one: _unit(shared + 0.4 * generator.normal(size=(LIMBS, 3, 3))) for one in ACTIVITIES},
        phase={one: generator.uniform(0, 2 * np.pi, (LIMBS, 3)) for one in ACTIVITIES},
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _bouts(subject: int, generator: np.random.Generator) -> list[tuple[int, int]]:
    """(activity, rows) in the order of recording, with something transient before each."""
    if subject == 109:  # too short a stand, then rope jumping
        plan = [(3, 250), (24, 16 * WINDOW + 40)]
    else:
        plan = []
        for activity in SCHEDULE:
            if activity in NEVER_DONE.get(subject, ()):
                continue
            windows = WINDOWS[subject] // SCHEDULE.count(activity) if activity != 17 else 2
            plan.append((activity, windows * WINDOW + int(generator.integers(1, WINDOW // 2))))
    between = generator.integers(30, 120, size=len(plan)).tolist()
    return [bout for rows, one in zip(between, plan, strict=True) for bout in ((TRANSIENT, rows), one)]


def _columns(world: World, bouts: list[tuple[int, int]], generator: np.random.Generator) -> list[pa.Array]:
    """The 54 columns as text."""
    tempo, strength = np.exp(generator.normal(0, (0.1, 0.25)))
    mounting = [_rotation(generator.normal(0, 0.25, 3)) for _ in range(LIMBS)]
    rest, reserve = generator.uniform(60, 75), generator.uniform(80, 110)
    ids = np.repeat([activity for activity, _ in bouts], [rows for _, rows in bouts])
    rows = len(ids)
    acceleration, turn, effort = np.zeros((rows, LIMBS, 3)), np.zeros((rows, LIMBS, 3)), np.zeros(rows)
    stop = 0
    for activity, length in bouts:
        start, stop = stop, stop + length
        shown = activity or int(generator.choice(list(ACTIVITIES)))  # in transit one does a little of something
        acceleration[start:stop], turn[start:stop] = _motion(world, shown, length, tempo, strength, generator)
        effort[start:stop] = ACTIVITIES[shown].effort
    heart = rest + reserve * _follow(effort, seconds=15) + _walk(rows, 0.02, generator)
    heading = np.cumsum(_walk(rows, 2e-4, generator))
    field = np.stack([25 * np.cos(heading), 25 * np.sin(heading), np.full(rows, -35.0)], axis=1)

    columns = [
        _text(np.arange(rows) / RATE + 5, 2),
        _text(ids, 0),
        _text(np.where(np.arange(rows) % 11 == 4, heart, np.nan), 0),
    ]
    for limb in range(LIMBS):
        lost = np.zeros(rows, bool)
        for begin in generator.integers(0, rows, size=rows // 4000):  # the radio link breaks now and then
            lost[begin : begin + int(generator.integers(1, 40))] = True
        felt, spun = acceleration[:, limb] @ mounting[limb].T, turn[:, limb] @ mounting[limb].T
        compass = field @ mounting[limb].T
        readings = [(30 + limb + _walk(rows, 2e-3, generator)[:, None], 0)]
        readings.append((felt + generator.normal(0, 0.4, felt.shape), 2))
        readings.append((felt + generator.normal(0, 0.4, felt.shape), 1))
        readings.append((spun + generator.normal(0, 0.1, spun.shape), 2))
        readings.append((compass + generator.normal(0, 1.5, compass.shape), 0))
        readings.append((np.tile([1.0, 0.0, 0.0, 0.0], (rows, 1)), 0))  # orientation: invalid in this recording
        for values, decimals in readings:
            columns += [_text(np.where(lost, np.nan, column), decimals) for column in values.T]
    return columns


def _motion(
    world: World, activity: int, rows: int, tempo: float, strength: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Acceleration in m/s^2 and angular rate in rad/s, both (rows, limbs, 3), of one bout."""
    what = ACTIVITIES[activity]
    rate = what.rhythm * tempo * np.exp(_walk(rows, 1e-3, generator) + generator.normal(0, 0.08))
    phase = 2 * np.pi * (generator.uniform() + np.cumsum(rate) / RATE)
    swell = strength * np.exp(_walk(rows, 3e-3, generator) + generator.normal(0, 0.25))
    acceleration, turn = np.empty((rows, LIMBS, 3)), np.empty((rows, LIMBS, 3))
    for limb in range(LIMBS):
        angle = np.arange(1, 4) * phase[:, None] + world.phase[activity][limb]
        weight = np.array(what.harmonics) * what.amplitudes[limb]
        push = world.direction[activity][limb]
        tilt = np.cumsum(generator.normal(0, 3e-3, (rows, 3)), axis=0) + generator.normal(0, 0.2, 3)
        gravity = 9.81 * _unit(world.gravity[what.posture, limb] + tilt)
        acceleration[:, limb] = gravity + swell[:, None] * ((weight * np.sin(angle)) @ push)
        turn[:, limb] = 0.3 * swell[:, None] * ((weight * np.cos(angle)) @ np.roll(push, 1, axis=1))
    return acceleration, turn


def _walk(rows: int, step: float, generator: np.random.Generator) -> np.ndarray:
    """A slow drift that starts at 0: a random walk, pulled back over some seconds."""
    return _follow(np.cumsum(generator.normal(0, step, rows)), seconds=1)


def _follow(values: np.ndarray, seconds: float) -> np.ndarray:
    """`values` as something inert follows them: the mean over the last `seconds`."""
    span = int(seconds * RATE)
    total = np.cumsum(np.concatenate([np.full(span, values[0]), values]))
    return (total[span:] - total[:-span]) / span


def _rotation(vector: np.ndarray) -> np.ndarray:
    """Rodrigues: the rotation by |vector| radians about `vector`."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def _text(values: np.ndarray, decimals: int) -> pa.Array:
    """Numbers as the shortest text with at most `decimals` decimals, looked up among all that occur; NaN as NaN."""
    missing = np.isnan(values)
    steps = np.where(missing, 0, np.round(values * 10.0**decimals)).astype(np.int64)
    low = int(steps.min())
    words = [f"{step / 10**decimals:.8g}" for step in range(low, int(steps.max()) + 1)]
    places = np.where(missing, len(words), steps - low)
    return pa.array([*words, "NaN"]).take(pa.array(places))
