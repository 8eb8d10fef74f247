"""Weighted F1: the F1 of each class, averaged with the numbers of its examples."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, answers
from dabs_rq.metrics.classes import class_counts
from dabs_rq.spec import Binary, Multiclass


def f1_weighted(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the mean F1 of the classes, weighted by how many targets are of each. As torchmetrics 0.6.2's F1 with
    average="weighted"."""
    from sklearn.metrics import f1_score

    return float(f1_score(targets.astype(np.int64), answers(outputs), average="weighted", zero_division=0))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    classes = class_counts(counts, outputs, targets)
    return np.nansum(classes.f1 * classes.actual, axis=1) / classes.actual.sum(1)


METRIC = Metric(
    name="f1_weighted",
    title="Weighted F1",
    fits=(Multiclass, Binary),
    compute=f1_weighted,
    in_batches=True,
    resampled=resampled,
)
