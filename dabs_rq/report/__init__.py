"""The report: the table, its plots, pretraining curves, the quantizer at work and every record in one HTML page that
needs nothing else, and the plots as PDF and SVG.

Sorting, filtering and opening a record are what browsers have (buttons, radio buttons, `<dialog>`) and a short script:
a table library would know neither domains nor records, and the code around it would be as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dabs_rq import registry, table
from dabs_rq.data.requests import missing_text
from dabs_rq.domain import Domain
from dabs_rq.files import write_text
from dabs_rq.report import cells, curves, figure, page, scores, views
from dabs_rq.report.cells import Cells
from dabs_rq.report.page import Figure, Part
from dabs_rq.run import Run
from dabs_rq.table.contents import Table
from dabs_rq.table.layout import layout
from dabs_rq.table.notes import method_title
from dabs_rq.table.published import read as read_published

FIGURES = "figures"
QUANTIZER = "rq"  # the method whose options the quantizer is shown with


@dataclass(frozen=True)
class Report:
    """`page`: the file; the table's files and the folder of figures lie beside it."""

    page: Path
    table: Table


def write(run: Run) -> Report:
    """Write the table, report.html and figures/ to the run's results folder (a variant's to one of its own below it).

    Raises OptionError as `table.build` does, and where matplotlib is missing."""
    with figure.style():
        built = table.build(run)
        folder = table.write(run, built)
        text, drawn = _compose(run, built, folder / FIGURES)
    for old in (folder / FIGURES).glob("*-*.*"):  # of what is no longer shown
        if old.stem not in drawn and old.stem.startswith(("scores-", "pretraining-", "quantizer-")):
            old.unlink()
    write_text(folder / "report.html", text)
    return Report(folder / "report.html", built)


def _compose(run: Run, built: Table, figures: Path) -> tuple[str, set[str]]:
    """The page, and the names of its figures, which are written."""
    runs = {method: run.replace(method=method) for method in built.methods}
    shown = layout(built)
    found = cells.build(runs, built, shown)
    domains = [registry.domain(str(name)) for name in built.frame["domain"].unique()]
    parts = [_scores(runs, built, found, domains, figures), _curves(runs, domains, figures)]
    if QUANTIZER in runs:
        parts.append(_views(runs[QUANTIZER], domains, figures))
    text = page.render(
        title=built.title,
        warning=run.data_note if run.made_up else "",
        facts=_facts(runs, built, found),
        titles={domain.name: domain.title for domain in domains},
        shown=shown,
        found=found,
        parts=parts,
        problems=_problems(run, built, found, domains),
        folder=FIGURES,
    )
    return text, {one.drawn.name for part in parts for one in part.figures}


def _changed(runs: Mapping[str, Run]) -> dict[str, object]:
    """Options that differ from configs/, of any method."""
    return {key: value for run in runs.values() for key, value in run.composed.changed(of_pretraining=False).items()}


def _facts(runs: Mapping[str, Run], built: Table, found: Cells) -> list[tuple[str, str]]:
    run = runs[built.methods[0]]
    days = sorted(one.created[:10] for of_task in found.records.values() for one in of_task)
    results = int(built.frame[list(runs)].notna().to_numpy().sum())
    return [
        ("Scale", run.options.scale.name),
        ("Protocol", run.options.protocol.name),
        ("Data", run.about_data),
        ("Seeds", ", ".join(map(str, run.options.seeds))),
        ("Options that differ", ", ".join(f"{key}={value}" for key, value in sorted(_changed(runs).items())) or "none"),
        ("Results", f"{results} of {len(found.rows) * len(runs)}"),
        ("Computed", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing yet"),
    ]


def _scores(runs: Mapping[str, Run], built: Table, found: Cells, domains: Sequence[Domain], out: Path) -> Part:
    run = runs[built.methods[0]]
    texts = [
        "Dots are scores, lines their 95 % intervals: over seeds where there are several (Student's t), else over test "
        "examples (1.96 standard errors; training variance not included). A grey stroke is the accuracy of the most "
        "frequent class."
    ]
    rows: list[Any] = built.frame.to_dict("records")
    published: Mapping[str, Mapping[str, float]] = {}
    if run.published_compares:
        known = read_published(run, built.methods, _changed(runs))
        published = known.scores
        texts.append(
            "Hollow: the published number." + (f" It does not compare: {known.reason}." if known.reason else "")
        )
        incomparable = []
        for row in rows:
            of_task = found.records[row["domain"], row["task"]]
            _, why = known.columns(registry.task(row["domain"], row["task"]), row, of_task)
            incomparable += [f"{row['row']} ({why})"] if why else []
        if incomparable:
            texts.append(f"No comparison with the published number in: {'; '.join(incomparable)}.")
    part = Part("scores", "Scores", texts)
    for domain in domains:
        of_domain = [row for row in rows if row["domain"] == domain.name]
        if drawn := scores.draw(domain, of_domain, built.methods, published, out):
            part.figures.append(Figure(domain.name, drawn))
        else:
            part.missing.append(f"{domain.title}: no scores yet.")
    return part


def _curves(runs: Mapping[str, Run], domains: Sequence[Domain], out: Path) -> Part:
    untrained = [method_title(method) for method in runs if not registry.method(method).trains]
    texts = [
        "What training logged of its batches, one curve a seed. Methods have losses of their own: shapes compare, "
        "heights do not." + (f" {', '.join(untrained)}: no pretraining, no curve." if untrained else "")
    ]
    part = Part("pretraining", "Pretraining", texts)
    for domain in domains:
        drawn, missing = curves.draw(
            {method: run.replace(domain=domain.name) for method, run in runs.items()}, domain, out
        )
        part.missing += missing
        if drawn:
            part.figures.append(Figure(domain.name, drawn))
    return part


def _views(run: Run, domains: Sequence[Domain], out: Path) -> Part:
    run = run.replace({"loader.prepare": "never"})  # one example is decoded, none is kept
    options = run.method.options
    level = {"embedding": "the token embeddings of every domain", "input": "the inputs themselves"}[options.level]
    texts = [
        f"One example of each pretraining source and two random views of it, with this run's options (bins "
        f"{options.bins}, spacing {options.spacing}, collapse {options.collapse}, granularity {options.granularity}). "
        "Pictures, spectrograms (lowest band on top) and series are quantized as they are stored, where one can see "
        "what happens; token ids as the embeddings that the initial encoder gives them. In pretraining this run "
        f"quantizes {level}."
    ]
    part = Part("quantizer", "The quantizer", texts)
    for domain in domains:
        example = views.draw(run.replace(domain=domain.name), out)
        if isinstance(example, str):
            part.missing.append(example)
        else:
            part.figures.append(Figure(domain.name, example.drawn, example.about))
    return part


def _problems(run: Run, built: Table, found: Cells, domains: Sequence[Domain]) -> list[str]:
    """What a reader would look for and not find, and why."""
    problems = [f"Left out: {error}" for error in built.errors]
    problems += found.failed
    for method in built.methods:
        if rows := found.missing.get(method):
            named = f": {', '.join(rows)}" if len(rows) < len(found.rows) else ""
            problems.append(f"{method_title(method)} has no result in {len(rows)} of {len(found.rows)} rows{named}.")
        if rows := found.fewer.get(method):
            asked = len(run.options.seeds)
            problems.append(f"{method_title(method)} has scores of fewer than {asked} seeds in {', '.join(rows)}.")
    if not run.made_up:
        sources = [domain.pretraining.source for domain in domains]
        sources += [task.source for domain in domains for task in domain.tasks]
        for source in {one.name: one for one in sources}.values():
            if lacking := source.missing(run.root):
                problems.append(missing_text(source, run.root, lacking).splitlines()[0])
    return problems
