"""What a metric is: a function of the outputs and targets of a split. A file of this folder declares one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dabs_rq.spec import Target


class Undefined(Exception):
    """The metric is undefined for these targets or outputs; the text explains why."""


def suits(target: Any) -> None:
    """Refuse no target."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric. Its value, the score, is a fraction: at most 1, and the larger the better.

    name: that of its file. title: as the table prints it. fits: the kinds of target that it takes. compute: (outputs,
    targets) of a split -> score; raises Undefined. lowest: the lowest possible score. refuses: says why a target of a
    fitting kind has no use of the metric, else None. in_batches: whether DABS averages it over batches, which the
    protocol option `correlation` decides. resampled: computes it on many resamples at once: (counts, outputs, targets)
    -> (resamples,), NaN where it is undefined, with counts (resamples, n) of how often each example was drawn; None if
    it is computed on one resample after another.

    Outputs and targets: (n, classes) and (n,) for Multiclass, (n,) logits and (n,) for Binary, (n, labels) and
    (n, labels) for Multilabel, (n,) and (n,) for Regression, (n, tokens, classes or more) and (n, tokens) for PerToken.
    """

    name: str
    title: str
    fits: tuple[type[Target], ...]
    compute: Callable[[np.ndarray, np.ndarray], float]
    lowest: float = 0.0
    refuses: Callable[[Any], str | None] = suits
    in_batches: bool = False
    resampled: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None


def answers(outputs: np.ndarray) -> np.ndarray:
    """Return the answers (n,): the class of the largest of (n, classes) outputs, or 1 for a logit >= 0."""
    return (outputs >= 0).astype(np.int64) if outputs.ndim == 1 else outputs.argmax(1)


def correct(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mark correct answers: bool (n,)."""
    return answers(outputs) == targets
