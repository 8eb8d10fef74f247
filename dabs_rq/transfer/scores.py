"""The scores of a probe's outputs, by the metrics of a task."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import numpy as np

from dabs_rq.domain import Task
from dabs_rq.errors import PluginError
from dabs_rq.metrics.base import Undefined
from dabs_rq.plugins import leave_out
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.records.metrics import score
from dabs_rq.run import Run


def scores(run: Run, task: Task, outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Compute fields of a record: the score and its standard error, or the reason why it is undefined, and the scores
    of the task's further metrics. A further metric that is undefined, or fails because its plug-in is broken, does not
    affect the others."""
    options, protocol = run.options.transfer, run.options.protocol
    measure = partial(
        score,
        outputs=outputs,
        targets=targets,
        correlation=protocol.correlation,
        spearman_ties=protocol.spearman_ties,
        batch_size=run.domain.probe_batch(task, options.batch_size),
    )
    also: dict[str, float] = {}
    for metric in task.also:
        try:
            with contextlib.suppress(Undefined):
                also[metric] = measure(metric)
        except PluginError as error:
            leave_out(error)
    try:
        value = measure(task.metric)
    except Undefined as error:
        return {"score": None, "status": "failed", "reason": str(error), "also": also}
    error_bar = standard_error(task.metric, outputs, targets)
    return {"score": value, "status": "ok", "standard_error": error_bar, "also": also}
