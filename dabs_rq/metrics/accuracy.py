"""Accuracy: the share of correct answers."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, correct
from dabs_rq.spec import Binary, Multiclass


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the share of correct answers."""
    return float(correct(outputs, targets).mean())


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return counts @ correct(outputs, targets) / counts.sum(1)


METRIC = Metric(name="accuracy", title="Accuracy", fits=(Multiclass, Binary), compute=accuracy, resampled=resampled)
