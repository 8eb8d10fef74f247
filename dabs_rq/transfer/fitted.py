"""Shared by the two linear probes: the interface of a fitted probe, and the loss."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from dabs_rq.spec import Binary, Multiclass, Multilabel, PerToken, Target


class Fitted(Protocol):
    """A fitted probe. about: how it was fitted, for the record."""

    about: dict[str, Any]

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """Compute raw outputs of features (n, D), float32: (n, outputs), or (n,) for a single output; or of
        features of tokens (n, S, D): (n, S, outputs)."""


def probe_loss(target: Target, outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the loss of a target kind: cross entropy, binary cross entropy or squared error."""
    if isinstance(target, Multiclass):
        return F.cross_entropy(outputs, targets.long())
    if isinstance(target, PerToken):
        return F.cross_entropy(outputs.flatten(0, 1), targets.long().flatten(), ignore_index=-1)
    if isinstance(target, Multilabel):
        return F.binary_cross_entropy_with_logits(outputs, targets.float())
    if isinstance(target, Binary):
        return F.binary_cross_entropy_with_logits(outputs.squeeze(1), targets.float())
    return F.mse_loss(outputs.squeeze(1), targets.float())
