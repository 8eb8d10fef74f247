"""Uncertainty of scores and of their differences: over seeds if there are several, else over test examples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dabs_rq.metrics.base import correct
from dabs_rq.records import record
from dabs_rq.records.bootstrap import RESAMPLES, resampled, spread


def interval(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Compute the 95 % interval of the mean of `values`, one per seed: Student's t over seeds, or for one seed the
    normal interval from its standard error over test examples (`errors`)."""
    mean = statistics.mean(values)
    if len(values) == 1:
        half = 1.96 * errors[0]
    else:
        from scipy.special import stdtrit  # scipy.stats takes longer to import than a table's intervals

        half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def difference_error(metric: str, first: Path, second: Path, resamples: int = RESAMPLES) -> float:
    """Compute the standard error of the difference of two records' scores, as a fraction, over test examples.

    The estimate is paired if both records have the same test examples. It is a seeded bootstrap unless the metric is a
    mean over examples.
    """
    a, b = record.predictions(first), record.predictions(second)
    if a.ids != b.ids or not np.array_equal(a.targets, b.targets):
        return math.hypot(*(record.read(file).standard_error or math.nan for file in (first, second)))
    targets = a.targets
    if metric == "accuracy":
        difference = correct(b.outputs, targets).astype(float) - correct(a.outputs, targets)
        return float(difference.std() / math.sqrt(len(difference)))
    scores = [resampled(metric, outputs, targets, resamples) for outputs in (a.outputs, b.outputs)]
    return spread(scores[1] - scores[0])
