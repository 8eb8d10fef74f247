"""The cells of the table with the records behind them, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dabs_rq.records.metrics import METRICS
from dabs_rq.records.record import Record
from dabs_rq.run import Run
from dabs_rq.table.contents import DASH, Table
from dabs_rq.table.layout import Cell, Layout, Line
from dabs_rq.table.notes import method_title
from dabs_rq.table.records import file_of

_TITLES = {str(name): metric.title for name, metric in METRICS.items()}


@dataclass(frozen=True)
class Number:
    """A cell: what the table shows, the number it sorts by (None: none), and its place in `Cells.opened` (None: no
    record)."""

    shown: Cell
    value: float | None
    opens: int | None = None


@dataclass(frozen=True)
class Row:
    """`domain`: its name, "" for all of them."""

    domain: str
    title: str
    metric: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Opened:
    """What opening a cell shows: facts (label, one value that all seeds share or one per seed)."""

    title: str
    seeds: tuple[int, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass
class Cells:
    """`rows` in table order, and `averages`. `records`: (domain, task) -> those that the table counts. `failed`: what
    has a record without a score, and why. `missing`: method -> titles of the rows without any record, `fewer`: of those
    with a score of some seeds but not of all."""

    rows: list[Row] = field(default_factory=list)
    averages: list[Row] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    records: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    fewer: dict[str, list[str]] = field(default_factory=dict)


def build(runs: Mapping[str, Run], table: Table, shown: Layout) -> Cells:
    """`runs`: of each of the table's methods. `shown`: the layout of `table`."""
    run = runs[table.methods[0]]
    made = Cells()
    for (name, rows), group in zip(table.frame.groupby("domain", sort=False), shown.groups, strict=True):
        domain = str(name)
        for task, line in zip(rows["task"], group.lines, strict=True):
            known = table.known[domain, task]
            made.records[domain, task] = [one for seeds in known.records.values() for one in seeds.values()]
            numbers = [_number(cell) for cell in line.cells]
            for place, method in enumerate(table.methods):
                counted = list(known.records.get(method, {}).values())
                failed = [one for one in known.failed.values() if one.method == method]
                if not counted and not failed:
                    made.missing.setdefault(method, []).append(line.title)
                    continue
                if 0 < len(counted) < len(run.options.seeds):
                    made.fewer.setdefault(method, []).append(line.title)
                numbers[place] = _number(line.cells[place], len(made.opened))
                title = f"{line.title}, {method_title(method)}"
                mean = f": {line.cells[place].text}" if len(counted) > 1 else ""
                made.opened.append(_opened(runs[method], title + mean, [*counted, *failed]))
                made.failed += [f"{title}, seed {one.seed}: no score ({one.why_no_score})." for one in failed]
            made.rows.append(Row(domain, line.title, line.metric, tuple(numbers)))
        made.averages += [_average(domain, group.mean)] if group.mean else []
    made.averages += [_average("", shown.rank)] if shown.rank else []
    return made


def _number(cell: Cell, opens: int | None = None) -> Number:
    """Sorted as it is shown."""
    return Number(cell, None if cell.text in ("", DASH) else float(cell.text.split()[0]), opens)


def _average(domain: str, line: Line) -> Row:
    return Row(domain, line.title, line.metric, tuple(map(_number, line.cells)))


def _opened(run: Run, title: str, records: Sequence[Record]) -> Opened:
    ordered = sorted(records, key=lambda one: one.seed)
    of_seeds = [_facts(run, one) for one in ordered]
    facts = []
    for label in dict.fromkeys(label for of_seed in of_seeds for label in of_seed):
        values = tuple(of_seed.get(label, DASH) for of_seed in of_seeds)
        facts.append((label, values[:1] if len(set(values)) == 1 else values))
    return Opened(title, tuple(one.seed for one in ordered), tuple(facts))


def _facts(run: Run, one: Record) -> dict[str, str]:
    facts = {
        _TITLES[one.metric]: _percent(one.score) if one.score is not None else f"no score: {one.why_no_score}",
        "Standard error": _percent(one.standard_error),
        "Most frequent class": _percent(one.majority),
        **{_TITLES[metric]: _percent(value) for metric, value in one.also.items()},
        "Test examples": f"{one.n_examples:,}",
        "Training examples": f"{one.n_train:,}",
        "Probe": _listed({name.replace("_", " "): value for name, value in one.probe.items()}),
        "Options that differ": _listed(run.composed.changed(of_pretraining=False), "="),
        "Checkpoint": one.checkpoint,
        "Training split": one.train_split,
        "Test split": one.test_split,
        "Computed": one.created,
        "Seconds": f"{one.seconds:g}",
        "Hardware": one.hardware,
        "Commit": one.commit or "unknown",
        "Versions": _listed(one.versions),
        "Record": str(file_of(run, one)),
    }
    return {label: text for label, text in facts.items() if text != DASH}


def _percent(fraction: float | None) -> str:
    return DASH if fraction is None else f"{100 * fraction:.2f}"


def _listed(values: Mapping[str, Any], sign: str = " ") -> str:
    return ", ".join(f"{name}{sign}{_text(value)}" for name, value in values.items()) or "none"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
