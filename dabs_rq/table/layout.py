"""The layout that all formats of the table share: rows by domain, numbers as text, marks, averages and notes."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dabs_rq import registry
from dabs_rq.records import significance
from dabs_rq.records.fit import at_end_of_grid, unconverged
from dabs_rq.records.record import Record
from dabs_rq.run.options import Headings
from dabs_rq.table.columns import is_network, method_title
from dabs_rq.table.contents import DASH, Table

DOUBTFUL, DIFFERS, CUT_OFF, AT_END = "°", "†", "‡", "§"
MEANINGS = {
    DOUBTFUL: "not clearly above a constant answer",
    DIFFERS: "differs significantly, see the notes",
    CUT_OFF: "the probe did not converge",
    AT_END: "the probe's strength is at an end of the grid",
}


@dataclass(frozen=True)
class Cell:
    """`best`: whether it is the best of its row by more than noise, see the notes. `marks`: characters that the notes
    explain."""

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


def lay_out(table: Table, headings: Headings = "own", *, spread: bool = True) -> Layout:
    """Lay out a table. headings: the titles of the methods. spread: write the spread over several seeds into cells."""
    frame, methods = table.frame, table.methods
    published = [method for method in methods if f"{method}_published" in frame.columns]
    differences = [method for method in published if frame[f"{method}_difference"].notna().any()]
    single = len(table.groups) == 1
    ours = [(("This run" if published else "") if single else group.title, group.columns) for group in table.groups]
    blocks = [*ours, ("Published", published), ("Difference", differences)]
    titled = tuple((title, tuple(method_title(name, headings) for name in names)) for title, names in blocks if names)
    doubtful = {method: _doubtful(table, method) for method in methods}
    differing = {cell for group in table.groups for cell in significance.differs(table.comparisons, group.columns)}
    ahead = significance.ahead(table.comparisons)

    lines: dict[str, list[Line]] = {}
    any_doubtful = any_best = False
    for position, row in enumerate(frame.to_dict("records")):
        best = {name for group in table.groups if (name := _ahead_of_all(row, group.columns, ahead))}
        any_best = any_best or bool(best)
        records = table.results[row["domain"], row["task"]].records
        cells = []
        for method in methods:
            marks = DOUBTFUL if doubtful[method][position] else ""
            any_doubtful = any_doubtful or bool(marks)
            marks += DIFFERS if (row["domain"], row["task"], method) in differing else ""
            marks += _fit_marks(records.get(method, {}).values())
            text = number(row[method], row[f"{method}_{table.options.spread}"] if spread else math.nan)
            cells.append(Cell(text, method in best, marks))
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
            f"{DOUBTFUL} not above the score of a constant answer (the most frequent class; 50 for AUROC, 0 for "
            "correlations) by two standard errors."
        )
    if any_best:
        notes.append(
            "Bold: the best of its row, if the 95 % interval of its difference from every other is above zero."
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


def _doubtful(table: Table, method: str) -> list[bool]:
    """Return for each row whether its score is not two standard errors above that of a constant answer."""
    frame = table.frame
    constant = [100 * table.results[place].constant for place in zip(frame["domain"], frame["task"], strict=True)]
    return list(frame[method] - constant <= 2 * frame[f"{method}_se"])


def _fit_marks(records: Iterable[Record]) -> str:
    """Return the marks of the probes of a cell: whether one did not converge, or chose the end of the grid."""
    records = list(records)
    return (CUT_OFF if any(map(unconverged, records)) else "") + (AT_END if any(map(at_end_of_grid, records)) else "")


def _ahead_of_all(
    row: Mapping[Hashable, Any], names: Sequence[str], ahead: Collection[tuple[str, str, str, str]]
) -> str | None:
    """Return the column whose score is above that of every other column by more than noise; None if there is none."""
    scored = [name for name in names if not math.isnan(row[name])]
    if len(scored) < 2:
        return None
    best = max(scored, key=lambda name: row[name])
    others = [name for name in scored if name != best]
    return best if all((row["domain"], row["task"], best, other) in ahead for other in others) else None


def _average(table: Table, what: str, domain: str, padding: int) -> Line | None:
    """Return a line of `table.averages` followed by `padding` empty cells; None if averages are not requested or the
    line averages a single row."""
    frame = table.averages
    matching = frame[(frame["what"] == what) & (frame["domain"] == domain) & (frame["rows"] > 1)].to_dict("records")
    if not table.options.averages or not matching:
        return None
    (row,) = matching
    cells = [Cell(number(float(row[name]))) for name in table.methods]
    title = {"mean": "Mean of", "rank": "Average rank in"}[what]
    return Line(f"{title} {row['rows']} rows", "", (*cells, *[Cell("")] * padding))
