"""Draws the scores of a domain as dot plots: every method with its 95 % interval, the accuracy of the most frequent
class, and the published numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dabs_rq import registry
from dabs_rq.domain import Domain
from dabs_rq.metrics import metric
from dabs_rq.report import figure
from dabs_rq.report.figure import FAINT, Plot
from dabs_rq.table.columns import method_title

Row = Mapping[Any, Any]  # a row of Table.frame


def half_interval(row: Row, method: str) -> float:
    """Return half of the 95 % interval of a score in percent, not clipped: over seeds if there are several, else over
    test examples by the normal approximation; NaN if it is unknown."""
    half_width = float(row[f"{method}_interval"])
    return 1.96 * float(row[f"{method}_se"]) if math.isnan(half_width) else half_width


def interval(row: Row, method: str) -> tuple[float, float]:
    """Return the 95 % interval of a score in percent: over seeds if there are several, else over test examples by the
    normal approximation. It is clipped to the range of the metric, and (nan, nan) if it is unknown."""
    half_width = half_interval(row, method)
    if math.isnan(row[method] - half_width):
        return math.nan, math.nan
    return max(100 * metric(_metric(row)).lowest, row[method] - half_width), min(100.0, row[method] + half_width)


def draw(
    domain: Domain, rows: Sequence[Row], methods: Sequence[str], published: Mapping[str, Mapping[str, float]], out: Path
) -> Plot | None:
    """Draw the scores of `rows`; None if no row has a score. `published`: task -> method -> percent."""
    methods = [method for method in methods if any(not math.isnan(row[method]) for row in rows)]
    if not methods:
        return None
    step = 0.6 / max(1, len(methods) - 1)
    entries = _legend(methods, rows, published)
    columns = figure.legend_columns([entry.get_label() for entry in entries])
    plot = figure.new(0.6 + 0.15 * -(-len(entries) // columns) + len(rows) * max(0.3, 0.11 * len(methods)))
    axes = plot.add_subplot()
    for position, row in enumerate(rows):
        if _has_majority(row):
            axes.plot([row["majority"]] * 2, [position - 0.42, position + 0.42], color=FAINT, lw=1.6)
        if position:
            axes.axhline(position - 0.5, color=FAINT, lw=0.5, alpha=0.3)
    for offset, method in enumerate(methods):
        colour, marker = figure.method_style(method)
        for position, row in enumerate(rows):
            height = position - 0.3 + step * offset if len(methods) > 1 else position
            axes.plot(interval(row, method), [height] * 2, color=colour, lw=1.2)
            axes.plot(row[method], height, marker, color=colour, ms=4.2, mew=0)
            if (published_score := published.get(row["task"], {}).get(method)) is not None:
                axes.plot(published_score, height, marker, color=colour, ms=5, mfc="none", mew=0.9)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="percent")
    axes.set_yticks(range(len(rows)), [_title(row) for row in rows])
    axes.tick_params("y", length=0)
    axes.grid(axis="x")
    axes.margins(x=0.03)
    plot.legend(handles=entries, loc="outside upper center", ncols=columns, handletextpad=0.3)
    titles = ", ".join(map(method_title, methods))
    return figure.save(
        plot,
        out,
        f"scores-{domain.name}",
        f"Dot plot of scores in {domain.title}: {titles}, with 95 % intervals, for {', '.join(map(_title, rows))}. "
        "The table has the numbers.",
    )


def _metric(row: Row) -> str:
    return registry.task(row["domain"], row["task"]).metric


def _has_majority(row: Row) -> bool:
    return _metric(row) in ("accuracy", "token_accuracy") and not math.isnan(row["majority"])


def _title(row: Row) -> str:
    accuracy = _metric(row) == "accuracy"
    return str(row["row"]) if accuracy else f"{row['row']} ({row['metric']})"


def _legend(methods: Sequence[str], rows: Sequence[Row], published: Mapping[str, Mapping[str, float]]) -> list[Any]:
    from matplotlib.lines import Line2D

    def entry(label: str, **style: Any) -> Line2D:
        return Line2D([], [], label=label, ls="none", **style)

    entries = []
    for method in methods:
        colour, marker = figure.method_style(method)
        entries.append(entry(method_title(method), marker=marker, color=colour, ms=4.5, mew=0))
    if any(map(_has_majority, rows)):
        entries.append(entry("most frequent class", marker="|", color=FAINT, ms=8, mew=1.6))
    if any(method in published.get(row["task"], {}) for row in rows for method in methods):
        entries.append(entry("published", marker="o", color=FAINT, mfc="none", ms=5, mew=0.9))
    return entries
