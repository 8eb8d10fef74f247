"""Checks whether the targets of a split can be evaluated, and whether a probe can learn from them."""

from __future__ import annotations

import numpy as np

from dabs_rq.errors import TrainingError
from dabs_rq.spec import Multiclass, Regression, Target


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
    largest = target.classes - 1 if isinstance(target, Multiclass) else 1
    if not (targets.min() >= 0 and targets.max() <= largest):
        raise TrainingError(f"{what} has labels {targets.min()} to {targets.max()}; 0 to {largest} expected")
    return targets


def check_trainable(targets: np.ndarray | None, target: Target, what: str) -> np.ndarray:
    """Return the targets if a probe can learn from them. Raises TrainingError with the reason."""
    targets = check_evaluable(targets, target, what)
    if len(np.unique(targets)) < 2:
        kind = "value" if isinstance(target, Regression) else "class"
        raise TrainingError(f"{what} has only one {kind} ({targets.flat[0]}): nothing can be learned from it")
    return targets
