"""Windows of labelled recordings: swept over all of them, or drawn at random.

Knows nothing of a dataset: a reader gives `Recordings` and gets `Examples`, whose windows are slices of its arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dabs_rq.data.columns import Windows
from dabs_rq.data.examples import Examples
from dabs_rq.files import digest

WORKERS = 4  # of DABS's loader, which under torch < 1.9 share one state of numpy's generator


@dataclass(frozen=True)
class Recordings:
    """The subjects of a split, and the stretches of rows that a window may come from.

    series[s]: (rows, columns) float32 of subject `subjects[s]`. stretches: (n, 4) int, one stretch a row: its series,
    class, first row and number of rows. classes: how many there are. key: identity of the arrays.
    """

    subjects: np.ndarray
    series: list[np.ndarray]
    stretches: np.ndarray
    classes: int
    key: str

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (columns,) float64 over the rows of all stretches, NaN left out."""
        count, total, squares = np.zeros((3, self.series[0].shape[1]))
        for which, _, start, length in self.stretches:
            values = self.series[which][start : start + length].astype(np.float64)
            count += np.isfinite(values).sum(axis=0)
            total += np.nansum(values, axis=0)
            squares += np.nansum(values**2, axis=0)
        mean = total / np.maximum(count, 1)
        std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
        # Below the resolution of float32 a column is constant: dividing would only enlarge rounding.
        return mean, np.where(std <= 1e-6 * np.abs(mean), 1.0, std)


@dataclass(frozen=True)
class ScaledWindows(Windows):
    """Windows as (value - mean) / std per column, NaN as 0. `series_key` covers the scale."""

    mean: np.ndarray
    std: np.ndarray

    def take(self, rows: np.ndarray) -> np.ndarray:
        windows = super().take(rows)
        windows -= self.mean.astype(np.float32)  # float64 would be cast to piece by piece, at four times the cost
        windows /= self.std.astype(np.float32)
        windows[np.isnan(windows)] = 0.0
        return windows


@dataclass(frozen=True)
class Sampler:
    """Makes the examples of one split.

    mean, std: (columns,), what windows are scaled by. length: rows of a window. spare: rows that a stretch needs beyond
    them before a window is drawn from it (DABS never draws the last start).
    """

    recordings: Recordings
    mean: np.ndarray
    std: np.ndarray
    length: int
    spare: int = 0
    labelled: bool = True

    @cached_property
    def room(self) -> np.ndarray:
        """How many starts every stretch has."""
        return np.maximum(self.recordings.stretches[:, 3] - self.length - self.spare + 1, 0)

    @cached_property
    def starts(self) -> np.ndarray:
        """How many starts every subject (row) has for every class (column)."""
        starts = np.zeros((len(self.recordings.subjects), self.recordings.classes), np.int64)
        np.add.at(starts, tuple(self.recordings.stretches[:, :2].T), self.room)
        return starts

    def sweep(self) -> Examples:
        """All non-overlapping windows of every stretch, in order of subject and row."""
        counts = self.recordings.stretches[:, 3] // self.length
        stretch = np.repeat(np.arange(len(counts)), counts)
        nth = np.arange(len(stretch)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._examples(stretch, nth * self.length, numbered=False)

    def fresh(self, count: int, seed: int, epoch: int) -> Examples:
        """`count` draws that only (seed, epoch) decides: uniform over the pairs of subject and class that have room for
        a window, which is what redrawing both until they have amounts to; then uniform over the starts."""
        generator = np.random.default_rng([seed, epoch])
        pairs = np.flatnonzero(self.starts)
        pair = pairs[generator.integers(len(pairs), size=count)]
        return self._drawn(pair, generator.integers(self.starts.ravel()[pair]))

    def cloned(self, count: int) -> Examples:
        """`count` draws as workers with one and the same state make them: the first quarter, four times over.

        The state is that of `np.random.seed(0)`, DABS's seed, at every epoch and in every run.
        """
        state = np.random.RandomState(0)
        pair: list[int] = []
        nth: list[int] = []
        while len(pair) < count // WORKERS:
            which, label = state.randint(len(self.starts)), state.randint(self.recordings.classes)
            if self.starts[which, label]:
                pair.append(which * self.recordings.classes + label)
                nth.append(state.randint(self.starts[which, label]))
        return self._drawn(np.tile(pair, WORKERS), np.tile(nth, WORKERS))

    def _drawn(self, pair: np.ndarray, nth: np.ndarray) -> Examples:
        """Start number `nth` among those of `pair`, which is an index into the flat `starts`."""
        which, label = self.recordings.stretches[:, :2].T
        order = np.argsort(which * self.recordings.classes + label, kind="stable")
        ends = np.cumsum(self.room[order])
        flat = self.starts.ravel()
        nth = nth + (np.cumsum(flat) - flat)[pair]
        place = np.searchsorted(ends, nth, side="right")
        return self._examples(order[place], nth - (ends - self.room[order])[place], numbered=True)

    def _examples(self, stretch: np.ndarray, offset: np.ndarray, numbered: bool) -> Examples:
        recordings = self.recordings
        which, label, first, _ = recordings.stretches[stretch].T
        subject, start = recordings.subjects[which], first + offset
        ids = [f"subject{one}/{row}" for one, row in zip(subject.tolist(), start.tolist(), strict=True)]
        if numbered:  # a window may be drawn twice
            ids = [f"{name}#{number}" for number, name in enumerate(ids)]
        windows = ScaledWindows(
            series=recordings.series,
            which=which,
            start=start,
            length=self.length,
            series_key=digest(recordings.key, self.mean.tobytes(), self.std.tobytes()),
            mean=self.mean.astype(np.float32),
            std=self.std.astype(np.float32),
        )
        return Examples(ids, (windows,), targets=label if self.labelled else None, groups=subject)
