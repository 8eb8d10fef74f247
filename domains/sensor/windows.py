"""Windows of labelled recordings: a sweep over all rows, or random draws.

Independent of the dataset: a reader passes `Recordings` and gets `Examples`, whose windows are slices of the arrays.
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
    """The subjects of a split, and the stretches of rows that windows may come from.

    series[s]: (rows, columns) float32 of subject `subjects[s]`. stretches: (n, 4) int, a stretch per row: its series,
    class, first row and number of rows. classes: the number of classes. key: identity of the arrays.
    """

    subjects: np.ndarray
    series: list[np.ndarray]
    stretches: np.ndarray
    classes: int
    key: str

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute mean and standard deviation, (columns,) float64, over the rows of all stretches, ignoring NaN."""
        count, total, squares = np.zeros((3, self.series[0].shape[1]))
        for which, _, start, length in self.stretches:
            values = self.series[which][start : start + length].astype(np.float64)
            count += np.isfinite(values).sum(axis=0)
            total += np.nansum(values, axis=0)
            squares += np.nansum(values**2, axis=0)
        mean = total / np.maximum(count, 1)
        std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
        # A deviation below the resolution of float32 means a constant column: dividing would only amplify rounding.
        return mean, np.where(std <= 1e-6 * np.abs(mean), 1.0, std)


@dataclass(frozen=True)
class ScaledWindows(Windows):
    """Windows as (value - mean) / std per column, NaN as 0. series_key: includes mean and std."""

    mean: np.ndarray
    std: np.ndarray

    def take(self, rows: np.ndarray) -> np.ndarray:
        windows = super().take(rows)
        windows -= self.mean.astype(np.float32)  # mixed types would cast element by element, at four times the cost
        windows /= self.std.astype(np.float32)
        windows[np.isnan(windows)] = 0.0
        return windows


@dataclass(frozen=True)
class Sampler:
    """Makes the examples of one split.

    mean, std: (columns,), for scaling. length: rows of a window. spare: rows that a stretch needs beyond `length` for a
    window to be drawn from it (DABS never draws the last start).
    """

    recordings: Recordings
    mean: np.ndarray
    std: np.ndarray
    length: int
    spare: int = 0
    labelled: bool = True

    @cached_property
    def start_counts(self) -> np.ndarray:
        """The number of possible starts in every stretch."""
        return np.maximum(self.recordings.stretches[:, 3] - self.length - self.spare + 1, 0)

    @cached_property
    def starts(self) -> np.ndarray:
        """The number of possible starts of every subject (row) for every class (column)."""
        starts = np.zeros((len(self.recordings.subjects), self.recordings.classes), np.int64)
        np.add.at(starts, tuple(self.recordings.stretches[:, :2].T), self.start_counts)
        return starts

    def sweep(self) -> Examples:
        """Take all non-overlapping windows of every stretch, in order of subject and row."""
        counts = self.recordings.stretches[:, 3] // self.length
        stretch = np.repeat(np.arange(len(counts)), counts)
        nth = np.arange(len(stretch)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._examples(stretch, nth * self.length, numbered=False)

    def fresh(self, count: int, seed: int, epoch: int) -> Examples:
        """Draw `count` windows by (seed, epoch): uniformly among the pairs of subject and class with room for a window,
        then uniformly among the starts. This equals redrawing subject and class until a window fits."""
        generator = np.random.default_rng([seed, epoch])
        pairs = np.flatnonzero(self.starts)
        pair = pairs[generator.integers(len(pairs), size=count)]
        return self._drawn(pair, generator.integers(self.starts.ravel()[pair]))

    def cloned(self, count: int) -> Examples:
        """Draw `count` windows as four workers with the same random state do: a quarter of them, repeated four times.

        The state is that of `np.random.seed(0)`, DABS's seed, in every epoch and run.
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
        """Return the windows at start number `nth` of each `pair`, an index into the flattened `starts`."""
        which, label = self.recordings.stretches[:, :2].T
        order = np.argsort(which * self.recordings.classes + label, kind="stable")
        ends = np.cumsum(self.start_counts[order])
        flat = self.starts.ravel()
        nth = nth + (np.cumsum(flat) - flat)[pair]
        place = np.searchsorted(ends, nth, side="right")
        return self._examples(order[place], nth - (ends - self.start_counts[order])[place], numbered=True)

    def _examples(self, stretch: np.ndarray, offset: np.ndarray, numbered: bool) -> Examples:
        recordings = self.recordings
        which, label, first, _ = recordings.stretches[stretch].T
        subject, start = recordings.subjects[which], first + offset
        ids = [f"subject{number}/{row}" for number, row in zip(subject.tolist(), start.tolist(), strict=True)]
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
