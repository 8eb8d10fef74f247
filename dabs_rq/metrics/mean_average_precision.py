"""Mean average precision: the average precision of each label, averaged over labels."""

from __future__ import annotations

import numpy as np

from dabs_rq.metrics.base import Metric, Undefined
from dabs_rq.metrics.ties import ties
from dabs_rq.spec import Multilabel


def mean_average_precision(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the mean over labels of (n, labels) of the precision at each step of recall, without interpolation."""
    from sklearn.metrics import average_precision_score

    if len(without := np.flatnonzero(targets.sum(0) == 0)):
        raise Undefined(f"average precision needs an example with each label; labels {without.tolist()} have none")
    return float(average_precision_score(targets, outputs, average="macro"))


def resampled(counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    labels = []
    for label in range(targets.shape[1]):
        order, starts = ties(-outputs[:, label])
        drawn = counts[:, order]
        yes = np.add.reduceat(drawn * targets[order, label], starts, axis=1)
        every = np.add.reduceat(drawn, starts, axis=1).cumsum(1)
        precision = yes.cumsum(1) / np.maximum(every, 1)  # none drawn yet: no step of recall either
        labels.append((yes * precision).sum(1) / yes.sum(1))
    return np.mean(labels, axis=0)


METRIC = Metric(
    name="mean_average_precision",
    title="Mean avg. precision",
    fits=(Multilabel,),
    compute=mean_average_precision,
    resampled=resampled,
)
