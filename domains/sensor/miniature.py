"""A small made-up PAMAP2 in the native layout and format.

Activities share postures, so a window's mean tells only some of them apart; rhythm must tell the rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from dabs_rq.miniature.writers import Rng, generator, rounded, run

RATE, LIMBS, WINDOW = 100, 3, 320  # Hz; hand, chest, ankle; rows: bouts are a few windows long
# Of every activity: posture (lying, sitting, upright, bent); rhythm in Hz; amplitudes in m/s^2 at hand, chest, ankle;
# weights of once, twice, three times the rhythm; effort from 0 to 1, which drives the heart.
ACTIVITIES = {
    1: (0, 0.25, (0.3, 0.4, 0.1), (1.0, 0.2, 0.0), 0.0),  # lying
    2: (1, 0.30, (0.6, 0.3, 0.1), (1.0, 0.2, 0.0), 0.05),  # sitting
    3: (2, 0.45, (0.7, 0.3, 0.2), (1.0, 0.3, 0.0), 0.1),  # standing
    4: (2, 1.7, (3.0, 2.0, 5.0), (1.0, 0.6, 0.3), 0.35),  # walking
    5: (2, 2.6, (7.0, 5.0, 9.0), (1.0, 0.8, 0.5), 0.9),  # running
    6: (1, 1.2, (0.8, 0.8, 5.0), (1.0, 0.2, 0.1), 0.5),  # cycling
    7: (2, 1.6, (6.0, 2.0, 5.0), (1.0, 0.3, 0.6), 0.5),  # Nordic walking
    12: (2, 1.4, (2.5, 2.0, 4.5), (1.0, 0.9, 0.1), 0.6),  # ascending stairs
    13: (2, 1.9, (3.0, 2.5, 6.0), (0.6, 1.0, 0.8), 0.45),  # descending stairs
    16: (3, 0.8, (4.0, 1.2, 0.8), (1.0, 0.5, 0.4), 0.4),  # vacuum cleaning
    17: (3, 0.7, (3.0, 0.8, 0.3), (1.0, 0.4, 0.2), 0.2),  # ironing
    24: (2, 2.2, (6.0, 6.0, 8.0), (1.0, 0.4, 0.7), 1.0),  # rope jumping
}
SCHEDULE = (1, 2, 3, 17, 16, 12, 13, 12, 13, 4, 7, 6, 5, 24)  # stairs are climbed and descended twice
WINDOWS = {101: 14, 102: 14, 103: 16, 104: 16, 105: 20, 106: 6, 107: 14, 108: 14}  # of every activity of a subject
NEVER_DONE = {103: (5, 7, 24), 104: (24,)}


def write(root: Path, seed: int, processes: int = 1) -> None:
    """Write Protocol/subject101.dat to subject109.dat under `root`; equal seeds give equal bytes."""
    folder = root / "sensor/pamap2/PAMAP2_Dataset/Protocol"
    folder.mkdir(parents=True, exist_ok=True)
    run([(_subject, folder, subject, seed) for subject in range(101, 110)], processes)


def _subject(folder: Path, subject: int, seed: int) -> None:
    """One subject's file: 54 columns separated by one space, no header, NaN for what is missing."""
    bouts = _bouts(subject, rng := generator(seed, subject))
    ids = np.repeat([activity for activity, _ in bouts], [rows for _, rows in bouts])
    rows, number = len(ids), np.arange(len(ids))
    acceleration, turn, effort = _motion(bouts, generator(seed, "activities"), rng)
    heart = rng.uniform(60, 75) + rng.uniform(80, 110) * _follow(effort, seconds=15) + _walk(rng, rows, 0.02)
    columns = [_text(number + 500, 2), _text(ids, 0), _text(np.where(number % 11 == 4, heart, np.nan), 0)]
    for limb in range(LIMBS):
        lost = np.zeros(rows, bool)
        for begin in rng.integers(0, rows, size=rows // 4000):  # the radio link breaks now and then
            lost[begin : begin + int(rng.integers(1, 40))] = True
        mounting = np.eye(3) + rng.normal(0, 0.1, (3, 3))  # how the unit is strapped on
        felt, spun = _mixed(mounting, acceleration[limb]), _mixed(mounting, turn[limb])
        compass = _mixed(mounting, np.stack([level + _walk(rng, rows, 0.004) for level in (25, 0, -35)]))
        orientation = np.repeat([[1.0], [0.0], [0.0], [0.0]], rows, axis=1)  # invalid in this recording
        warm = 30 + limb + _walk(rng, rows, 2e-3)[None]
        motion = ((felt, 2, 0.4), (felt, 1, 0.4), (spun, 2, 0.1), (compass, 0, 1.5))
        readings = ((warm, 2, 0.4), *motion, (orientation, 0, 0))
        for axis, decimals, noise in ((axis, *how) for values, *how in readings for axis in values):
            measured = axis + noise * rng.standard_normal(rows) if noise else axis
            columns.append(_text(np.where(lost, np.nan, measured * 10**decimals), decimals))
    table = pa.table(columns, [str(place) for place in range(len(columns))])
    options = csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    csv.write_csv(table, folder / f"subject{subject}.dat", options)


def _bouts(subject: int, rng: Rng) -> list[tuple[int, int]]:
    """(activity, rows) in the order of recording, with something transient (0) before each."""
    plan = [(3, 250), (24, 16 * WINDOW + 40)]  # of subject 109: too short a stand, then rope jumping
    if subject != 109:
        done = [activity for activity in SCHEDULE if activity not in NEVER_DONE.get(subject, ())]
        windows = [2 if one == 17 else WINDOWS[subject] // SCHEDULE.count(one) for one in done]
        plan = [(one, n * WINDOW + int(rng.integers(1, WINDOW // 2))) for one, n in zip(done, windows, strict=True)]
    return [bout for one in plan for bout in ((0, int(rng.integers(30, 120))), one)]


def _motion(bouts: list[tuple[int, int]], shared: Rng, rng: Rng) -> list[np.ndarray]:
    """Acceleration in m/s^2 and angular rate in rad/s, both (limbs, 3, rows), and the effort (rows,). shared: what all
    subjects have in common: where gravity points in a posture, where each harmonic of an activity pushes and when."""
    gravity, common = _unit(shared.normal(size=(4, LIMBS, 3))), shared.normal(size=(LIMBS, 3, 3))
    pushes = {one: _unit(common + 0.4 * shared.normal(size=(LIMBS, 3, 3))) for one in ACTIVITIES}
    delays = {one: shared.uniform(0, 2 * np.pi, (LIMBS, 3, 1)) for one in ACTIVITIES}
    tempo, strength = np.exp(rng.normal(0, (0.06, 0.15)))
    parts = []
    for activity, rows in bouts:
        shown = activity or int(rng.choice(list(ACTIVITIES)))  # in transit one does a little of something
        posture, rhythm, amplitudes, harmonics, exertion = ACTIVITIES[shown]
        rate = rhythm * tempo * np.exp(_walk(rng, rows, 1e-3) + rng.normal(0, 0.08))
        swell = strength * np.exp(_walk(rng, rows, 3e-3) + rng.normal(0, 0.25))
        phase = 2 * np.pi * (rng.uniform() + np.cumsum(rate) / RATE)
        both = np.empty((2, LIMBS, 3, rows))
        for limb, push in enumerate(pushes[shown]):
            angle = np.arange(1, 4)[:, None] * phase + delays[shown][limb]
            weight = np.array(harmonics)[:, None] * amplitudes[limb] * swell
            tilt = np.cumsum(rng.normal(0, 3e-3, (3, rows)), axis=1) + rng.normal(0, 0.2, (3, 1))
            down = 9.81 * _unit(gravity[posture, limb][:, None] + tilt, axis=0)
            both[0, limb] = down + _mixed(push.T, weight * np.sin(angle))
            both[1, limb] = 0.3 * _mixed(np.roll(push, 1, axis=1).T, weight * np.cos(angle))
        parts.append((*both, np.full(rows, exertion)))
    return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


def _unit(vectors: np.ndarray, axis: int = -1) -> np.ndarray:
    return vectors / np.sqrt((vectors**2).sum(axis=axis, keepdims=True))


def _mixed(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """`matrix` (3, 3) times `vectors` (3, rows)."""
    return np.stack([row[0] * vectors[0] + row[1] * vectors[1] + row[2] * vectors[2] for row in matrix])


def _walk(rng: Rng, rows: int, step: float) -> np.ndarray:
    """A slow drift that starts at 0: a random walk, pulled back over some seconds."""
    return _follow(np.cumsum(rng.normal(0, step, rows)), seconds=1)


def _follow(values: np.ndarray, seconds: float) -> np.ndarray:
    """`values` as something inert follows them: the mean over the last `seconds`."""
    span = int(seconds * RATE)
    total = np.cumsum(np.concatenate([np.full(span, values[0]), values]))
    return (total[span:] - total[:-span]) / span


def _text(steps: np.ndarray, decimals: int) -> pa.Array:
    """Numbers in steps of the last of their `decimals`, as the shortest text, looked up among all there are, or NaN."""
    whole = rounded(np.where(missing := np.isnan(steps), 0, steps)).round().astype(np.int64)
    low = int(whole.min())
    words = [f"{step / 10**decimals:.8g}" for step in range(low, int(whole.max()) + 1)]
    return pa.array([*words, "NaN"]).take(pa.array(np.where(missing, len(words), whole - low)))
