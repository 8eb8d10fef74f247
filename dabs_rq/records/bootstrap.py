"""The bootstrap over test examples: computes a metric on many resamples at once, and the spread of its values."""

from __future__ import annotations

import math

import numpy as np

from dabs_rq import metrics
from dabs_rq.metrics.accuracy import accuracy
from dabs_rq.metrics.base import Undefined
from dabs_rq.records.metrics import resampled_scores, score

RESAMPLES = 200


def standard_error(metric: str, outputs: np.ndarray, targets: np.ndarray, resamples: int = RESAMPLES) -> float | None:
    """Estimate the standard error of a score over test splits of this size, as a fraction: binomial for accuracy,
    otherwise by the bootstrap. Returns None if too few resamples have a score."""
    if metric == "accuracy":
        share = accuracy(outputs, targets)
        return math.sqrt(share * (1 - share) / len(targets))
    error = spread(resampled(metric, outputs, targets, resamples))
    return None if math.isnan(error) else error


def spread(scores: np.ndarray) -> float:
    """Compute the standard deviation of resampled scores (or differences); NaN unless more than half are defined."""
    defined = scores[~np.isnan(scores)]
    return float(np.std(defined, ddof=1)) if len(defined) > max(1, len(scores) / 2) else math.nan


def resampled(metric: str, outputs: np.ndarray, targets: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Compute the metric on bootstrap resamples of the examples: (resamples,), NaN where it is undefined.

    The resamples depend only on the number of examples, so those of two methods on the same split are paired.
    """
    generator, count = np.random.default_rng(0), len(targets)
    found = metrics.metric(metric)
    scores, block = [], max(1, 1_000_000 // count)
    for start in range(0, resamples, block):
        drawn = [generator.integers(count, size=count) for _ in range(min(block, resamples - start))]
        if found.resampled is None:
            scores.append(np.array([_one(metric, outputs[rows], targets[rows]) for rows in drawn]))
            continue
        counts = np.stack([np.bincount(rows, minlength=count) for rows in drawn]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            real = (each.astype(np.float64) for each in (outputs, targets))
            scores.append(resampled_scores(found, found.resampled, counts, *real))
    return np.concatenate(scores)


def _one(metric: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    try:
        return score(metric, outputs, targets)
    except Undefined:
        return math.nan
