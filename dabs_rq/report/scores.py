"""Dot plots of a domain's rows: every method with its 95 % interval, the most frequent class, the published numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dabs_rq.domain import Domain
from dabs_rq.records.metrics import METRICS
from dabs_rq.report import figure
from dabs_rq.report.figure import FAINT, Drawn
from dabs_rq.table.notes import method_title

Row = Mapping[str, Any]  # of Table.frame
_LOWEST = {METRICS[name].title: 0.0 for name in ("accuracy", "auroc")}


def interval(row: Row, method: str) -> tuple[float, float]:
    """The 95 % interval of a score in percent: over seeds where there are several, else over test examples by the
    normal approximation; cut to what the metric can be, (nan, nan) where it is not known."""
    half = row[f"{method}_interval"]
    half = 1.96 * row[f"{method}_se"] if math.isnan(half) else half
    if math.isnan(row[method] - half):
        return math.nan, math.nan
    return max(_LOWEST.get(row["metric"], -100.0), row[method] - half), min(100.0, row[method] + half)


def draw(
    domain: Domain, rows: Sequence[Row], methods: Sequence[str], published: Mapping[str, Mapping[str, float]], out: Path
) -> Drawn | None:
    """`published`: task -> method -> percent. None where no row has a score."""
    methods = [method for method in methods if any(not math.isnan(row[method]) for row in rows)]
    if not methods:
        return None
    step = 0.6 / max(1, len(methods) - 1)
    made = figure.new(0.75 + len(rows) * max(0.3, 0.11 * len(methods)))
    axes = made.add_subplot()
    for place, row in enumerate(rows):
        if not math.isnan(row["majority"]) and row["metric"] == METRICS["accuracy"].title:
            axes.plot([row["majority"]] * 2, [place - 0.42, place + 0.42], color=FAINT, lw=1.6)
        if place:
            axes.axhline(place - 0.5, color=FAINT, lw=0.5, alpha=0.3)
    for number, method in enumerate(methods):
        colour, marker = figure.look(method)
        for place, row in enumerate(rows):
            height = place - 0.3 + step * number if len(methods) > 1 else place
            axes.plot(interval(row, method), [height] * 2, color=colour, lw=1.2)
            axes.plot(row[method], height, marker, color=colour, ms=4.2, mew=0)
            if (known := published.get(row["task"], {}).get(method)) is not None:
                axes.plot(known, height, marker, color=colour, ms=5, mfc="none", mew=0.9)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="percent")
    axes.set_yticks(range(len(rows)), [_title(row) for row in rows])
    axes.tick_params("y", length=0)
    axes.grid(axis="x")
    axes.margins(x=0.03)
    made.legend(handles=_legend(methods, rows, published), loc="outside upper center", ncols=4, handletextpad=0.3)
    named = ", ".join(map(method_title, methods))
    return figure.keep(
        made,
        out,
        f"scores-{domain.name}",
        f"Dot plot of scores in {domain.title}: {named}, with 95 % intervals, for {', '.join(map(_title, rows))}. "
        "The table has the numbers.",
    )


def _title(row: Row) -> str:
    accuracy = row["metric"] == METRICS["accuracy"].title
    return str(row["row"]) if accuracy else f"{row['row']} ({row['metric']})"


def _legend(methods: Sequence[str], rows: Sequence[Row], published: Mapping[str, Mapping[str, float]]) -> list[Any]:
    from matplotlib.lines import Line2D

    def entry(label: str, **looks: Any) -> Line2D:
        return Line2D([], [], label=label, ls="none", **looks)

    shown = []
    for method in methods:
        colour, marker = figure.look(method)
        shown.append(entry(method_title(method), marker=marker, color=colour, ms=4.5, mew=0))
    if any(not math.isnan(row["majority"]) for row in rows):
        shown.append(entry("most frequent class", marker="|", color=FAINT, ms=8, mew=1.6))
    if any(method in published.get(row["task"], {}) for row in rows for method in methods):
        shown.append(entry("published", marker="o", color=FAINT, mfc="none", ms=5, mew=0.9))
    return shown
