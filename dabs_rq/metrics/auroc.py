"""The area under the ROC curve, averaged over labels."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, Undefined
from dabs_rq.metrics.ties import columns, ties
from dabs_rq.spec import Binary, Multilabel


def auroc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the area under the ROC curve of each label of (n, labels), averaged over labels."""
    from sklearn.metrics import roc_auc_score

    outputs, targets = columns(outputs), columns(targets)
    one_sided = [label for label in range(targets.shape[1]) if len(np.unique(targets[:, label])) < 2]
    if one_sided:
        raise Undefined(f"AUROC needs examples with and without each label; labels {one_sided} lack one of them")
    return float(roc_auc_score(targets, outputs, average="macro"))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    outputs, targets = columns(outputs), columns(targets)
    labels = []
    for label in range(targets.shape[1]):
        order, starts = ties(outputs[:, label])
        drawn, positive = counts[:, order], targets[order, label]
        yes = np.add.reduceat(drawn * positive, starts, axis=1)
        no = np.add.reduceat(drawn * (1 - positive), starts, axis=1)
        below = no.cumsum(1) - no
        labels.append((yes * (below + no / 2)).sum(1) / (yes.sum(1) * no.sum(1)))
    return np.mean(labels, axis=0)


METRIC = Metric(name="auroc", title="Avg. AUROC", fits=(Multilabel, Binary), compute=auroc, resampled=resampled)
