"""The area under the ROC curve, averaged over labels."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, Undefined
from dabs_rq.metrics.ties import columns, ties
from dabs_rq.spec import Binary, Multilabel


def auroc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the area under the ROC curve of each label of (n, labels), averaged over labels."""
    from scipy.stats import rankdata

    outputs, targets = columns(outputs), columns(targets)
    if outputs.shape != targets.shape or not np.isin(targets, (0, 1)).all():
        raise ValueError(f"AUROC needs targets of 0 and 1 in the shape of the outputs {outputs.shape}")
    one_sided = [label for label in range(targets.shape[1]) if len(np.unique(targets[:, label])) < 2]
    if one_sided:
        raise Undefined(f"AUROC needs examples with and without each label; labels {one_sided} lack one of them")
    # Mann and Whitney's count: pairs of a positive and a negative in the right order, half of those with equal outputs.
    positive = targets != 0
    count = positive.sum(0).astype(np.float64)
    right = (rankdata(outputs, axis=0) * positive).sum(0) - count * (count + 1) / 2
    return float(np.mean(right / (count * (len(targets) - count))))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    outputs, targets = columns(outputs), columns(targets)
    by_example = np.ascontiguousarray(counts.T)  # so that sorting examples copies whole rows
    labels = []
    for label in range(targets.shape[1]):
        order, starts = ties(outputs[:, label])
        drawn, positive = by_example[order], targets[order, label, None]
        yes, no = drawn * positive, drawn * (1 - positive)
        if len(starts) < len(order):
            yes, no = (np.add.reduceat(each, starts, axis=0) for each in (yes, no))
        below = no.cumsum(0)
        below -= no / 2
        labels.append((yes * below).sum(0) / (yes.sum(0) * no.sum(0)))
    return np.mean(labels, axis=0)


METRIC = Metric(name="auroc", title="Avg. AUROC", fits=(Multilabel, Binary), compute=auroc, resampled=resampled)
