"""The cells of the page's table, each with its records."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dabs_rq.metrics import metric
from dabs_rq.records.record import Record
from dabs_rq.records.significance import reference
from dabs_rq.report.scores import half_interval
from dabs_rq.run import Run
from dabs_rq.table.columns import method_title
from dabs_rq.table.contents import DASH, Table
from dabs_rq.table.layout import Cell, Layout, Line, number
from dabs_rq.table.records import record_file


@dataclass(frozen=True)
class Beside:
    """A cell of a column that is hidden at first. kind: "spread", half of the 95 % interval of a score, or
    "difference", that from the reference with its 95 % interval. text: "" without a number."""

    kind: Literal["spread", "difference"]
    text: str = ""
    sort_value: float | None = None


@dataclass(frozen=True)
class Number:
    """A cell of the page.

    cell: the cell as the table shows it. sort_value: the number to sort by, or None. details: the index of its records
    in `Cells.details`, or None. beside: the cells of the columns beside it that are hidden at first, see `Beside`."""

    cell: Cell
    sort_value: float | None
    details: int | None = None
    beside: tuple[Beside, ...] = ()


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
    compared = table.comparisons[table.comparisons["against"] == reference(table.methods)].to_dict("records")
    differences = {(one["domain"], one["task"], one["method"]): one for one in compared}
    for (name, rows), group in zip(table.frame.groupby("domain", sort=False), layout.groups, strict=True):
        domain = str(name)
        for row, line in zip(rows.to_dict("records"), group.lines, strict=True):
            task = row["task"]
            result = table.results[domain, task]
            cells.records[domain, task] = [record for seeds in result.records.values() for record in seeds.values()]
            numbers = [_number(cell) for cell in line.cells]
            for column, method in enumerate(table.methods):
                numbers[column] = replace(numbers[column], beside=_beside(table, row, method, differences))
                scored = list(result.records.get(method, {}).values())
                failed = [record for record in result.failed.values() if record.method == method]
                if not scored and not failed:
                    cells.missing.setdefault(method, []).append(line.title)
                    continue
                if 0 < len(scored) < len(run.options.seeds):
                    cells.fewer_seeds.setdefault(method, []).append(line.title)
                numbers[column] = replace(numbers[column], details=len(cells.details))
                title = f"{line.title}, {method_title(method)}"
                mean = f": {number(row[method], row[f'{method}_std'])}" if len(scored) > 1 else ""
                cells.details.append(_details(runs[method], title + mean, [*scored, *failed]))
                cells.failed += [f"{title}, seed {record.seed}: no score ({record.why_no_score})." for record in failed]
            cells.rows.append(Row(domain, line.title, line.metric, tuple(numbers)))
        cells.averages += [_average(table, domain, group.mean)] if group.mean else []
    cells.averages += [_average(table, "", layout.rank)] if layout.rank else []
    return cells


def beside_kinds(table: Table, method: str) -> tuple[Literal["spread", "difference"], ...]:
    """Return the kinds of the hidden columns beside a method's."""
    return ("spread",) if method == reference(table.methods) else ("spread", "difference")


def _number(cell: Cell) -> Number:
    # Sort by the rounded number, so that the order agrees with what the reader sees.
    return Number(cell, None if cell.text in ("", DASH) else float(cell.text))


def _average(table: Table, domain: str, line: Line) -> Row:
    numbers = list(map(_number, line.cells))
    for column, method in enumerate(table.methods):
        numbers[column] = replace(numbers[column], beside=tuple(map(Beside, beside_kinds(table, method))))
    return Row(domain, line.title, line.metric, tuple(numbers))


def _beside(
    table: Table, row: Mapping[Hashable, Any], method: str, differences: Mapping[tuple[str, str, str], Any]
) -> tuple[Beside, ...]:
    half = half_interval(row, method)
    spread = Beside("spread") if math.isnan(half) else Beside("spread", f"± {half:.2f}", half)
    if "difference" not in beside_kinds(table, method):
        return (spread,)
    if (one := differences.get((row["domain"], row["task"], method))) is None:
        return spread, Beside("difference")
    text = f"{one['difference']:+.2f} [{one['low']:.2f}, {one['high']:.2f}]"
    return spread, Beside("difference", text, one["difference"])


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
