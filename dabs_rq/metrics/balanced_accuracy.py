"""Balanced accuracy: the accuracy of each class, averaged over the classes of the targets."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, answers
from dabs_rq.metrics.classes import class_counts
from dabs_rq.spec import Binary, Multiclass


def balanced_accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the mean over the classes that occur among targets of the share of their examples answered correctly."""
    from sklearn.metrics import recall_score

    actual = targets.astype(np.int64)  # balanced_accuracy_score warns of answers that are no targets
    return float(recall_score(actual, answers(outputs), labels=np.unique(actual), average="macro", zero_division=0))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    classes = class_counts(counts, outputs, targets)
    return np.nanmean(classes.both / classes.actual, axis=1)


METRIC = Metric(
    name="balanced_accuracy",
    title="Balanced accuracy",
    fits=(Multiclass, Binary),
    compute=balanced_accuracy,
    resampled=resampled,
)
