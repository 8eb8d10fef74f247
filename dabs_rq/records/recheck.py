"""Recomputes the score of a record from its predictions; a record that differs is not kept, shown or compared."""

from __future__ import annotations

from pathlib import Path

from dabs_rq import registry
from dabs_rq.errors import RecordError
from dabs_rq.records import metrics, record
from dabs_rq.records.record import Predictions, Record

# Covers the rounding of numbers in a record's file.
_TOLERANCE = 1e-6
AGAIN = "move it away and run `suite` or `transfer` again"


def predictions(file: Path, result: Record) -> Predictions:
    """Read the predictions of `result`, the record in `file`, and check that its score follows from them.

    Raises RecordError if they are missing or damaged, or if the record holds other numbers.
    """
    stored = record.predictions(file)
    try:
        domain, task = registry.domain(result.domain), registry.task(result.domain, result.task)
        score = metrics.score(
            task.metric,
            stored.outputs,
            stored.targets,
            correlation=result.options["protocol.correlation"],
            spearman_ties=result.options["protocol.spearman_ties"],
            batch_size=result.options["transfer.batch_size"] or domain.batch_size,
        )
        majority = metrics.majority(task.target, stored.targets)
    except Exception as error:  # predictions of another shape, options of another type
        raise RecordError(f"{file}: no score follows from its predictions ({error}); {AGAIN}") from error
    recomputed = {"metric": task.metric, "score": score, "n_examples": len(stored.ids), "majority": majority}
    differences = [
        f"{name} {getattr(result, name)}, not {value}"
        for name, value in recomputed.items()
        if _differ(result, name, value)
    ]
    if differences:
        raise RecordError(
            f"{file} differs from its predictions: {'; '.join(differences)}. Was it edited? If so, {AGAIN}"
        )
    return stored


def _differ(result: Record, name: str, value: object) -> bool:
    recorded = getattr(result, name)
    if isinstance(value, float) and isinstance(recorded, int | float):
        return abs(recorded - value) > _TOLERANCE
    return bool(recorded != value)
