"""Recomputes what a record says from its predictions; a record that differs is not kept, shown or compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dabs_rq import registry
from dabs_rq.data.examples import Examples
from dabs_rq.errors import RecordError
from dabs_rq.records import metrics, record
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.records.record import Predictions, Record

# Covers the rounding of numbers in a record's file.
_TOLERANCE = 1e-6
AGAIN = "move it away and run `suite` or `transfer` again"


def predictions(file: Path, result: Record) -> Predictions:
    """Read the predictions of `result`, the record in `file`, and check all that follows from them: metric, score,
    standard error, further metrics, majority, number of examples, and the hash of ids and targets.

    Raises RecordError if they are missing or damaged, or if the record holds other numbers.
    """
    stored = record.predictions(file)
    try:
        recomputed = _recomputed(result, stored)
    except Exception as error:  # predictions of another shape, options of another type
        raise RecordError(f"{file}: no score follows from its predictions ({error}); {AGAIN}") from error
    recorded = {name: getattr(result, name.partition(".")[0]) for name in recomputed}
    recorded |= {f"also.{name}": value for name, value in result.also.items()}
    differences = [
        f"{name} {recorded[name]}, not {value}" for name, value in recomputed.items() if differs(recorded[name], value)
    ]
    if differences:
        raise RecordError(
            f"{file} differs from its predictions: {'; '.join(differences)}. Was it edited? If so, {AGAIN}"
        )
    return stored


def _recomputed(result: Record, stored: Predictions) -> dict[str, Any]:
    """Compute fields of a record from its predictions, by name. Fields that the record leaves out are left out."""
    domain, task = registry.domain(result.domain), registry.task(result.domain, result.task)
    measure: Callable[..., float] = partial(
        metrics.score,
        outputs=stored.outputs,
        targets=stored.targets,
        correlation=result.options["protocol.correlation"],
        spearman_ties=result.options["protocol.spearman_ties"],
        batch_size=domain.probe_batch(task, result.options["transfer.batch_size"]),
    )
    values: dict[str, Any] = {
        "metric": task.metric,
        "score": measure(task.metric),
        "n_examples": len(stored.ids),
        "majority": metrics.majority(task.target, stored.targets),
    }
    if result.standard_error is not None:
        values["standard_error"] = standard_error(task.metric, stored.outputs, stored.targets)
    if result.test_labels:
        values["test_labels"] = labels_key(stored)
    for name in result.also:
        values[f"also.{name}"] = measure(name) if name in task.also else None
    return values


def labels_key(stored: Predictions) -> str:
    """Hash the ids and targets of predictions, as `Examples.labels_key` does those of a split."""
    targets = np.ascontiguousarray(stored.targets, np.float64)
    return _labels_key(tuple(stored.ids), targets.tobytes(), len(targets))


@lru_cache(maxsize=2)  # all records of a task have the same ids and targets
def _labels_key(ids: tuple[str, ...], targets: bytes, count: int) -> str:
    values = np.frombuffer(targets, np.float64).reshape(count, -1)
    return Examples(pa.array(ids, pa.string()), (), values).labels_key


def differs(recorded: object, value: object) -> bool:
    """Return whether a recorded value differs from the recomputed one by more than rounding; NaN differs from all."""
    if isinstance(value, float) and isinstance(recorded, int | float):
        return not abs(recorded - value) <= _TOLERANCE  # not `>`, which NaN passes
    return bool(recorded != value)
