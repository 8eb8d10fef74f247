"""Checks whether the targets of a split can be evaluated, and whether a probe can learn from them."""

from __future__ import annotations

import numpy as np

from dabs_rq.errors import TrainingError
from dabs_rq.spec import Multiclass, PerToken, Regression, Target


def check_evaluable(targets: np.ndarray | None, target: Target, what: str) -> np.ndarray:
    """Return the targets if they can be evaluated. Raises TrainingError if there are none or a value is illegal.

    what: names the split in the error.
    """
    if targets is None or len(targets) == 0:
        raise TrainingError(f"{what} is empty")
    if isinstance(target, Regression):
        if not np.isfinite(targets).all():
            raise TrainingError(f"{what} has targets that are not finite")
        return targets
    if isinstance(target, PerToken):
        _check_classes(targets, -1, target.classes - 1, what)
        if targets.max() < 0:
            raise TrainingError(f"{what} has no token with a class")
        return targets
    _check_classes(targets, 0, target.classes - 1 if isinstance(target, Multiclass) else 1, what)
    return targets


def _check_classes(targets: np.ndarray, least: int, largest: int, what: str) -> None:
    if not (targets.min() >= least and targets.max() <= largest):
        raise TrainingError(f"{what} has labels {targets.min()} to {targets.max()}; {least} to {largest} expected")


def check_trainable(targets: np.ndarray | None, target: Target, what: str) -> np.ndarray:
    """Return the targets if a probe can learn from them. Raises TrainingError with the reason."""
    of_tokens = isinstance(target, PerToken)
    # Padding that counts in the loss has a class of its own.
    allowed = PerToken(target.classes + 1) if isinstance(target, PerToken) else target
    targets = check_evaluable(targets, allowed, what)
    values = np.unique(targets[targets >= 0] if of_tokens else targets)
    if len(values) < 2:
        kind = "value" if isinstance(target, Regression) else "class"
        raise TrainingError(f"{what} has only one {kind} ({values[0]}): nothing can be learned from it")
    return targets
