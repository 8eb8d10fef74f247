"""What the correlations share."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Undefined


def check_varied(outputs: np.ndarray, targets: np.ndarray) -> None:
    for name, values in (("outputs", outputs), ("targets", targets)):
        if len(values) < 2 or np.ptp(values) == 0:
            raise Undefined(f"a correlation needs {name} that vary; these {len(values)} are constant")


def resampled_correlation(counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation in each resample of values (resamples, n); NaN if either is constant there."""
    total = counts.sum(1, keepdims=True)
    x, y = (values - (counts * values).sum(1, keepdims=True) / total for values in (first, second))
    squares = [(counts * values**2).sum(1) for values in (x, y)]
    product = np.sqrt(squares[0] * squares[1])
    # Through rounding, constant values have a variance of about this, relative to their magnitude.
    varied = [
        square > 1e-20 * (counts * values**2).sum(1) for square, values in zip(squares, (first, second), strict=True)
    ]
    return np.where(varied[0] & varied[1], (counts * x * y).sum(1) / product, np.nan)


def resampled_pearson(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    centred = np.broadcast_to(outputs - outputs.mean(), counts.shape)
    return resampled_correlation(counts, centred, np.broadcast_to(targets, counts.shape))
