"""Turns records into the table, as CSV, LaTeX and Markdown, in the layout and order of the published table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.files import digest, locked_folder, write_text
from dabs_rq.metrics import metric
from dabs_rq.records import intervals, significance
from dabs_rq.records.counts import shortfall
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.run.options import TableOptions
from dabs_rq.spec import TableName
from dabs_rq.table import earlier, ours
from dabs_rq.table.columns import groups, is_network, names, networks_given, run_of
from dabs_rq.table.contents import DASH, Table, averages
from dabs_rq.table.notes import footnotes, of_other_options, of_undeclared, table_title
from dabs_rq.table.published import PUBLISHED, read_published, shows_published
from dabs_rq.table.records import Row, check_records, read_records, select_records
from dabs_rq.table.stale import stale_notes
from dabs_rq.table.text import to_csv, to_latex, to_markdown


def build(run: Run) -> Table:
    """Build the table of one (data, scale, protocol), for the default options or the variant of `run`.

    Raises OptionError if published numbers are requested where they cannot be compared."""
    import pandas as pd

    options = run.options
    records, errors = read_records(run)
    chosen = names(run, records)
    of_domains = [run.replace(domain=domain.name) for domain in run.domains]
    cells = {(one.domain.name, method): run_of(one, method) for one in of_domains for method in chosen}
    changed: dict[str, object] = {}
    for cell in cells.values():
        changed |= cell.composed.changed(of_pretraining=False)
    found = select_records(run, records, cells)
    shown = {one.method for of_task in found.by_task.values() for one in of_task}
    methods = tuple(name for name in chosen if name in shown or not is_network(name) or networks_given(run))
    published = read_published(run, methods, changed) if shows_published(run) else None
    by_probe = groups(run, methods)
    columns = tuple(name for group in by_probe for name in group.columns)

    rows: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    results: dict[tuple[str, str], Row] = {}
    row_notes: list[str] = []
    incomparable: list[str] = []  # rows with published numbers but no difference, and why
    for domain_name, task_name in table_order(options.domains, options.scale.sources, options.table.columns):
        domain = registry.domain(domain_name)
        task = registry.task(domain_name, task_name)
        result, broken = check_records(run, task, found.by_task.get((domain_name, task_name), []))
        errors += broken
        row: dict[str, Any] = {"domain": domain.name, "task": task.name, "row": task.row}
        row["metric"] = metric(task.metric).title
        for name in columns:
            row |= _summary(name, result.records.get(name, {}).values())
        row_records = [record for by_seed in result.records.values() for record in by_seed.values()]
        row |= _split_facts(row_records)
        for group in by_probe:
            scored = {name: result.scored.get(name, {}) for name in group.columns}
            compared = significance.compare_row(task, scored, group.columns)
            comparisons += [{"domain": domain.name} | pair for pair in compared]
        short = next(filter(None, (shortfall(task, one) for one in row_records)), "")
        if short and not run.made_up:
            row_notes.append(f"{task.row}: {short}.")
        # The note of such a row is about the numbers of the RQ paper's table.
        if task.note and (task.published_comparable or task.in_place_of or options.table.columns == "rq"):
            row_notes.append(f"{task.row}: {task.note}")
        if published is not None:
            values, reason = published.columns(task, row, row_records)
            row |= values
            incomparable += [f"{task.row} ({reason})"] if reason else []
        result.scored.clear()  # frees the predictions, which are large
        results[domain_name, task_name] = result
        rows.append(row)

    row_notes += [*of_other_options(found.left_out), *of_undeclared(found.undeclared)]
    row_notes += stale_notes(run, cells, results)
    if incomparable:
        row_notes.append(f"No difference from the published numbers in: {'; '.join(incomparable)}.")
    suffixes = ("std", "interval", "se", "seeds")
    head = ["domain", "task", "row", "metric", *columns]
    head += [f"{name}_{suffix}" for suffix in suffixes for name in columns]
    head += ["n_examples", "majority"]
    if published is not None:
        head += [f"{method}_{suffix}" for suffix in ("published", "difference") for method in published.methods]
    frame = pd.DataFrame(rows, columns=head)
    networks = [name for name in columns if is_network(name)]
    titled = [(row["row"], result) for row, result in zip(rows, results.values(), strict=True)]
    notes = footnotes(run, methods, titled, changed, published)
    return Table(
        title=table_title(run),
        frame=frame,
        groups=by_probe,
        variant=digest(changed) if changed else "default",
        notes=(*notes, *row_notes),
        errors=tuple(errors),
        comparisons=significance.frame(comparisons),
        averages=averages(frame, [group.columns for group in by_probe], networks),
        not_shown=found.not_shown,
        options=options.table,
        results=results,
    )


def _summary(method: str, records: Iterable[Record]) -> dict[str, float | int]:
    """Return a method's columns for one task, in percent. `records`: one per seed."""
    records = list(records)
    scores = [100 * record.score for record in records if record.score is not None]
    errors = [100 * record.standard_error for record in records if record.standard_error is not None]
    several = len(scores) > 1
    low, high = intervals.interval(scores, []) if several else (math.nan, math.nan)
    return {
        method: statistics.mean(scores) if scores else math.nan,
        f"{method}_std": statistics.stdev(scores) if several else math.nan,
        f"{method}_interval": (high - low) / 2,
        f"{method}_se": statistics.mean(errors) if errors else math.nan,
        f"{method}_seeds": len(scores),
    }


def _split_facts(records: Sequence[Record]) -> dict[str, float | int]:
    """Return the size and the majority accuracy of the test split, from the records of one task."""
    if not records:
        return {}
    majority = records[0].majority
    return {"n_examples": records[0].n_examples, "majority": math.nan if majority is None else 100 * majority}


def table_order(
    domains: Sequence[str] | None = None, sources: str | None = None, columns: TableName = "rq"
) -> list[tuple[str, str]]:
    """Return (domain, task) for every task of `domains`, by default those of the table `columns`, with a set of
    sources: the rows that the RQ paper published, or those that stand in for them, in its order, then the others by
    domain."""
    import pandas as pd

    published = pd.read_csv(PUBLISHED)["task"].tolist()
    positions = {task: position for position, task in enumerate(published)}
    chosen = registry.chosen_domains(domains, sources, columns)
    declared = [(domain.name, task) for domain in chosen for task in domain.tasks]

    def order(row: tuple[str, Task]) -> tuple[int, str]:
        return positions.get(row[1].in_place_of or row[1].name, len(positions)), row[0]

    return [(domain, task.name) for domain, task in sorted(declared, key=order)]


def write(run: Run, table: Table) -> Path:
    """Write table.csv, .tex and .md, averages.csv and comparisons.csv to the run's results folder, or to a
    subfolder for the columns of another published table, for a variant or for the columns of all probes; a selection of
    domains goes to a subfolder of its own if there is a table with others. Return the folder.

    Warns if the table there had more. Raises RecordError if the new one has no result at all and that one has, and if
    a file of these names is there that is not ours."""
    columns = table.options.columns
    below = Path() if columns == TableOptions.columns else Path(columns)
    below = below if table.variant == "default" else below / f"variant-{table.variant}"
    below = below if len(table.groups) == 1 else below / "probes"
    folder = run.places.table / below
    if run.places.selection and earlier.other_domains(folder, table):
        folder = run.places.table / run.places.selection / below
    files = {
        "table.csv": to_csv,
        "table.tex": to_latex,
        "table.md": to_markdown,
        "averages.csv": _averages_csv,
        "comparisons.csv": _comparisons_csv,
    }
    ours.check_replaceable(folder / name for name in files)
    earlier.compare(folder, table)
    with locked_folder(folder):
        for name, to_text in files.items():
            write_text(folder / name, to_text(table))
    return folder


def _averages_csv(table: Table) -> str:
    return table.averages.round(4).to_csv(index=False, na_rep=DASH, lineterminator="\n")


def _comparisons_csv(table: Table) -> str:
    return significance.to_csv(table.comparisons)
