"""Writes the page of two compared runs: scores and differences with their intervals, plots, and what else differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dabs_rq import registry
from dabs_rq.errors import printable
from dabs_rq.files import locked_folder, remove_leftovers, write_text
from dabs_rq.report import figure, page
from dabs_rq.report.figure import FAINT, Plot
from dabs_rq.report.page import Figure
from dabs_rq.run.options import PROBE_TITLES
from dabs_rq.share import compared
from dabs_rq.share.compare import A, B, Comparison, Pair
from dabs_rq.table import ours
from dabs_rq.table.columns import method_title

PAGE, FIGURES = "compare.html", "figures"


@dataclass(frozen=True)
class Row:
    """A line of the page's table. numbers, p: as text, and the value to sort by. clear: whether the interval of the
    difference leaves 0 out."""

    domain: str
    title: str
    method: str
    probe: str
    metric: str
    numbers: tuple[tuple[str, float | None], ...]
    interval: str
    p: tuple[str, float | None]
    seeds: str
    clear: bool


def write(comparison: Comparison, folder: Path) -> Path:
    """Write compare.html, which loads nothing, and figures/ into `folder`; without matplotlib, a page that says what
    its figures need. Return the page. Raises RecordError if a file there is not ours."""
    target = folder / PAGE
    ours.check_replaceable([target])
    with locked_folder(folder):
        remove_leftovers(folder / FIGURES)
        write_text(target, _html(comparison, folder / FIGURES))
    return target


def _html(comparison: Comparison, out: Path) -> str:
    pairs = comparison.pairs
    no_figures = figure.unavailable()
    domains = {pair.key.domain: registry.domain(pair.key.domain).title for pair in pairs}
    only = [(f"only-{side.lower()}", f"Only in {side}", [name for _, name in comparison.only[side]]) for side in (A, B)]
    others = [
        *only,
        ("no-score", "Without a score", list(comparison.without_score)),
        ("left-out", "Left out", list(comparison.errors)),
    ]
    others = [other for other in others if other[2]]
    of_both = [
        ("cells", "Cells in both"),
        ("plots", "Plots"),
        ("basis", "How differences are computed"),
        ("differs", "What differs"),
    ]
    bases = compared.bases(comparison)
    return page.fill(
        "comparison.html",
        ("table.js",) if pairs else (),
        title="Two runs compared",
        warning=compared.data_note(comparison),
        facts=_facts(comparison),
        links=[*(of_both if pairs else []), *((anchor, name) for anchor, name, _ in others)],
        domains=list(domains.items()),
        rows=[_row(pair) for pair in pairs],
        figures=_draw(pairs, out) if pairs and not no_figures else [],
        no_figures=no_figures,
        folder=FIGURES,
        bases=[f"{basis}: {', '.join(cells) if len(bases) > 1 else 'all cells'}" for basis, cells in bases.items()],
        differing=compared.differing(comparison),
        others=others,
    )


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    clear = [pair for pair in comparison.pairs if _is_clear(pair)]
    higher = sum(pair.difference > 0 for pair in clear)
    unpaired = sum(math.isnan(pair.difference) for pair in comparison.pairs)
    return [
        (A, printable(str(comparison.a))),
        (B, printable(str(comparison.b))),
        ("Cells in both", str(len(comparison.pairs))),
        ("B higher, lower by more than noise", f"{higher}, {len(clear) - higher}"),
        ("Without a difference", str(unpaired)),
        *((f"Only in {side}", str(len(comparison.only[side]))) for side in (A, B)),
    ]


def _is_clear(pair: Pair) -> bool:
    return pair.low > 0 or pair.high < 0  # False for NaN


def _row(pair: Pair) -> Row:
    known = not math.isnan(pair.low)
    return Row(
        domain=pair.key.domain,
        title=_title(pair),
        method=_method(pair),
        probe=_probe(pair),
        metric=pair.metric,
        numbers=(_number(pair.a), _number(pair.b), _number(pair.difference, "+")),
        interval=f"[{pair.low:+.2f}, {pair.high:+.2f}]" if known else "-",
        p=("-", None) if math.isnan(pair.p) else (f"{pair.p:.2g}", pair.p),
        seeds=" ".join(map(str, pair.seeds)) or "none in both",
        clear=_is_clear(pair),
    )


def _number(value: float, sign: str = "") -> tuple[str, float | None]:
    return ("-", None) if math.isnan(value) else (f"{round(value, 2) + 0.0:{sign}.2f}", value)


def _title(pair: Pair) -> str:
    return pair.row if pair.key.split == "test" else f"{pair.row} ({printable(pair.key.split)})"


def _method(pair: Pair) -> str:
    return printable(method_title(pair.key.method))


def _probe(pair: Pair) -> str:
    titles: dict[str, str] = {**PROBE_TITLES}
    return titles.get(pair.key.probe, printable(pair.key.probe))


# ---- plots ---------------------------------------------------------------------------------------------------------


def _draw(pairs: Sequence[Pair], out: Path) -> list[Figure]:
    """Draw A against B, and a figure of differences for each domain."""
    with figure.style():
        figures = [Figure("", _scatter(pairs, out), "Every cell, by method.", "A against B")]
        for domain in dict.fromkeys(pair.key.domain for pair in pairs):
            of_domain = [pair for pair in pairs if pair.key.domain == domain and not math.isnan(pair.difference)]
            if of_domain:
                title = registry.domain(domain).title
                figures.append(Figure(domain, _differences(domain, title, of_domain, out), "", title))
    return figures


def _methods(pairs: Sequence[Pair]) -> dict[str, str]:
    """Return the name of each method -> its title for a figure, in the order of a table's columns, networks last."""
    titles = {pair.key.method: _plain(_method(pair)) for pair in pairs}
    known = [name for name in registry.method_names() if name in titles]
    return {name: titles[name] for name in dict.fromkeys((*known, *titles))}


def _plain(text: str) -> str:
    """Keep a figure from reading signs as a formula."""
    return text.replace("$", r"\$")


def _scatter(pairs: Sequence[Pair], out: Path) -> Plot:
    plot = figure.new(4.4)
    axes = plot.add_subplot()
    methods = _methods(pairs)
    for method, title in methods.items():
        colour, marker = figure.method_style(method)
        points = [(pair.a, pair.b) for pair in pairs if pair.key.method == method]
        axes.plot(*zip(*points, strict=True), marker, color=colour, ms=4.2, mew=0, alpha=0.8, label=title)
    values = [value for pair in pairs for value in (pair.a, pair.b)]
    margin = 2 + 0.04 * (max(values) - min(values))
    ends = (min(values) - margin, max(values) + margin)
    axes.plot(ends, ends, color=FAINT, lw=0.8, zorder=0)
    axes.set(xlim=ends, ylim=ends, xlabel="A, percent", ylabel="B, percent", aspect="equal")
    axes.grid()
    plot.legend(loc="outside upper center", ncols=figure.legend_columns(list(methods.values())), handletextpad=0.3)
    names = ", ".join(methods.values())
    alternative = f"Scores of B against those of A in {len(pairs)} cells of {names}. The table has the numbers."
    return figure.save(plot, out, "compare-scores", alternative)


def _differences(domain: str, title: str, pairs: Sequence[Pair], out: Path) -> Plot:
    rows = list(dict.fromkeys((_title(pair), _probe(pair)) for pair in pairs))
    methods = _methods(pairs)
    columns = figure.legend_columns(list(methods.values()))
    step = 0.6 / max(1, len(methods) - 1)
    height = len(rows) * max(0.3, 0.11 * len(methods)) + 0.15 * -(-len(methods) // columns)
    plot = figure.new(0.6 + height)
    axes = plot.add_subplot()
    axes.axvline(0, color=FAINT, lw=1)
    for offset, (method, name) in enumerate(methods.items()):
        colour, marker = figure.method_style(method)
        of_method = [pair for pair in pairs if pair.key.method == method]
        for number, pair in enumerate(of_method):
            place = rows.index((_title(pair), _probe(pair))) + (step * offset - 0.3 if len(methods) > 1 else 0)
            known = not math.isnan(pair.low)
            axes.plot([pair.low, pair.high], [place] * 2, color=colour, lw=1.2)
            filled = {"mew": 0} if known else {"mfc": "none", "mew": 0.9}
            label = name if number == 0 else None
            axes.plot(pair.difference, place, marker, color=colour, ms=4.2, label=label, **filled)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="B - A, points")
    axes.set_yticks(range(len(rows)), [_plain(f"{row}, {probe}" if probe else row) for row, probe in rows])
    axes.tick_params("y", length=0)
    axes.grid(axis="x")
    axes.margins(x=0.05)
    plot.legend(loc="outside upper center", ncols=columns, handletextpad=0.3)
    names = ", ".join(methods.values())
    alternative = f"Differences B - A in {title} with 95 % intervals, of {names}. The table has the numbers."
    return figure.save(plot, out, f"compare-{domain}", alternative)
