"""Matthews' correlation of answers and targets."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, answers
from dabs_rq.metrics.correlation import resampled_pearson
from dabs_rq.spec import Binary


def matthews(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Matthews' correlation of the answers of logits (n,) with 0/1 targets (n,), as GLUE does for CoLA."""
    from sklearn.metrics import matthews_corrcoef

    said = answers(outputs)
    if np.ptp(said) == 0 or np.ptp(targets) == 0:
        return 0.0  # as scikit-learn, which would warn
    return float(matthews_corrcoef(targets, said))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of answers and targets; 0 if either is constant, as for the metric."""
    return np.nan_to_num(resampled_pearson(counts, answers(outputs).astype(np.float64), targets))


METRIC = Metric(
    name="matthews", title="Matthews Corr.", fits=(Binary,), compute=matthews, lowest=-1.0, resampled=resampled
)
