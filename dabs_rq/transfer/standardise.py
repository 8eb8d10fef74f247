"""Standardises features by the mean and the spread of the training split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_CONSTANT = 1e-5  # a feature whose spread is a smaller part of its mean is rounding


class Standardiser(NamedTuple):
    """mean, scale: (D,), double precision. A constant feature becomes 0 (its scale is infinite)."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Standardiser:
        """Measure the mean and the standard deviation of each of the features (n, D)."""
        mean, deviation = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
        return cls(mean, np.where(deviation <= _CONSTANT * np.abs(mean), np.inf, deviation))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Standardise features (..., D); returns double precision."""
        return (features - self.mean) / self.scale
