"""Probes of single tokens: which rows they learn from, and how a probe of rows is applied to whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dabs_rq.data.examples import Examples
from dabs_rq.domain import Task
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import EncoderError
from dabs_rq.spec import Multiclass, PerToken, Target
from dabs_rq.transfer.fitted import Fitted

SEQUENCES = 256  # whose outputs are computed at a time


def takes(target: Target, encoder: Encoder) -> bool:
    """Return whether the encoder gives the features that the target needs."""
    return encoder.gives_token_features or not isinstance(target, PerToken)


def probed(tasks: Sequence[Task], encoder: Encoder, name: str) -> list[Task]:
    """Return the tasks that the encoder has features for; say which are left out. Raises EncoderError if none is left.

    name: of the encoder's column.
    """
    kept = [task for task in tasks if takes(task.target, encoder)]
    if left_out := [task.name for task in tasks if task not in kept]:
        reason = f"{', '.join(left_out)} needs a feature of each token, and {name} gives one feature of the whole input"
        if not kept:
            raise EncoderError(f"{reason}. Choose other tasks, or a network with `token_features`")
        print(f"  left out: {reason}", flush=True)
    return kept


def check_length(target: Target, features: np.ndarray, examples: Examples, name: str) -> None:
    """Raise EncoderError unless each token of a `PerToken` target has a feature. name: of the encoder's column."""
    if isinstance(target, PerToken) and examples.targets is not None and features.shape[:2] != examples.targets.shape:
        raise EncoderError(
            f"{name} gives features of {features.shape[1]} tokens per example, and the targets are of "
            f"{examples.targets.shape[1]}"
        )


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
