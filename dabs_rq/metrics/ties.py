"""Runs of equal values, for metrics that rank examples."""

from __future__ import annotations

import numpy as np


def ties(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that sorts `values`, and the start of each run of equal values in it."""
    order = np.argsort(values, kind="stable")
    return order, np.flatnonzero(np.diff(values[order], prepend=-np.inf))


def columns(values: np.ndarray) -> np.ndarray:
    """Return (n, labels): that of one label has shape (n,)."""
    return values.reshape(len(values), -1)
