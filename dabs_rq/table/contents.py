"""What a table holds, in whatever form it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dabs_rq.errors import RecordError
from dabs_rq.run.options import TableOptions
from dabs_rq.table.records import Row

if TYPE_CHECKING:
    import pandas as pd

DASH = "-"


@dataclass(frozen=True)
class Table:
    """`frame`: a row per task in table order: domain, task, row, metric, one column per method (percent, NaN where
    there is no score), then `<method>_std` over seeds, `<method>_interval` (half of the 95 % interval of their mean),
    `<method>_se` over test examples, `<method>_seeds`, per task `n_examples` and `majority` (the accuracy of the most
    frequent class), and if asked for `<method>_published` and `<method>_difference`.

    `comparisons`: of pairs of methods, see `significance`. `averages`: see `averages`. `variant`: "default", or a hash
    of the options that differ from configs/. `notes`: what a reader has to know. `errors`: of records that are left
    out. `known`: (domain, task) -> the records behind a row, without their predictions."""

    title: str
    frame: pd.DataFrame
    methods: tuple[str, ...]
    variant: str
    notes: tuple[str, ...]
    errors: tuple[RecordError, ...]
    comparisons: pd.DataFrame
    averages: pd.DataFrame
    options: TableOptions
    known: Mapping[tuple[str, str], Row]


def averages(frame: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Columns `what` (mean, a line per domain, or rank, the last line, where 1 is best and ties share their ranks),
    domain, `rows` (how many are averaged) and one per method. Only rows that all methods have count, apart from methods
    that have no score there at all."""
    import pandas as pd

    lines = []
    for domain, part in frame.groupby("domain", sort=False):
        common = _common(part, methods)
        lines.append({"what": "mean", "domain": domain, "rows": len(common)} | common.mean().to_dict())
    common = _common(frame, methods)
    if common.shape[1] > 1 and len(common):
        ranks = common.round(4).rank(axis=1, ascending=False).mean()
        lines.append({"what": "rank", "domain": DASH, "rows": len(common)} | ranks.to_dict())
    return pd.DataFrame(lines, columns=["what", "domain", "rows", *methods])


def _common(frame: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    there = [method for method in methods if frame[method].notna().any()]
    return frame[there].dropna().astype(float) if there else frame[there].head(0)
