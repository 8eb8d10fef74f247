"""The published numbers beside ours: when they may be shown, and when a difference means something."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.records.counts import shortfall
from dabs_rq.records.record import Record
from dabs_rq.run import Run

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = registry.PACKAGE / "table" / "published.csv"  # the 34 rows
FILES = {"rq": PUBLISHED, "dabs2": PUBLISHED.with_name("published_dabs2.csv")}  # by table.columns


@dataclass(frozen=True)
class Published:
    """`scores`: task -> method -> percent, for `methods`. `reason`: why there are no differences, None if there are
    some. `other_data`: tasks whose scores are of other data than ours. `averages`: domain -> method -> percent, where
    only the average of several rows is published. `file`: the source, from the root of the repository."""

    methods: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float]]
    reason: str | None
    other_data: frozenset[str]
    averages: Mapping[str, Mapping[str, float]]
    file: str

    def columns(self, task: Task, ours: Mapping[str, float], records: Sequence[Record]) -> tuple[dict[str, Any], str]:
        """Return `<method>_published` and `<method>_difference` for one row, and why this row has no differences ("" if
        it has some, or if `reason` already says why no row has)."""
        published = self.scores.get(task.name, {})
        row_reason = self.reason or self._not_comparable(task, records)
        values: dict[str, Any] = {}
        for method in self.methods:
            values[f"{method}_published"] = published.get(method, math.nan)
            values[f"{method}_difference"] = math.nan if row_reason else ours[method] - published.get(method, math.nan)
        return values, "" if self.reason else row_reason

    def _not_comparable(self, task: Task, records: Sequence[Record]) -> str:
        """Return why the published numbers of a row cannot be compared with these records; "" if they can."""
        if task.name in self.other_data:
            return "its published numbers are of other data"
        return next(filter(None, (shortfall(task, record) for record in records)), "")


def shows_published(run: Run) -> bool:
    """Return whether the table of `run` shows published numbers: on request, and with columns=dabs2 where they
    compare."""
    table, protocol = run.options.table, run.options.protocol.name
    return table.published or (table.columns == "dabs2" and run.published_compares and protocol == "published")


def read_published(run: Run, methods: Sequence[str], changed: Mapping[str, object]) -> Published:
    """Read the published numbers of `methods`. Creating the run already raised OptionError if it may not show them."""
    import pandas as pd

    options = run.options
    if options.protocol.name != "published":
        reason: str | None = f"protocol {options.protocol.name} is not the one that gave the published numbers"
    else:
        reason = f"options differ from configs/ ({', '.join(sorted(changed))})" if changed else None
    columns = options.table.columns
    frame = pd.read_csv(FILES[columns])
    compares = frame["compares"] if "compares" in frame else pd.Series("row", index=frame.index)
    rows, averages = frame[compares == "row"].set_index("task"), frame[compares == "average"].set_index("domain")
    available = tuple(method for method in methods if method in rows.columns and rows[method].notna().any())
    # Task.published_comparable is about the RQ paper's table; in the other, the file itself says what compares.
    tasks = [task for domain in run.domains for task in domain.tasks] if columns == "rq" else []
    return Published(
        available,
        _scores(rows, available),
        reason,
        frozenset(task.name for task in tasks if not task.published_comparable),
        _scores(averages, available),
        f"results/{FILES[columns].name}",
    )


def _scores(frame: pd.DataFrame, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    return {str(key): {method: float(line[method]) for method in methods} for key, line in frame.iterrows()}
