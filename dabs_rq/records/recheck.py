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


def predictions(file: Path, one: Record) -> Predictions:
    """The predictions beside `one`, the record in `file`, from which its score follows under its own options.

    Raises RecordError if they are missing or damaged, or give other numbers than the record has.
    """
    found = record.predictions(file)
    try:
        domain, task = registry.domain(one.domain), registry.task(one.domain, one.task)
        score = metrics.score(
            task.metric,
            found.outputs,
            found.targets,
            correlation=one.options["protocol.correlation"],
            spearman_ties=one.options["protocol.spearman_ties"],
            batch_size=one.options["transfer.batch_size"] or domain.batch_size,
        )
        majority = metrics.majority(task.target, found.targets)
    except (OptionError, Undefined, ValueError, TypeError, IndexError, KeyError) as error:
        raise RecordError(f"{file}: its predictions have no score ({error}); {AGAIN}") from error
    given = {"metric": task.metric, "score": score, "n_examples": len(found.ids), "majority": majority}
    wrong = [f"{name} {getattr(one, name)}, not {value}" for name, value in given.items() if _differ(one, name, value)]
    if wrong:
        raise RecordError(f"{file} is not what its predictions give: {'; '.join(wrong)}. Was it edited? If so, {AGAIN}")
    return found


def _differ(one: Record, name: str, value: object) -> bool:
    said = getattr(one, name)
    if isinstance(value, float) and isinstance(said, int | float):
        return abs(said - value) > _TOLERANCE
    return bool(said != value)
