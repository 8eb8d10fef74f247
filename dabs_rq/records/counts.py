"""Compares the numbers of examples behind a record with those that its source declares."""

from __future__ import annotations

from dabs_rq.domain import Task
from dabs_rq.records.record import Record


def shortfall(task: Task, result: Record) -> str:
    """Return how a record's numbers of examples differ from the declared ones; "" if they agree or are not declared.

    Only for real data: made-up data have their own sizes. Above the limit of a run (transfer.max_examples) there is no
    difference.
    """
    most = result.options.get("transfer.max_examples")
    counts = {"test": result.n_examples, "all": result.n_train + result.n_examples}
    if most is not None:
        counts.pop("all")
    for split, count in counts.items():
        declared = task.sizes.get(split, count)
        expected = declared if most is None else min(declared, most)
        if expected != count:
            kind = "test examples" if split == "test" else "examples"
            return f"{count:,} {kind}, {declared:,} expected of {task.source.title}"
    return ""
