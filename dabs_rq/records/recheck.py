"""Whether a record says what its predictions give: nothing that does not is kept, shown or compared."""

from __future__ import annotations

from pathlib import Path

from dabs_rq import registry
from dabs_rq.errors import OptionError, RecordError
from dabs_rq.records import metrics, record
from dabs_rq.records.metrics import Undefined
from dabs_rq.records.record import Predictions, Record

# What the file of a record rounds away.
_TOLERANCE = 1e-6
AGAIN = "delete it and run `suite` or `transfer` again"


def predictions(file: Path, result: Record) -> Predictions:
    """The predictions beside `result`, the record in `file`, from which its score follows under its own options.

    Raises RecordError if they are missing or damaged, or give other numbers than the record has.
    """
    kept = record.predictions(file)
    try:
        domain, task = registry.domain(result.domain), registry.task(result.domain, result.task)
        score = metrics.score(
            task.metric,
            kept.outputs,
            kept.targets,
            correlation=result.options["protocol.correlation"],
            spearman_ties=result.options["protocol.spearman_ties"],
            batch_size=result.options["transfer.batch_size"] or domain.batch_size,
        )
        majority = metrics.majority(task.target, kept.targets)
    except (OptionError, Undefined, ValueError, TypeError, IndexError, KeyError) as error:
        raise RecordError(f"{file}: its predictions have no score ({error}); {AGAIN}") from error
    given = {"metric": task.metric, "score": score, "n_examples": len(kept.ids), "majority": majority}
    wrong = [
        f"{name} {getattr(result, name)}, not {value}" for name, value in given.items() if _differ(result, name, value)
    ]
    if wrong:
        raise RecordError(f"{file} is not what its predictions give: {'; '.join(wrong)}. Was it edited? If so, {AGAIN}")
    return kept


def _differ(result: Record, name: str, value: object) -> bool:
    said = getattr(result, name)
    if isinstance(value, float) and isinstance(said, int | float):
        return abs(said - value) > _TOLERANCE
    return bool(said != value)
