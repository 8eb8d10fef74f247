"""Counts per class, from which the metrics of classes follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dabs_rq.metrics.base import answers


class ClassCounts(NamedTuple):
    """How many examples of each resample are of a class, are answered with it, and both: (resamples, classes) each.
    The classes are those that occur among targets or answers."""

    actual: np.ndarray
    answered: np.ndarray
    both: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """F1 of each class: (resamples, classes); NaN for a class that occurs neither among targets nor answers."""
        return 2 * self.both / (self.actual + self.answered)


def class_counts(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> ClassCounts:
    """Count the classes of all resamples at once. counts: (resamples, n), how often each example was drawn."""
    from scipy.sparse import csr_array

    answered, actual = answers(outputs), targets.astype(np.int64)
    classes, columns = np.unique(np.concatenate([actual, answered]), return_inverse=True)
    of_targets, of_answers = columns[: len(actual)], columns[len(actual) :]

    def count(of: np.ndarray, weights: np.ndarray) -> np.ndarray:
        one_hot = csr_array((weights, (of, np.arange(len(of)))), shape=(len(classes), len(of)))
        return np.asarray(one_hot @ counts.T).T

    every = np.ones(len(actual))
    return ClassCounts(
        count(of_targets, every), count(of_answers, every), count(of_targets, (answered == actual).astype(np.float64))
    )
