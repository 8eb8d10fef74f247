"""The contents of a table, independent of the format in which it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dabs_rq.errors import RecordError
from dabs_rq.run.options import TableOptions
from dabs_rq.table.columns import Group
from dabs_rq.table.records import Row

if TYPE_CHECKING:
    import pandas as pd

DASH = "-"


@dataclass(frozen=True)
class Table:
    """`frame`: a row per task in table order: domain, task, row, metric, one column per method (percent, NaN where
    there is no score), then `<method>_std` over seeds, `<method>_interval` (half of the 95 % interval of their mean),
    `<method>_se` over test examples, `<method>_seeds`, per task `n_examples` and `majority` (the accuracy of the most
    frequent class), and on request `<method>_published` and `<method>_difference`.

    `comparisons`: pairs of methods, see `significance`. `averages`: see `averages`. `variant`: "default", or a hash of
    the options that differ from configs/. `notes`: the footnotes. `errors`: why records were left out. `results`:
    (domain, task) -> the records of a row, without their predictions."""

    title: str
    frame: pd.DataFrame
    groups: tuple[Group, ...]
    variant: str
    notes: tuple[str, ...]
    errors: tuple[RecordError, ...]
    comparisons: pd.DataFrame
    averages: pd.DataFrame
    options: TableOptions
    results: Mapping[tuple[str, str], Row]

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of all columns with scores: under the run's own probe, those of the methods."""
        return tuple(name for group in self.groups for name in group.columns)


def averages(frame: pd.DataFrame, groups: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return the mean score of each domain and, in the last line, the mean rank (1 is best, ties share a rank).

    groups: columns that are ranked with one another; a group with fewer such rows than the first has no ranks. Columns:
    `what` ("mean" or "rank"), domain, `rows` (how many rows are averaged), then one per column. Only rows for which all
    columns have a score count; columns without any score there are ignored."""
    import pandas as pd

    names = [name for group in groups for name in group]
    lines: list[dict[Any, Any]] = []
    for domain, part in frame.groupby("domain", sort=False):
        common = _common(part, names)
        lines.append({"what": "mean", "domain": domain, "rows": len(common)} | common.mean().to_dict())
    ranks: dict[str, object] = {}
    rows = 0
    for group in groups:
        common = _common(frame, group)
        if common.shape[1] > 1 and len(common) and len(common) == (rows or len(common)):
            rows = len(common)
            mean_ranks = common.round(4).rank(axis=1, ascending=False).mean()
            ranks.update({str(name): rank for name, rank in mean_ranks.items()})
    if ranks:
        lines.append({"what": "rank", "domain": DASH, "rows": rows} | ranks)
    return pd.DataFrame(lines, columns=["what", "domain", "rows", *names])


def _common(frame: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    scored = [method for method in methods if frame[method].notna().any()]
    return frame[scored].dropna().astype(float) if scored else frame[scored].head(0)
