"""Top-5 accuracy: the share of examples whose class is among the five with the largest outputs."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric
from dabs_rq.spec import Multiclass

TOP = 5


def among_top(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mark the examples whose class is among the five largest of (n, classes) outputs: bool (n,). Of equal outputs the
    first counts as larger."""
    classes = targets.astype(np.int64)[:, None]
    own = np.take_along_axis(outputs, classes, axis=1)
    larger = (outputs > own) | ((outputs == own) & (np.arange(outputs.shape[1]) < classes))
    return larger.sum(1) < TOP


def accuracy_top5(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the share of examples whose class is among the five largest outputs."""
    return float(among_top(outputs, targets).mean())


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return counts @ among_top(outputs, targets) / counts.sum(1)


def refuses(target: Multiclass) -> str | None:
    return f"with {target.classes} classes it is always 1; it needs more than {TOP}" if target.classes <= TOP else None


METRIC = Metric(
    name="accuracy_top5",
    title="Top-5 accuracy",
    fits=(Multiclass,),
    compute=accuracy_top5,
    refuses=refuses,
    resampled=resampled,
)
