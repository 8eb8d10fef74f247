"""The layout that all formats of the table share: rows by domain, numbers as text, marks, averages and notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dabs_rq import registry
from dabs_rq.metrics import metric
from dabs_rq.records import significance
from dabs_rq.table.columns import is_network, method_title
from dabs_rq.table.contents import DASH, Table

if TYPE_CHECKING:
    import pandas as pd

DOUBTFUL, DIFFERS = "°", "†"
MEANINGS = {DOUBTFUL: "not clearly above a constant answer", DIFFERS: "differs significantly, see the notes"}


@dataclass(frozen=True)
class Cell:
    """`best`: whether it is the best of its row. `marks`: characters that the notes explain."""

    text: str
    best: bool = False
    marks: str = ""


@dataclass(frozen=True)
class Line:
    title: str
    metric: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """The rows of a domain. `mean`: None if the domain has a single row or averages are not requested."""

    title: str
    lines: tuple[Line, ...]
    mean: Line | None


@dataclass(frozen=True)
class Layout:
    """`blocks`: the blocks of columns after row title and metric, each (title, titles of its columns)."""

    blocks: tuple[tuple[str, tuple[str, ...]], ...]
    groups: tuple[Group, ...]
    rank: Line | None
    notes: tuple[str, ...]

    @property
    def width(self) -> int:
        return sum(len(titles) for _, titles in self.blocks)


def lay_out(table: Table) -> Layout:
    frame, methods = table.frame, table.methods
    published = [method for method in methods if f"{method}_published" in frame.columns]
    differences = [method for method in published if frame[f"{method}_difference"].notna().any()]
    single = len(table.groups) == 1
    ours = [(("This run" if published else "") if single else group.title, group.columns) for group in table.groups]
    blocks = [*ours, ("Published", published), ("Difference", differences)]
    titled = tuple((title, tuple(map(method_title, names))) for title, names in blocks if names)
    doubtful = {method: _doubtful(frame, method) for method in methods}
    differing = {cell for group in table.groups for cell in significance.differs(table.comparisons, group.columns)}

    lines: dict[str, list[Line]] = {}
    any_doubtful = False
    for position, row in enumerate(frame.to_dict("records")):
        best = {name: _best([row[name] for name in group.columns]) for group in table.groups for name in group.columns}
        cells = []
        for method in methods:
            marks = DOUBTFUL if doubtful[method][position] else ""
            any_doubtful = any_doubtful or bool(marks)
            marks += DIFFERS if (row["domain"], row["task"], method) in differing else ""
            text = number(row[method], row[f"{method}_{table.options.spread}"])
            cells.append(Cell(text, number(row[method]) == best[method], marks))
        cells += [Cell(number(row[f"{method}_published"])) for method in published]
        cells += [Cell(number(row[f"{method}_difference"], sign="+")) for method in differences]
        lines.setdefault(str(row["domain"]), []).append(Line(str(row["row"]), str(row["metric"]), tuple(cells)))

    padding = len(published) + len(differences)
    groups = tuple(
        Group(registry.domain(name).title, tuple(of_domain), _average(table, "mean", name, padding))
        for name, of_domain in lines.items()
    )
    rank = _average(table, "rank", DASH, padding)
    notes = [*table.notes]
    if any_doubtful:
        notes.append(
            f"{DOUBTFUL} not above the accuracy of the most frequent class (50 for AUROC, 0 for correlations) by two "
            "standard errors."
        )
    own = table.groups[0].columns
    if note := significance.note(table.comparisons, own, method_title(significance.reference(own))):
        notes.append(note)
    if rank or any(group.mean for group in groups):
        notes.append(
            "Means and ranks (1 is best) are over the rows where all methods have a score, ignoring methods without "
            "any score there; the mean of a domain mixes its metrics."
            + (" A network that lacks one of these rows has none." if any(map(is_network, own)) else "")
        )
    return Layout(titled, groups, rank, tuple(notes))


def number(mean: float, spread: float = math.nan, sign: str = "") -> str:
    if math.isnan(mean):
        return DASH
    mean = round(mean, 2) + 0.0  # no -0.00
    return f"{mean:{sign}.2f}" if math.isnan(spread) else f"{mean:{sign}.2f} ± {spread:.2f}"


def _doubtful(frame: pd.DataFrame, method: str) -> list[bool]:
    """Return for each row whether its score is not two standard errors above that of a constant answer."""
    shares = [metric(name).title for name in ("accuracy", "token_accuracy")]
    constant = frame["majority"].astype(float).where(frame["metric"].isin(shares), 0.0)
    constant = constant.where(frame["metric"] != metric("auroc").title, 50.0)
    return list(frame[method] - constant <= 2 * frame[f"{method}_se"])


def _best(values: Sequence[float], *, lowest: bool = False) -> str | None:
    """Return the best number as the table writes it, so that numbers that look equal tie; None if all tie."""
    scored = [value for value in values if not math.isnan(value)]
    if len({number(value) for value in scored}) < 2:
        return None
    return number(min(scored) if lowest else max(scored))


def _average(table: Table, what: str, domain: str, padding: int) -> Line | None:
    """Return a line of `table.averages` followed by `padding` empty cells; None if averages are not requested or the
    line averages a single row."""
    frame = table.averages
    matching = frame[(frame["what"] == what) & (frame["domain"] == domain) & (frame["rows"] > 1)].to_dict("records")
    if not table.options.averages or not matching:
        return None
    (row,) = matching
    cells = []
    for group in table.groups:
        values = [float(row[name]) for name in group.columns]
        best = _best(values, lowest=what == "rank")
        cells += [Cell(number(value), number(value) == best) for value in values]
    title = {"mean": "Mean of", "rank": "Average rank in"}[what]
    return Line(f"{title} {row['rows']} rows", "", (*cells, *[Cell("")] * padding))
