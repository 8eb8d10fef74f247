"""R2: the share of the targets' variance that the outputs explain."""

from __future__ import annotations

import math

import numpy as np

from dabs_rq.metrics.base import Metric, Undefined
from dabs_rq.spec import Regression


def r2(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the coefficient of determination of outputs (n,) for targets (n,): 0 for the mean of the targets, below
    0 for worse outputs."""
    from sklearn.metrics import r2_score

    if len(targets) < 2 or np.ptp(targets) == 0:
        raise Undefined(f"R2 needs targets that vary; these {len(targets)} are constant")
    return float(r2_score(targets.astype(np.float64), outputs.astype(np.float64)))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    # Centred first, so that a large common part does not cost digits.
    centred = targets - targets.mean()
    means = counts @ centred / counts.sum(1)
    around = (counts * (centred - means[:, None]) ** 2).sum(1)
    varied = np.array([np.ptp(targets[row > 0]) > 0 for row in counts])
    return np.where(varied, 1 - counts @ (targets - outputs) ** 2 / around, np.nan)


METRIC = Metric(name="r2", title="R2", fits=(Regression,), compute=r2, lowest=-math.inf, resampled=resampled)
