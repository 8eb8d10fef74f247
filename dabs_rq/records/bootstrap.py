"""The bootstrap over test examples: computes a metric on many resamples at once, and the spread of its values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dabs_rq.records.metrics import accuracy, of_tokens, tallies
from dabs_rq.spec import MetricName

RESAMPLES = 200


def standard_error(
    metric: MetricName, outputs: np.ndarray, targets: np.ndarray, resamples: int = RESAMPLES
) -> float | None:
    """Estimate the standard error of a score over test splits of this size, as a fraction: binomial for accuracy,
    otherwise, and for accuracies of single tokens, by the bootstrap. Returns None if too few resamples have a score."""
    if metric == "accuracy" and not of_tokens(outputs):
        share = accuracy(outputs, targets)
        return math.sqrt(share * (1 - share) / len(targets))
    error = spread(resampled(metric, outputs, targets, resamples))
    return None if math.isnan(error) else error


def spread(scores: np.ndarray) -> float:
    """Compute the standard deviation of resampled scores (or differences); NaN unless more than half are defined."""
    defined = scores[~np.isnan(scores)]
    return float(np.std(defined, ddof=1)) if len(defined) > max(1, len(scores) / 2) else math.nan


def resampled(metric: MetricName, outputs: np.ndarray, targets: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Compute the metric on bootstrap resamples of the examples: (resamples,), NaN where it is undefined.

    The resamples depend only on the number of examples, so those of two methods on the same split are paired.
    """
    generator, count = np.random.default_rng(0), len(targets)
    scores, block = [], max(1, 1_000_000 // count)
    for start in range(0, resamples, block):
        drawn = [generator.integers(count, size=count) for _ in range(min(block, resamples - start))]
        counts = np.stack([np.bincount(rows, minlength=count) for rows in drawn]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            scores.append(_WEIGHTED[metric](counts, outputs.astype(np.float64), targets.astype(np.float64)))
    return np.concatenate(scores)


# Metrics of all resamples at once; counts (resamples, n) holds how often each example was drawn.


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
    centred = np.broadcast_to(outputs - outputs.mean(), counts.shape)
    return _correlation(counts, centred, np.broadcast_to(targets, counts.shape))


def _spearman(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return _correlation(counts, _ranks(counts, outputs), _ranks(counts, targets))


def _correlation(counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total = counts.sum(1, keepdims=True)
    x, y = (values - (counts * values).sum(1, keepdims=True) / total for values in (first, second))
    squares = [(counts * values**2).sum(1) for values in (x, y)]
    product = np.sqrt(squares[0] * squares[1])
    # Through rounding, constant values have a variance of about this, relative to their magnitude.
    varied = [
        square > 1e-20 * (counts * values**2).sum(1) for square, values in zip(squares, (first, second), strict=True)
    ]
    return np.where(varied[0] & varied[1], (counts * x * y).sum(1) / product, np.nan)


def _ranks(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Compute average ranks within each resample: (resamples, n)."""
    order, starts = _ties(values)
    drawn = np.add.reduceat(counts[:, order], starts, axis=1)
    tie_ranks = drawn.cumsum(1) - drawn + (drawn + 1) / 2
    ranks = np.empty_like(counts)
    ranks[:, order] = np.repeat(tie_ranks, np.diff([*starts, len(values)]), axis=1)
    return ranks


def _ties(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that sorts `values`, and the start of each run of equal values in it."""
    order = np.argsort(values, kind="stable")
    return order, np.flatnonzero(np.diff(values[order], prepend=-np.inf))


def _accuracy(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    right, counted = tallies(outputs, targets)
    return counts @ right / (counts @ counted)


def _matthews(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of answers and targets; 0 if either is constant, as for the metric."""
    return np.nan_to_num(_pearson(counts, (outputs >= 0).astype(np.float64), targets))


_WEIGHTED: dict[MetricName, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "accuracy": _accuracy,
    "auroc": _auroc,
    "pearson": _pearson,
    "spearman": _spearman,
    "matthews": _matthews,
}
