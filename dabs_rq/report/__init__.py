"""Writes the report: one self-contained HTML page with the table, its plots, pretraining curves, views of the
quantizer, experiments and every record; and the plots as PDF and SVG.

Sorting, filtering and opening a record use built-in elements (buttons, radio buttons, `<dialog>`) and a short script: a
table library would know neither domains nor records, and would need as much code around it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dabs_rq import registry, table
from dabs_rq.data.requests import missing_text
from dabs_rq.domain import Domain
from dabs_rq.files import digest, locked_folder, remove_leftovers, write_text
from dabs_rq.records import significance
from dabs_rq.report import cells, citation, curves, experiment, figure, page, scores, views
from dabs_rq.report.cells import Cells
from dabs_rq.report.page import Copy, Figure, Section
from dabs_rq.run import Run
from dabs_rq.run.words import shell_line
from dabs_rq.table import ours
from dabs_rq.table.columns import is_network, method_title, run_of
from dabs_rq.table.contents import Table
from dabs_rq.table.layout import lay_out
from dabs_rq.table.published import read_published

PAGE, FIGURES = "report.html", "figures"
QUANTIZER = "rq"  # the method whose options the views of the quantizer use


@dataclass(frozen=True)
class Report:
    """`page`: the HTML file. The table's files and the folder of figures are in the same folder."""

    page: Path
    table: Table


def write(run: Run) -> Report:
    """Write the table, report.html and figures/ to the run's results folder, or to a subfolder for a variant.

    Raises OptionError as `table.build` does, and if matplotlib is missing; RecordError if there is a file of the same
    name that is not ours."""
    if run.options.table.probes != "own":
        run = run.replace({"table.probes": "own"})
    with figure.style():
        built = table.build(run)
        folder = table.write(run, built)
        ours.check_replaceable([folder / PAGE, folder / figure.LIST])
        with locked_folder(folder):
            remove_leftovers(folder / FIGURES)
            html, figure_names = _compose(run, built, folder / FIGURES)
            _remove_old(folder / FIGURES, figure_names)
            write_text(folder / PAGE, html)
    return Report(folder / PAGE, built)


def _remove_old(folder: Path, names: set[str]) -> None:
    """Delete the figures of an earlier report that the page no longer shows: files that stand in the list it wrote, and
    have not changed since. Then write the list of this report."""
    earlier = figure.listed(folder)
    current = {f"{name}.{kind}" for name in names for kind in ("pdf", "svg")}
    for name, content in earlier.items():
        file = folder / name
        ours = re.fullmatch(r"[\w-]+\.(pdf|svg)", name) and file.is_file() and not file.is_symlink()
        if ours and name not in current and digest(file.read_bytes()) == content:
            file.unlink()
    written = {name: digest((folder / name).read_bytes()) for name in sorted(current)}
    if written or earlier:
        write_text(folder.parent / figure.LIST, json.dumps(written, indent=1) + "\n")


def _compose(run: Run, built: Table, figures: Path) -> tuple[str, set[str]]:
    """Write the figures; return the page and the names of its figures."""
    runs = {name: run_of(run, name) for name in built.methods}
    of_methods = {name: one for name, one in runs.items() if not is_network(name)}
    layout = lay_out(built, spread=False)
    page_cells = cells.build(runs, built, layout)
    domains = [run.domain_called(str(name)) for name in built.frame["domain"].unique()]
    sections = [_scores(runs, built, page_cells, domains, figures), _curves(of_methods, domains, figures)]
    if QUANTIZER in runs and any(page_cells.records.values()):  # without results, write no miniature
        sections.append(_views(runs[QUANTIZER], domains, figures))
    experiments = experiment.section(run, figures)
    if experiments.figures or experiments.missing or experiments.links:
        sections.append(experiments)
    html = page.render(
        title=built.title,
        warning=run.data_note if run.made_up else "",
        facts=_facts(run, runs, built, page_cells),
        titles={domain.name: domain.title for domain in domains},
        layout=layout,
        page_cells=page_cells,
        sections=sections,
        copies=[
            Copy("CSV", "table.csv", table.to_csv(built)),
            Copy("LaTeX", "table.tex", table.to_latex(built)),
            Copy("BibTeX", "references.bib", citation.bibtex()),
        ],
        beside=[(method_title(name), cells.beside_kinds(built, name)) for name in built.methods],
        reference=method_title(significance.reference(built.methods)),
        problems=_problems(run, built, page_cells, domains),
        folder=FIGURES,
    )
    return html, {entry.plot.name for section in sections for entry in section.figures}


def _changed(runs: Mapping[str, Run]) -> dict[str, object]:
    """Return the options that differ from configs/ for any method."""
    return {key: value for run in runs.values() for key, value in run.composed.changed(of_pretraining=False).items()}


def _facts(run: Run, runs: Mapping[str, Run], built: Table, page_cells: Cells) -> list[tuple[str, str]]:
    shown = [record for records in page_cells.records.values() for record in records]
    days = sorted(record.created[:10] for record in shown)
    results = int(built.frame[list(runs)].notna().to_numpy().sum())
    return [
        ("Scale", run.options.scale.name),
        ("Protocol", run.options.protocol.name),
        ("Data", run.about_data),
        ("Seeds", ", ".join(map(str, run.options.seeds))),
        ("Options that differ", ", ".join(f"{key}={value}" for key, value in sorted(_changed(runs).items())) or "none"),
        ("Results", f"{results} of {len(page_cells.rows) * len(runs)}"),
        ("Computed", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing yet"),
        ("Commit", _distinct(_short(record.commit or "unknown") for record in shown)),
        ("Machine", _distinct(record.hardware for record in shown)),
        ("Command", shell_line("report", run.words)) if shown else ("To run first", shell_line("suite", run.words)),
    ]


def _short(commit: str) -> str:
    """Shorten a commit's hash to 12 digits; "-dirty" stays."""
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]+", r"\1", commit)


def _distinct(values: Iterable[str]) -> str:
    """List the distinct values, the most frequent first, at most three of them."""
    ordered = [value for value, _ in Counter(values).most_common()]
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(ordered[:3]) + more or "-"


def _scores(runs: Mapping[str, Run], built: Table, page_cells: Cells, domains: Sequence[Domain], out: Path) -> Section:
    run = runs[built.methods[0]]
    texts = [
        "Dots are scores, lines their 95 % intervals: over seeds if there are several (Student's t), else over test "
        "examples (1.96 standard errors; training variance not included). A grey stroke is the accuracy of always "
        "answering the most frequent class."
    ]
    rows: list[Any] = built.frame.to_dict("records")
    published: Mapping[str, Mapping[str, float]] = {}
    if run.published_compares:
        compared = read_published(run, built.methods, _changed(runs))
        published = compared.scores
        no_comparison = f" They cannot be compared: {compared.reason}." if compared.reason else ""
        texts.append(f"Hollow markers are published numbers.{no_comparison}")
        incomparable = []
        for row in rows:
            records = page_cells.records[row["domain"], row["task"]]
            _, reason = compared.columns(registry.task(row["domain"], row["task"]), row, records)
            incomparable += [f"{row['row']} ({reason})"] if reason else []
        if incomparable:
            texts.append(f"No comparison with the published number in: {'; '.join(incomparable)}.")
    section = Section("scores", "Scores", texts)
    for domain in domains:
        domain_rows = [row for row in rows if row["domain"] == domain.name]
        if plot := scores.draw(domain, domain_rows, built.methods, published, out):
            section.figures.append(Figure(domain.name, plot))
        else:
            section.missing.append(f"{domain.title}: no scores yet.")
    return section


def _curves(runs: Mapping[str, Run], domains: Sequence[Domain], out: Path) -> Section:
    untrained = [method_title(method) for method in runs if not registry.method(method).trains]
    texts = [
        "Scalars that training logged, one curve per seed. Each method has its own loss: compare shapes, not heights. "
        "The other curves measure the features of one fixed batch of training examples: effective rank (how many "
        "directions the features use), top share (of the variance, along the strongest direction), norm (their mean "
        "length) and spread (standard deviation relative to length; 0 if all are equal)."
        + (f" {', '.join(untrained)}: no pretraining, so no curve." if untrained else "")
    ]
    section = Section("pretraining", "Pretraining", texts)
    for domain in domains:
        of_domain = {method: run.replace(domain=domain.name) for method, run in runs.items()}
        plot, missing = curves.draw(of_domain, domain, out)
        section.missing += missing
        section.warnings += curves.warnings(of_domain, domain)
        if plot:
            section.figures.append(Figure(domain.name, plot))
    return section


def _views(run: Run, domains: Sequence[Domain], out: Path) -> Section:
    run = run.replace({"loader.prepare": "never"})  # decode one example instead of filling the cache
    options = run.method.options
    level = {
        "auto": "what the figures do",
        "embedding": "the token embeddings of every domain",
        "input": "the inputs themselves",
    }[options.level]
    texts = [
        f"One example of each pretraining source and two random views of it, with this run's options (bins "
        f"{options.bins}, spacing {options.spacing}, collapse {options.collapse}, granularity {options.granularity}). "
        "For pictures, spectrograms (lowest band on top) and series the figures quantize the input itself, where the "
        "effect is visible; for token ids, their embeddings by the initial encoder. In pretraining this run quantizes "
        f"{level}."
    ]
    section = Section("quantizer", "The quantizer", texts)
    for domain in domains:
        example = views.draw(run.replace(domain=domain.name), out)
        if isinstance(example, str):
            section.missing.append(example)
        else:
            section.figures.append(Figure(domain.name, example.plot, example.caption))
    return section


def _problems(run: Run, built: Table, page_cells: Cells, domains: Sequence[Domain]) -> list[str]:
    """List what is missing from the page, and why."""
    problems = [f"Left out: {error}" for error in built.errors]
    problems += page_cells.failed
    count = len(page_cells.rows)
    for method in built.methods:
        if rows := page_cells.missing.get(method):
            named = f": {', '.join(rows)}" if len(rows) < count else ""
            problems.append(f"{method_title(method)} has no result in {len(rows)} of {count} rows{named}.")
        if rows := page_cells.fewer_seeds.get(method):
            seeds = len(run.options.seeds)
            problems.append(f"{method_title(method)} has scores of fewer than {seeds} seeds in {', '.join(rows)}.")
    if (root := run.places.data) is not None:
        below_root = [domain for domain in domains if domain.installed is None]
        sources = [domain.pretraining.source for domain in below_root]
        sources += [task.source for domain in below_root for task in domain.tasks]
        for source in {source.name: source for source in sources}.values():
            if missing_paths := source.missing(root):
                problems.append(missing_text(source, root, missing_paths).splitlines()[0])
    return problems
