"""Pearson's correlation of outputs and targets."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric
from dabs_rq.metrics.correlation import check_varied, resampled_pearson
from dabs_rq.spec import Binary, Regression


def pearson(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Pearson's correlation of outputs (n,) with targets (n,)."""
    check_varied(outputs, targets)
    return float(np.corrcoef(outputs.astype(np.float64), targets.astype(np.float64))[0, 1])


METRIC = Metric(
    name="pearson",
    title="Pearson Corr.",
    fits=(Regression, Binary),
    compute=pearson,
    lowest=-1.0,
    in_batches=True,
    resampled=resampled_pearson,
)
