"""The published numbers beside ours: when they may be shown, and when a difference means something."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.records.counts import shortfall
from dabs_rq.records.record import Record
from dabs_rq.run import Run

PUBLISHED = registry.PACKAGE / "table" / "published.csv"


@dataclass(frozen=True)
class Published:
    """`scores`: task -> method -> percent, for `methods`. `reason`: why there are no differences, None if there are
    some."""

    methods: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float]]
    reason: str | None

    def columns(self, task: Task, ours: Mapping[str, float], records: Sequence[Record]) -> tuple[dict[str, Any], str]:
        """Return `<method>_published` and `<method>_difference` for one row, and why this row has no differences ("" if
        it has some, or if `reason` already says why no row has)."""
        published = self.scores.get(task.name, {})
        row_reason = self.reason or _not_comparable(task, records)
        values: dict[str, Any] = {}
        for method in self.methods:
            values[f"{method}_published"] = published.get(method, math.nan)
            values[f"{method}_difference"] = math.nan if row_reason else ours[method] - published.get(method, math.nan)
        return values, "" if self.reason else row_reason


def read_published(run: Run, methods: Sequence[str], changed: Mapping[str, object]) -> Published:
    """Read the published numbers of `methods`. Creating the run already raised OptionError if it may not show them."""
    import pandas as pd

    options = run.options
    if options.protocol.name != "published":
        reason: str | None = f"protocol {options.protocol.name} is not the one that gave the published numbers"
    else:
        reason = f"options differ from configs/ ({', '.join(sorted(changed))})" if changed else None
    frame = pd.read_csv(PUBLISHED).set_index("task")
    available = tuple(method for method in methods if method in frame.columns)
    scores = {str(task): {method: float(line[method]) for method in available} for task, line in frame.iterrows()}
    return Published(available, scores, reason)


def _not_comparable(task: Task, records: Sequence[Record]) -> str:
    """Return why the published numbers of a row cannot be compared with these records; "" if they can."""
    if not task.published_comparable:
        return "its published numbers are of other data"
    return next(filter(None, (shortfall(task, record) for record in records)), "")
