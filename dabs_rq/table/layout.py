"""What every written form of the table shows: rows by domain, numbers as text, marks, averages, notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dabs_rq import registry
from dabs_rq.records import significance
from dabs_rq.records.metrics import METRICS
from dabs_rq.table.contents import DASH, Table
from dabs_rq.table.notes import method_title

if TYPE_CHECKING:
    import pandas as pd

DOUBTFUL, DIFFERS = "°", "†"


@dataclass(frozen=True)
class Cell:
    """`best`: of its row, where there is something to compare. `marks`: characters that the notes explain."""

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
    """A domain; `mean` is None where it says nothing more than the lines."""

    title: str
    lines: tuple[Line, ...]
    mean: Line | None


@dataclass(frozen=True)
class Layout:
    """`blocks`: of columns after row title and metric: (title, titles of the columns)."""

    blocks: tuple[tuple[str, tuple[str, ...]], ...]
    groups: tuple[Group, ...]
    rank: Line | None
    notes: tuple[str, ...]

    @property
    def width(self) -> int:
        return sum(len(titles) for _, titles in self.blocks)


def layout(table: Table) -> Layout:
    frame, methods = table.frame, table.methods
    published = [method for method in methods if f"{method}_published" in frame.columns]
    differences = [method for method in published if frame[f"{method}_difference"].notna().any()]
    blocks = [("This run" if published else "", methods), ("Published", published), ("Difference", differences)]
    titled = tuple((title, tuple(map(method_title, names))) for title, names in blocks if names)
    doubtful = {method: _doubtful(frame, method) for method in methods}
    differing = significance.differs(table.comparisons, methods)

    lines: dict[str, list[Line]] = {}
    used = False
    for position, row in enumerate(frame.to_dict("records")):
        best = _best([row[method] for method in methods])
        cells = []
        for method in methods:
            marks = DOUBTFUL if doubtful[method][position] else ""
            used = used or bool(marks)
            marks += DIFFERS if (row["domain"], row["task"], method) in differing else ""
            text = number(row[method], row[f"{method}_{table.options.spread}"])
            cells.append(Cell(text, number(row[method]) == best, marks))
        cells += [Cell(number(row[f"{method}_published"])) for method in published]
        cells += [Cell(number(row[f"{method}_difference"], sign="+")) for method in differences]
        lines.setdefault(str(row["domain"]), []).append(Line(str(row["row"]), str(row["metric"]), tuple(cells)))

    more = len(published) + len(differences)
    groups = tuple(
        Group(registry.domain(name).title, tuple(of_domain), _average(table, "mean", name, more))
        for name, of_domain in lines.items()
    )
    rank = _average(table, "rank", DASH, more)
    notes = [*table.notes]
    if used:
        notes.append(
            f"{DOUBTFUL} not above the accuracy of the most frequent class (50 for AUROC, 0 for correlations) by two "
            "standard errors."
        )
    if note := significance.note(table.comparisons, methods, method_title(significance.reference(methods))):
        notes.append(note)
    if rank or any(group.mean for group in groups):
        notes.append(
            "Means and ranks (1 is best) are over the rows that all methods have, apart from methods without any score "
            "there; means of a domain mix its metrics."
        )
    return Layout(titled, groups, rank, tuple(notes))


def number(mean: float, spread: float = math.nan, sign: str = "") -> str:
    if math.isnan(mean):
        return DASH
    mean = round(mean, 2) + 0.0  # no -0.00
    return f"{mean:{sign}.2f}" if math.isnan(spread) else f"{mean:{sign}.2f} ± {spread:.2f}"


def _doubtful(frame: pd.DataFrame, method: str) -> list[bool]:
    """Which scores are not above what a constant answer gets by two standard errors."""
    constant = frame["majority"].astype(float).where(frame["metric"] == METRICS["accuracy"].title, 0.0)
    constant = constant.where(frame["metric"] != METRICS["auroc"].title, 50.0)
    return list(frame[method] - constant <= 2 * frame[f"{method}_se"])


def _best(values: Sequence[float], *, lowest: bool = False) -> str | None:
    """The best number as the table writes it (all that show the same are as good), None where none is better."""
    there = [value for value in values if not math.isnan(value)]
    if len({number(value) for value in there}) < 2:
        return None
    return number(min(there) if lowest else max(there))


def _average(table: Table, what: str, domain: str, more: int) -> Line | None:
    """A line of `table.averages`, with so many empty cells more; None where it is not asked for or of one row only."""
    known = table.averages
    found = known[(known["what"] == what) & (known["domain"] == domain) & (known["rows"] > 1)].to_dict("records")
    if not table.options.averages or not found:
        return None
    (row,) = found
    values = [float(row[method]) for method in table.methods]
    best = _best(values, lowest=what == "rank")
    cells = [Cell(number(value), number(value) == best) for value in values]
    title = {"mean": "Mean of", "rank": "Average rank in"}[what]
    return Line(f"{title} {row['rows']} rows", "", (*cells, *[Cell("")] * more))
