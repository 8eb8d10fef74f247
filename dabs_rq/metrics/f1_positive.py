"""F1 of the answer yes."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, Undefined, answers
from dabs_rq.spec import Binary


def f1_positive(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the F1 of yes from logits (n,) and 0/1 targets (n,), as GLUE does for MRPC and QQP."""
    from sklearn.metrics import f1_score

    if not (answers(outputs).any() or targets.any()):
        raise Undefined("F1 of yes needs a target or an answer that is yes; there is none")
    return float(f1_score(targets.astype(np.int64), answers(outputs), zero_division=0))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    yes, positive = answers(outputs), targets == 1
    return 2 * (counts @ (yes & positive)) / (counts @ yes + counts @ positive)


METRIC = Metric(name="f1_positive", title="F1 of yes", fits=(Binary,), compute=f1_positive, resampled=resampled)
