"""Accuracy of single tokens: the share of the tokens with a class whose answer is correct."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, Undefined
from dabs_rq.spec import PerToken


def token_accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the share of correct answers among the tokens that have a class (a target of 0 or more)."""
    right, counted = _tallies(outputs, targets)
    if not counted.any():
        raise Undefined("an accuracy of tokens needs tokens that have a class; there are none")
    return float(right.sum() / counted.sum())


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    right, counted = _tallies(outputs, targets)
    return counts @ right / (counts @ counted)


def _tallies(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many tokens of each example have a correct answer, and how many a class: both (n,)."""
    counted = targets >= 0
    return (counted & (outputs.argmax(2) == targets)).sum(1), counted.sum(1)


METRIC = Metric(
    name="token_accuracy",
    title="Accuracy per token",
    fits=(PerToken,),
    compute=token_accuracy,
    in_batches=True,
    resampled=resampled,
)
