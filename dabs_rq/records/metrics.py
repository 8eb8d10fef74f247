"""Scores: the values of metrics on the raw outputs and targets of a split. A score is a fraction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dabs_rq.errors import PluginError, shown
from dabs_rq.metrics import metric, module_of_metric
from dabs_rq.metrics.base import Metric, Undefined
from dabs_rq.metrics.spearman import spearman_ordinal
from dabs_rq.plugins import is_added, metric_files, plugin_error
from dabs_rq.spec import Binary, Multiclass, Multilabel, PerToken, Target

_ROUNDING = 1e-9  # by which a score may leave its range


def score(
    name: str,
    outputs: np.ndarray,
    targets: np.ndarray,
    *,
    correlation: str = "whole",
    spearman_ties: str = "average",
    batch_size: int = 128,
) -> float:
    """Compute the score of a split, a fraction.

    correlation: "whole" computes it on the split; "batches" averages it over batches of `batch_size`, weighted by their
    sizes, as DABS logs it, for metrics that say `in_batches`. spearman_ties: "average" or "ordinal" ranks.
    Raises: Undefined, with the reason; PluginError, with file and line, if the metric of a plug-in fails.
    """
    for what, values in (("outputs", outputs), ("targets", targets)):
        if not np.isfinite(values).all():
            raise Undefined(f"{what} hold NaN or infinity")
    found = metric(name)
    compute = found.compute
    if name == "spearman" and spearman_ties == "ordinal":
        compute = spearman_ordinal
    if correlation == "whole" or not found.in_batches:
        return _computed(found, compute, outputs, targets)
    starts = range(0, len(targets), batch_size)
    sizes = [min(batch_size, len(targets) - start) for start in starts]
    scores = []
    for start in starts:
        part = slice(start, start + batch_size)
        try:
            scores.append(_computed(found, compute, outputs[part], targets[part]))
        except Undefined:
            scores.append(0.0)  # as torchmetrics of that time for constant values and single examples
    return float(np.average(scores, weights=sizes))


def _computed(
    found: Metric, compute: Callable[[np.ndarray, np.ndarray], float], outputs: np.ndarray, targets: np.ndarray
) -> float:
    """Compute a score and check that it lies in the metric's range."""
    given = guarded(found, compute, outputs, targets)
    try:
        value = float(given)
    except (TypeError, ValueError) as error:
        raise _plugin_error(
            found, f"gave {' '.join(shown(given).split())}; expected a number. Does it end with `return`?"
        ) from error
    if not np.isfinite(value):
        raise Undefined(f"{found.title} is not a finite number for these outputs and targets")
    if not found.lowest - _ROUNDING <= value <= 1 + _ROUNDING:
        raise _plugin_error(found, f"gave {value:g}; expected a score from {found.lowest:g} to 1")
    return min(max(value, found.lowest), 1.0)


def resampled_scores(
    found: Metric, compute: Callable[..., Any], counts: np.ndarray, outputs: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Compute a metric on many resamples at once: (resamples,). Raises PluginError if it gives another shape."""
    scores = np.asarray(guarded(found, compute, counts, outputs, targets))
    if scores.shape != (len(counts),):
        raise _plugin_error(found, f"gave shape {scores.shape} by `resampled`; expected ({len(counts)},)")
    return scores


def _plugin_error(found: Metric, problem: str) -> PluginError:
    return PluginError(f"{metric_files()[found.name][0]}: metric {found.name!r} {problem}")


def guarded(found: Metric, compute: Callable[..., Any], *arguments: np.ndarray) -> Any:
    """Call a function of a metric. Raises PluginError, with file and line, if that of a plug-in fails. A plug-in gets
    copies: one that sorts in place would change the predictions that are saved."""
    if is_added(module_of_metric(found.name)):
        arguments = tuple(each.copy() for each in arguments)
    try:
        return compute(*arguments)
    except Undefined:
        raise
    except Exception as error:
        if not is_added(module_of_metric(found.name)):
            raise
        raise plugin_error(metric_files()[found.name][0], error) from error


def constant(name: str, target: Target, targets: np.ndarray) -> float:
    """Compute the score of the best answer that is the same for all examples: the most frequent class, yes or no, the
    shares of the labels, or the mean. It is 0 where the metric is undefined for such answers."""
    if isinstance(target, Multiclass):
        shares = np.bincount(targets.astype(np.int64), minlength=target.classes) / len(targets)
        each = [np.broadcast_to(shares, (len(targets), target.classes))]
    elif isinstance(target, PerToken):
        shares = np.bincount(targets[targets >= 0].astype(np.int64), minlength=target.classes) / targets.size
        each = [np.broadcast_to(shares, (*targets.shape, target.classes))]
    elif isinstance(target, Multilabel):
        each = [np.broadcast_to(targets.mean(0), targets.shape)]
    else:
        values = (-1.0, 1.0) if isinstance(target, Binary) else (float(targets.mean()),)
        each = [np.full(len(targets), value) for value in values]
    return max(_constant_score(name, outputs, targets) for outputs in each)


def _constant_score(name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    try:
        return score(name, outputs, targets)
    except Undefined:
        return 0.0


def majority(target: Target, targets: np.ndarray) -> float | None:
    """Compute the accuracy of always answering the most frequent class; None if accuracy is not a legal metric."""
    if not isinstance(target, Multiclass | Binary | PerToken):
        return None
    answers = targets[targets >= 0] if isinstance(target, PerToken) else targets
    return float(np.bincount(answers.astype(np.int64)).max() / len(answers))
