"""Probes of single tokens: which rows they learn from, and how a probe of rows is applied to whole sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dabs_rq.encoders.base import Encoder
from dabs_rq.spec import Multiclass, PerToken, Target
from dabs_rq.transfer.fitted import Fitted

SEQUENCES = 256  # whose outputs are computed at a time


def takes(target: Target, encoder: Encoder) -> bool:
    """Return whether the encoder gives the features that the target needs."""
    return encoder.gives_token_features or not isinstance(target, PerToken)


class Rows(NamedTuple):
    """What a probe of rows is fitted to. features: (N, D). targets: (N,) or as the target says. groups: (N,) int.
    metric: scores outputs of rows."""

    features: np.ndarray
    targets: np.ndarray
    groups: np.ndarray | None
    target: Target
    metric: str


def rows(features: np.ndarray, targets: np.ndarray, groups: np.ndarray | None, target: Target, metric: str) -> Rows:
    """Return the rows behind the features of a split: its examples, or for a `PerToken` target the tokens that have a
    class. Those of one example, or of its group, are one group."""
    if not isinstance(target, PerToken):
        return Rows(features, targets, groups, target, metric)
    counted = targets >= 0
    sequences = np.arange(len(targets)) if groups is None else groups
    classes = max(target.classes, int(targets.max()) + 1)  # one more if padding counts in the loss
    repeated = np.repeat(sequences, counted.sum(1))
    return Rows(features[counted], targets[counted], repeated, Multiclass(classes), "accuracy")


def spaced(features: np.ndarray, targets: np.ndarray, target: Target, most: int) -> np.ndarray:
    """Return at most `most` rows (N, D) of the features of a split, evenly spaced: of examples, or of the tokens that
    have a class."""
    flat = features.reshape(-1, features.shape[-1])
    counted = np.flatnonzero(targets.ravel() >= 0) if isinstance(target, PerToken) else np.arange(len(flat))
    return flat[counted[np.unique(np.linspace(0, len(counted) - 1, most).astype(int))]]


@dataclass
class OfTokens:
    """A probe of rows, applied to the features (n, S, D) of whole sequences."""

    fitted: Fitted
    about: dict[str, Any]

    def outputs(self, features: np.ndarray) -> np.ndarray:
        count, length, width = features.shape
        parts = [
            self.fitted.outputs(features[start : start + SEQUENCES].reshape(-1, width))
            for start in range(0, count, SEQUENCES)
        ]
        return np.concatenate(parts).reshape(count, length, -1)
