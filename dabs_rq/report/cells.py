"""The cells of the page's table, each with its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dabs_rq.metrics import metric
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.table.columns import method_title
from dabs_rq.table.contents import DASH, Table
from dabs_rq.table.layout import Cell, Layout, Line
from dabs_rq.table.records import record_file


@dataclass(frozen=True)
class Number:
    """A cell of the page.

    cell: the cell as the table shows it. sort_value: the number to sort by, or None. details: the index of its records
    in `Cells.details`, or None."""

    cell: Cell
    sort_value: float | None
    details: int | None = None


@dataclass(frozen=True)
class Row:
    """`domain`: its name, or "" for the average over all domains."""

    domain: str
    title: str
    metric: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Details:
    """What the dialog of a cell shows. `facts`: pairs of a label and its values, one per seed or a single one that
    all seeds share."""

    title: str
    seeds: tuple[int, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass
class Cells:
    """The page's table. `rows`: in table order. `records`: (domain, task) -> records with a score. `failed`: messages
    for records without a score. `missing`: method -> titles of rows without any record. `fewer_seeds`: method -> titles
    of rows with scores for some seeds but not for all."""

    rows: list[Row] = field(default_factory=list)
    averages: list[Row] = field(default_factory=list)
    details: list[Details] = field(default_factory=list)
    records: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    fewer_seeds: dict[str, list[str]] = field(default_factory=dict)


def build(runs: Mapping[str, Run], table: Table, layout: Layout) -> Cells:
    """Build the cells of the page. `runs`: method -> its run. `layout`: the layout of `table`."""
    run = runs[table.methods[0]]
    cells = Cells()
    for (name, rows), group in zip(table.frame.groupby("domain", sort=False), layout.groups, strict=True):
        domain = str(name)
        for task, line in zip(rows["task"], group.lines, strict=True):
            result = table.results[domain, task]
            cells.records[domain, task] = [record for seeds in result.records.values() for record in seeds.values()]
            numbers = [_number(cell) for cell in line.cells]
            for column, method in enumerate(table.methods):
                scored = list(result.records.get(method, {}).values())
                failed = [record for record in result.failed.values() if record.method == method]
                if not scored and not failed:
                    cells.missing.setdefault(method, []).append(line.title)
                    continue
                if 0 < len(scored) < len(run.options.seeds):
                    cells.fewer_seeds.setdefault(method, []).append(line.title)
                numbers[column] = _number(line.cells[column], len(cells.details))
                title = f"{line.title}, {method_title(method)}"
                mean = f": {line.cells[column].text}" if len(scored) > 1 else ""
                cells.details.append(_details(runs[method], title + mean, [*scored, *failed]))
                cells.failed += [f"{title}, seed {record.seed}: no score ({record.why_no_score})." for record in failed]
            cells.rows.append(Row(domain, line.title, line.metric, tuple(numbers)))
        cells.averages += [_average(domain, group.mean)] if group.mean else []
    cells.averages += [_average("", layout.rank)] if layout.rank else []
    return cells


def _number(cell: Cell, details: int | None = None) -> Number:
    # Sort by the rounded number, so that the order agrees with what the reader sees.
    return Number(cell, None if cell.text in ("", DASH) else float(cell.text.split()[0]), details)


def _average(domain: str, line: Line) -> Row:
    return Row(domain, line.title, line.metric, tuple(map(_number, line.cells)))


def _details(run: Run, title: str, records: Sequence[Record]) -> Details:
    ordered = sorted(records, key=lambda record: record.seed)
    facts_by_seed = [_facts(run, record) for record in ordered]
    facts = []
    for label in dict.fromkeys(label for seed_facts in facts_by_seed for label in seed_facts):
        values = tuple(seed_facts.get(label, DASH) for seed_facts in facts_by_seed)
        facts.append((label, values[:1] if len(set(values)) == 1 else values))
    return Details(title, tuple(record.seed for record in ordered), tuple(facts))


def _facts(run: Run, record: Record) -> dict[str, str]:
    facts = {
        metric(record.metric).title: _percent(record.score)
        if record.score is not None
        else f"no score: {record.why_no_score}",
        "Standard error": _percent(record.standard_error),
        "Most frequent class": _percent(record.majority),
        **{metric(name).title: _percent(value) for name, value in record.also.items()},
        "Test examples": f"{record.n_examples:,}",
        "Training examples": f"{record.n_train:,}",
        "Probe": _listed({name.replace("_", " "): value for name, value in record.probe.items()}),
        "Options that differ": _listed(run.composed.changed(of_pretraining=False), "="),
        "Checkpoint": record.checkpoint,
        "Training split": record.train_split,
        "Test split": record.test_split,
        "Computed": record.created,
        "Seconds": f"{record.seconds:g}",
        "Hardware": record.hardware,
        "Commit": record.commit or "unknown",
        "Versions": _listed(record.versions),
        "Record": str(record_file(run, record)),
    }
    return {label: text for label, text in facts.items() if text != DASH}


def _percent(fraction: float | None) -> str:
    return DASH if fraction is None else f"{100 * fraction:.2f}"


def _listed(values: Mapping[str, Any], sign: str = " ") -> str:
    return ", ".join(f"{name}{sign}{_text(value)}" for name, value in values.items()) or "none"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
