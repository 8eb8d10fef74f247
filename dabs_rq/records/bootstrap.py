"""The bootstrap over test examples: computes a metric on many resamples at once, and the spread of its values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from dabs_rq import metrics
from dabs_rq.metrics.accuracy import accuracy
from dabs_rq.metrics.base import Undefined
from dabs_rq.records.metrics import resampled_scores, score

RESAMPLES = 200
BLOCK = 1_000_000  # examples that are drawn at once, in all resamples together


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
    found, scores = metrics.metric(metric), []
    for counts, drawn in _resamples(len(targets), resamples):
        if found.resampled is None:
            scores.append(np.array([_one(metric, outputs[rows], targets[rows]) for rows in drawn]))
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            real = (each.astype(np.float64) for each in (outputs, targets))
            scores.append(resampled_scores(found, found.resampled, counts, *real))
    return np.concatenate(scores)


def _resamples(count: int, resamples: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Return blocks of resamples of `count` examples: (how often each is drawn, the drawn rows), both (block, count).
    Records of one split need the same, so those of a single block are drawn once."""
    block = max(1, BLOCK // count)
    if block >= resamples:
        return (_single_block(count, resamples),)
    return _blocks(count, resamples, block)


@lru_cache(maxsize=2)
def _single_block(count: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    (only,) = _blocks(count, resamples, resamples)
    for values in only:
        values.setflags(write=False)
    return only


def _blocks(count: int, resamples: int, block: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    for start in range(0, resamples, block):
        drawn = np.stack([generator.integers(count, size=count) for _ in range(min(block, resamples - start))])
        yield np.stack([np.bincount(rows, minlength=count) for rows in drawn]).astype(np.float64), drawn


def _one(metric: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    try:
        return score(metric, outputs, targets)
    except Undefined:
        return math.nan
