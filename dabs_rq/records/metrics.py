"""Metrics: functions of the raw outputs and targets of a split. A score, the value of a metric, is a fraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dabs_rq.spec import Binary, MetricName, Multiclass, PerToken, Target


@dataclass(frozen=True)
class Metric:
    """A metric. title: as the table prints it. compute: (outputs, targets) of one split -> score; raises Undefined.
    lowest: the lowest possible score."""

    name: MetricName
    title: str
    compute: Callable[[np.ndarray, np.ndarray], float]
    lowest: float = -1.0


class Undefined(Exception):
    """The metric is undefined for these targets or outputs; the text explains why."""


def correct(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mark correct answers: bool, in the shape of the targets. The answer is the largest of (..., classes) outputs, or
    yes for a logit >= 0."""
    return (outputs >= 0) == targets if outputs.ndim == 1 else outputs.argmax(-1) == targets


def of_tokens(outputs: np.ndarray) -> bool:
    """Return whether outputs are of single tokens, (n, tokens, classes); a target of -1 then marks one without a
    class."""
    return outputs.ndim == 3


def tallies(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many answers of each example are correct, and how many there are: two arrays (n,)."""
    right = correct(outputs, targets)
    if not of_tokens(outputs):
        return right.astype(np.int64), np.ones(len(targets), np.int64)
    counted = targets >= 0
    return (right & counted).sum(1), counted.sum(1)


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the share of correct answers. Raises Undefined if no token has a class."""
    right, counted = tallies(outputs, targets)
    if not counted.any():
        raise Undefined("an accuracy needs tokens that have a class; there are none")
    return float(right.sum() / counted.sum())


def accuracy_top5(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the share of examples whose class is among the five largest of (n, classes) outputs; of equal outputs the
    first counts as larger."""
    own = np.take_along_axis(outputs, targets.astype(np.int64)[:, None], axis=1)
    earlier = np.arange(outputs.shape[1]) < targets[:, None]
    larger = (outputs > own) | ((outputs == own) & earlier)
    return float((larger.sum(1) < 5).mean())


def auroc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute the area under the ROC curve of each label of (n, labels), averaged over labels."""
    from sklearn.metrics import roc_auc_score

    one_sided = [label for label in range(targets.shape[1]) if len(np.unique(targets[:, label])) < 2]
    if one_sided:
        raise Undefined(f"AUROC needs examples with and without each label; labels {one_sided} lack one of them")
    return float(roc_auc_score(targets, outputs, average="macro"))


def pearson(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Pearson's correlation of outputs (n,) with targets (n,)."""
    _check_varied(outputs, targets)
    return float(np.corrcoef(outputs.astype(np.float64), targets.astype(np.float64))[0, 1])


def spearman(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Spearman's rank correlation of outputs (n,) with targets (n,); ties get average ranks."""
    from scipy.stats import spearmanr

    _check_varied(outputs, targets)
    return float(spearmanr(outputs, targets).statistic)


def matthews(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Matthews' correlation of the answers of logits (n,) with 0/1 targets (n,), as GLUE does for CoLA."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(targets, outputs >= 0))


def spearman_ordinal(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Compute Spearman's rank correlation with ties ranked in order of appearance. torchmetrics before 0.6 ranked
    them by a sort that is not stable, so its order of ties is unknown: this is one of those it may have had."""
    from scipy.stats import rankdata

    _check_varied(outputs, targets)
    return float(np.corrcoef(rankdata(outputs, "ordinal"), rankdata(targets, "ordinal"))[0, 1])


def _check_varied(outputs: np.ndarray, targets: np.ndarray) -> None:
    for name, values in (("outputs", outputs), ("targets", targets)):
        if len(values) < 2 or np.ptp(values) == 0:
            raise Undefined(f"a correlation needs {name} that vary; these {len(values)} are constant")


METRICS: dict[MetricName, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "Accuracy", accuracy, lowest=0.0),
        Metric("accuracy_top5", "Top-5 accuracy", accuracy_top5, lowest=0.0),
        Metric("auroc", "Avg. AUROC", auroc, lowest=0.0),
        Metric("pearson", "Pearson Corr.", pearson),
        Metric("spearman", "Spearman Corr.", spearman),
        Metric("matthews", "Matthews Corr.", matthews),
    )
}


def score(
    name: MetricName,
    outputs: np.ndarray,
    targets: np.ndarray,
    *,
    correlation: str = "whole",
    spearman_ties: str = "average",
    batch_size: int = 128,
) -> float:
    """Compute the score of a split, a fraction.

    correlation: of a correlation or an accuracy of tokens, "whole" computes it on the split; "batches" averages it over
    batches of `batch_size`, weighted by their numbers of examples, as DABS logs it. spearman_ties: "average" or
    "ordinal" ranks.
    Raises: Undefined, with the reason.
    """
    if not np.isfinite(outputs).all():
        raise Undefined("outputs hold NaN or infinity")
    compute = METRICS[name].compute
    if name == "spearman" and spearman_ties == "ordinal":
        compute = spearman_ordinal
    if correlation == "whole" or not (name in ("pearson", "spearman") or of_tokens(outputs)):
        return _finite(compute(outputs, targets))
    starts = range(0, len(targets), batch_size)
    sizes = [min(batch_size, len(targets) - start) for start in starts]
    scores = []
    for start in starts:
        part = slice(start, start + batch_size)
        try:
            scores.append(compute(outputs[part], targets[part]))
        except Undefined:
            scores.append(0.0)  # as torchmetrics of that time for constant values and single examples
    return _finite(float(np.average(scores, weights=sizes)))


def _finite(value: float) -> float:
    if not np.isfinite(value):
        raise Undefined("the score is not finite: do targets hold NaN?")
    return value


def majority(target: Target, targets: np.ndarray) -> float | None:
    """Compute the accuracy of always answering the most frequent class; None if accuracy is not a legal metric."""
    if not isinstance(target, Multiclass | Binary | PerToken):
        return None
    answers = targets[targets >= 0] if isinstance(target, PerToken) else targets
    return float(np.bincount(answers.astype(np.int64)).max() / len(answers))
