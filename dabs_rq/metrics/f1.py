"""Macro F1: the F1 of each class, averaged over the classes that occur among targets or answers."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, answers
from dabs_rq.metrics.classes import class_counts
from dabs_rq.spec import Binary, Multiclass


def f1(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the mean F1 of the classes that occur among targets or answers; of both classes for a Binary target."""
    from sklearn.metrics import f1_score

    return float(f1_score(targets.astype(np.int64), answers(outputs), average="macro", zero_division=0))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.nanmean(class_counts(counts, outputs, targets).f1, axis=1)


METRIC = Metric(name="f1", title="Macro F1", fits=(Multiclass, Binary), compute=f1, resampled=resampled)
