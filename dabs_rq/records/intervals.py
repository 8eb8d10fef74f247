"""Uncertainty of scores and of their differences: over seeds where there are several, else over test examples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dabs_rq.records import record
from dabs_rq.records.metrics import METRICS, Undefined, correct
from dabs_rq.spec import MetricName

RESAMPLES = 200


def interval(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of `values`, one per seed: Student's t over seeds, or for one seed the normal one
    of its standard error over test examples."""
    mean = statistics.mean(values)
    if len(values) == 1:
        half = 1.96 * errors[0]
    else:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def difference_error(metric: MetricName, first: Path, second: Path, resamples: int = RESAMPLES) -> float:
    """The standard error of the difference of two records' scores, a fraction, over test examples: paired where both
    scored the same ones, by a seeded bootstrap where the metric is no mean over examples."""
    one, other = record.predictions(first), record.predictions(second)
    if one.ids != other.ids or not np.array_equal(one.targets, other.targets):
        return math.hypot(*(record.read(file).standard_error or math.nan for file in (first, second)))
    targets = one.targets
    if metric == "accuracy":
        difference = correct(other.outputs, targets).astype(float) - correct(one.outputs, targets)
        return float(difference.std() / math.sqrt(len(difference)))
    scores = [resampled(metric, outputs, targets, resamples) for outputs in (one.outputs, other.outputs)]
    return spread(scores[1] - scores[0])


def spread(scores: np.ndarray) -> float:
    """The standard deviation of resampled scores (or differences); NaN where less than half of them are defined."""
    defined = scores[~np.isnan(scores)]
    return float(np.std(defined, ddof=1)) if len(defined) > max(1, len(scores) / 2) else math.nan


def resampled(metric: MetricName, outputs: np.ndarray, targets: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples,) the metric of bootstrap resamples of the examples, NaN where it is undefined. The resamples depend
    on the number of examples alone: those of two methods on the same split are paired."""
    generator, count = np.random.default_rng(0), len(targets)
    weighted = _WEIGHTED.get(metric)
    if weighted is None:
        return np.array([_score(metric, outputs, targets, generator) for _ in range(resamples)])
    found, block = [], max(1, 1_000_000 // count)
    for start in range(0, resamples, block):
        drawn = [generator.integers(count, size=count) for _ in range(min(block, resamples - start))]
        counts = np.stack([np.bincount(rows, minlength=count) for rows in drawn]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(weighted(counts, outputs.astype(np.float64), targets.astype(np.float64)))
    return np.concatenate(found)


def _score(metric: MetricName, outputs: np.ndarray, targets: np.ndarray, generator: np.random.Generator) -> float:
    rows = generator.integers(len(targets), size=len(targets))
    try:
        return METRICS[metric].compute(outputs[rows], targets[rows])
    except Undefined:
        return math.nan


# Metrics of all resamples at once; counts (resamples, n) says how often each example was drawn.


def _auroc(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    labels = []
    for label in range(targets.shape[1]):
        order, starts = _ties(outputs[:, label])
        drawn, positive = counts[:, order], targets[order, label]
        yes = np.add.reduceat(drawn * positive, starts, axis=1)
        no = np.add.reduceat(drawn * (1 - positive), starts, axis=1)
        below = no.cumsum(1) - no
        labels.append((yes * (below + no / 2)).sum(1) / (yes.sum(1) * no.sum(1)))
    return np.mean(labels, axis=0)


def _pearson(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    every = np.broadcast_to(outputs - outputs.mean(), counts.shape), np.broadcast_to(targets, counts.shape)
    return _correlation(counts, *every)


def _spearman(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return _correlation(counts, _ranks(counts, outputs), _ranks(counts, targets))


def _correlation(counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total = counts.sum(1, keepdims=True)
    one, other = (values - (counts * values).sum(1, keepdims=True) / total for values in (first, second))
    squares = [(counts * values**2).sum(1) for values in (one, other)]
    product = np.sqrt(squares[0] * squares[1])
    # Rounding leaves constant values a variance of about this, relative to their size.
    varied = [part > 1e-20 * (counts * values**2).sum(1) for part, values in zip(squares, (first, second), strict=True)]
    return np.where(varied[0] & varied[1], (counts * one * other).sum(1) / product, np.nan)


def _ranks(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(resamples, n) average ranks inside each resample."""
    order, starts = _ties(values)
    drawn = np.add.reduceat(counts[:, order], starts, axis=1)
    of_ties = drawn.cumsum(1) - drawn + (drawn + 1) / 2
    ranks = np.empty_like(counts)
    ranks[:, order] = np.repeat(of_ties, np.diff([*starts, len(values)]), axis=1)
    return ranks


def _ties(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts `values`, and where in it each run of equal ones starts."""
    order = np.argsort(values, kind="stable")
    return order, np.flatnonzero(np.diff(values[order], prepend=-np.inf))


_WEIGHTED: dict[MetricName, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "auroc": _auroc,
    "pearson": _pearson,
    "spearman": _spearman,
}
