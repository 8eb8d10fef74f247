"""The table: records to CSV, LaTeX, Markdown and HTML, in the layout and order of the published one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dabs_rq import registry
from dabs_rq.files import digest, locked, write_text
from dabs_rq.records import intervals, significance
from dabs_rq.records.metrics import METRICS
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.table.contents import DASH, Table, averages
from dabs_rq.table.html import to_html
from dabs_rq.table.notes import notes as notes_of
from dabs_rq.table.notes import title as title_of
from dabs_rq.table.published import PUBLISHED
from dabs_rq.table.published import read as read_published
from dabs_rq.table.records import Row
from dabs_rq.table.records import check as check_records
from dabs_rq.table.records import find as find_records
from dabs_rq.table.text import to_csv, to_latex, to_markdown


def build(run: Run) -> Table:
    """The table of one (data, scale, protocol) and of the options that `run` has, unchanged ones or a variant.

    Raises OptionError for published numbers where they compare with nothing."""
    import pandas as pd

    options, methods = run.options, run.methods
    composed = {
        (domain, method): run.replace(domain=domain, method=method).composed
        for domain in options.domains or registry.domain_names()
        for method in methods
    }
    variants = {cell: each.variant(of_pretraining=False) for cell, each in composed.items()}
    changed = {key: value for each in composed.values() for key, value in each.changed(of_pretraining=False).items()}
    published = read_published(run, methods, changed) if options.table.published else None
    found, errors = find_records(run, variants)

    rows: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    known: dict[tuple[str, str], Row] = {}
    row_notes: list[str] = []
    incomparable: list[str] = []  # rows whose published numbers are shown without a difference, and why
    for domain_name, task_name in table_order():
        domain = registry.domain(domain_name)
        if options.domains is not None and domain_name not in options.domains:
            continue
        task = registry.task(domain_name, task_name)
        one, wrong = check_records(run, task, found.get((domain_name, task_name), []))
        errors += wrong
        row: dict[str, Any] = {"domain": domain.name, "task": task.name, "row": task.row}
        row["metric"] = METRICS[task.metric].title
        for method in methods:
            row |= _summary(method, one.records.get(method, {}).values())
        of_row = [each for by_seed in one.records.values() for each in by_seed.values()]
        row |= _of_split(of_row)
        compared = significance.compare_row(task, _every(one.scored, methods), methods)
        comparisons += [{"domain": domain.name} | pair for pair in compared]
        if task.note:
            row_notes.append(f"{task.row}: {task.note}")
        if published is not None:
            values, why = published.columns(task, row, of_row)
            row |= values
            incomparable += [f"{task.row} ({why})"] if why else []
        one.scored.clear()  # predictions of large test splits
        known[domain_name, task_name] = one
        rows.append(row)

    if incomparable:
        row_notes.append(f"No difference from the published numbers in: {'; '.join(incomparable)}.")
    kinds = ("std", "interval", "se", "seeds")
    columns = [
        "domain",
        "task",
        "row",
        "metric",
        *methods,
        *(f"{method}_{what}" for what in kinds for method in methods),
    ]
    columns += ["n_examples", "majority"]
    if published is not None:
        columns += [f"{method}_{what}" for what in ("published", "difference") for method in published.methods]
    frame = pd.DataFrame(rows, columns=columns)
    titled = [(row["row"], one) for row, one in zip(rows, known.values(), strict=True)]
    notes = notes_of(run, methods, titled, changed, published)
    return Table(
        title=title_of(run),
        frame=frame,
        methods=methods,
        variant=digest(changed) if changed else "default",
        notes=(*notes, *row_notes),
        errors=tuple(errors),
        comparisons=significance.frame(comparisons),
        averages=averages(frame, methods),
        options=options.table,
        known=known,
    )


def _every(cells: Mapping[str, Any], methods: Iterable[str]) -> dict[str, Any]:
    return {method: cells.get(method, {}) for method in methods}


def _summary(method: str, records: Iterable[Record]) -> dict[str, float | int]:
    """A method's columns for one task, in percent; `records`: one a seed."""
    records = list(records)
    scores = [100 * one.score for one in records if one.score is not None]
    errors = [100 * one.standard_error for one in records if one.standard_error is not None]
    several = len(scores) > 1
    low, high = intervals.interval(scores, []) if several else (math.nan, math.nan)
    return {
        method: statistics.mean(scores) if scores else math.nan,
        f"{method}_std": statistics.stdev(scores) if several else math.nan,
        f"{method}_interval": (high - low) / 2,
        f"{method}_se": statistics.mean(errors) if errors else math.nan,
        f"{method}_seeds": len(scores),
    }


def _of_split(records: Sequence[Record]) -> dict[str, float | int]:
    """What the test split is, by the records of one task."""
    if not records:
        return {}
    majority = records[0].majority
    return {"n_examples": records[0].n_examples, "majority": math.nan if majority is None else 100 * majority}


def table_order() -> list[tuple[str, str]]:
    """(domain, task) of every declared task: the published rows in their order, then the others by domain."""
    import pandas as pd

    published = pd.read_csv(PUBLISHED)["task"].tolist()
    place = {task: position for position, task in enumerate(published)}
    declared = [(domain.name, task.name) for domain in registry.domains() for task in domain.tasks]
    return sorted(declared, key=lambda one: place.get(one[1], len(place)))


def write(run: Run, table: Table) -> Path:
    """Write table.csv, .tex, .md and .html, averages.csv and comparisons.csv to the run's results folder (a variant's
    to one of its own below it); return the folder."""
    folder = run.places.results if table.variant == "default" else run.places.results / f"variant-{table.variant}"
    with locked(folder):
        write_text(folder / "table.csv", to_csv(table))
        write_text(folder / "table.tex", to_latex(table))
        write_text(folder / "table.md", to_markdown(table))
        write_text(folder / "table.html", to_html(table))
        lines = table.averages.round(4).to_csv(index=False, na_rep=DASH, lineterminator="\n")
        write_text(folder / "averages.csv", lines)
        write_text(folder / "comparisons.csv", significance.to_csv(table.comparisons))
    return folder
