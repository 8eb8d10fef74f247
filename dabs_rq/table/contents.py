"""The contents of a table, independent of the format in which it is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
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
    (domain, task) -> the records of a row, without their predictions. `not_shown`: how many other records there are,
    and why they are not in the table."""

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
    not_shown: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of all columns with scores: under the run's own probe, those of the methods."""
        return tuple(name for group in self.groups for name in group.columns)

    def of_domains(self, domains: Collection[str]) -> Table:
        """Return the table with the rows of these domains only. Its averages, comparisons and notes stay."""
        rows = self.frame[self.frame["domain"].isin(list(domains))]
        return replace(self, frame=rows.reset_index(drop=True))


def averages(frame: pd.DataFrame, groups: Sequence[Sequence[str]], networks: Collection[str] = ()) -> pd.DataFrame:
    """Return the mean score of each domain and, in the last line, the mean rank (1 is best, ties share a rank).

    groups: columns that are ranked with one another; a group with fewer such rows than the first has no ranks. Columns:
    `what` ("mean" or "rank"), domain, `rows` (how many rows are averaged), then one per column. Only rows for which all
    columns have a score count; columns without any score there are ignored.

    networks: columns that may serve some rows only. They do not decide which rows count, unless there are no others:
    one that lacks a score there is ignored."""
    import pandas as pd

    names = [name for group in groups for name in group]
    lines: list[dict[Any, Any]] = []
    for domain, part in frame.groupby("domain", sort=False):
        common = _common(part, names, networks)
        lines.append({"what": "mean", "domain": domain, "rows": len(common)} | common.mean().to_dict())
    ranks: dict[str, object] = {}
    rows = 0
    for group in groups:
        common = _common(frame, group, networks)
        if common.shape[1] > 1 and len(common) and len(common) == (rows or len(common)):
            rows = len(common)
            mean_ranks = common.round(4).rank(axis=1, ascending=False).mean()
            ranks.update({str(name): rank for name, rank in mean_ranks.items()})
    if ranks:
        lines.append({"what": "rank", "domain": DASH, "rows": rows} | ranks)
    return pd.DataFrame(lines, columns=["what", "domain", "rows", *names])


def _common(frame: pd.DataFrame, columns: Sequence[str], networks: Collection[str]) -> pd.DataFrame:
    scored = [name for name in columns if frame[name].notna().any()]
    deciding = [name for name in scored if name not in networks] or scored
    if not deciding:
        return frame[deciding].head(0)
    common = frame[frame[deciding].notna().all(axis=1)]
    return common[[name for name in scored if common[name].notna().all()]].astype(float)
