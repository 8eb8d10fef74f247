"""Finds metrics on disk: `dabs_rq/metrics/<name>.py` exports METRIC, as does `metrics/<name>.py` of a plug-in folder.

A metric says which kinds of target it fits, so every task with such a target may name it.
"""

from __future__ import annotations

from dabs_rq.metrics.base import Metric
from dabs_rq.plugins import find_declared, metric_files, once, usable_names
from dabs_rq.spec import Target


@once
def metric(name: str) -> Metric:
    """Return the metric called `name`. Raises OptionError, with the nearest match, if no metric has that name."""
    return find_declared("metric", metric_files(), "METRIC", Metric, name)


@once
def metric_names() -> tuple[str, ...]:
    """List the names of all metrics, sorted. A plug-in that cannot be used costs a warning."""
    return usable_names(metric_files(), metric)


def fitting(target: Target) -> tuple[str, ...]:
    """List the names of the metrics that fit a target, sorted."""
    found = map(metric, metric_names())
    return tuple(each.name for each in found if isinstance(target, each.fits) and each.refuses(target) is None)


def misfit(name: str, target: Target) -> str | None:
    """Say why a metric does not fit a target; None if it does. Raises OptionError if no metric has that name."""
    found = metric(name)
    if not isinstance(target, found.fits):
        taken = " or ".join(fitting(target))
        return f"metric {name!r} does not fit a {type(target).__name__} target, which takes {taken}"
    reason = found.refuses(target)
    return None if reason is None else f"metric {name!r} does not fit its target: {reason}"


def module_of_metric(name: str) -> str:
    """Return the name of the module that declares a metric."""
    return metric_files()[metric(name).name][1]
