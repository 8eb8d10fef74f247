"""The published numbers beside ours: where they may stand, and where a difference says something."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.records.record import Record
from dabs_rq.run import Run

PUBLISHED = registry.PACKAGE.parent / "results" / "published.csv"


@dataclass(frozen=True)
class Published:
    """`scores`: task -> method -> percent, for `methods`. `reason`: why there are no differences, None where there
    are."""

    methods: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float]]
    reason: str | None

    def columns(self, task: Task, ours: Mapping[str, float], records: Sequence[Record]) -> tuple[dict[str, Any], str]:
        """`<method>_published` and `<method>_difference` of one row, and why it has no differences ("": it has)."""
        theirs = self.scores.get(task.name, {})
        why = self.reason or _not_comparable(task, records)
        values: dict[str, Any] = {}
        for method in self.methods:
            values[f"{method}_published"] = theirs.get(method, math.nan)
            values[f"{method}_difference"] = math.nan if why else ours[method] - theirs.get(method, math.nan)
        return values, "" if self.reason else why


def read(run: Run, methods: Sequence[str], changed: Mapping[str, object]) -> Published:
    """The published numbers of `methods`. A run that may not show them is refused when it is made."""
    import pandas as pd

    options = run.options
    if options.protocol.name != "published":
        reason: str | None = f"protocol {options.protocol.name} is not the one that gave the published numbers"
    else:
        reason = f"options differ from configs/ ({', '.join(sorted(changed))})" if changed else None
    frame = pd.read_csv(PUBLISHED).set_index("task")
    known = tuple(method for method in methods if method in frame.columns)
    scores = {str(task): {method: float(line[method]) for method in known} for task, line in frame.iterrows()}
    return Published(known, scores, reason)


def _not_comparable(task: Task, records: Sequence[Record]) -> str:
    """Why the published numbers of a row are no match for these records, "" if they are."""
    if not task.published_comparable:
        return "its published numbers are of other data"
    for one in records:
        counted = {"test": one.n_examples, "all": one.n_train + one.n_examples}
        for split, found in counted.items():
            if (expected := task.sizes.get(split, found)) != found:
                what = "test examples" if split == "test" else "examples"
                return f"{found} {what}, {expected} expected of {task.source.title}"
    return ""
