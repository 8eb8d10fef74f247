"""Finds the records of a table, and checks them against their location, the declared tasks and their predictions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.errors import PluginError, RecordError
from dabs_rq.records import metrics, recheck, record, significance
from dabs_rq.records.record import Predictions, Record
from dabs_rq.records.significance import Scored
from dabs_rq.run import Identity, Run
from dabs_rq.run.changes import changed_options
from dabs_rq.table.columns import column
from dabs_rq.transfer.frozen import UNNAMED


@dataclass
class Row:
    """The results of one task, by column and seed.

    records: those whose score follows from their predictions. scored: what comparisons need of their predictions.
    failed: records without a score. constant: the score of a constant answer, NaN without records."""

    records: dict[str, dict[int, Record]] = field(default_factory=dict)
    scored: dict[str, dict[int, Scored]] = field(default_factory=dict)
    failed: dict[tuple[str, int], Record] = field(default_factory=dict)
    constant: float = math.nan


class LeftOut(NamedTuple):
    """A record that is not shown, because options that affect results have changed since; `changes` lists them."""

    record: Record
    changes: tuple[str, ...]


class Found(NamedTuple):
    """by_task: (domain, task) -> records. left_out: those of other options. undeclared: those of tasks or domains that
    nobody declares now. not_shown: why the other records that were read have no place in the table."""

    by_task: dict[tuple[str, str], list[Record]]
    left_out: list[LeftOut]
    undeclared: list[Record]
    not_shown: tuple[str, ...]


def read_records(run: Run) -> tuple[list[Record], list[RecordError]]:
    """Read the records of test splits for the run's data, scale and protocol, under its own probe or on request under
    all. Returns also an error for each record that cannot be read or is in the wrong folder."""
    records: list[Record] = []
    errors: list[RecordError] = []
    all_probes = run.options.table.probes == "all"
    for folder in dict.fromkeys(run.places.records_root(domain.name) for domain in registry.domains()):
        found, broken = record.read_all(folder, partial(_check_location, run))
        errors += broken
        records += [one for one in found if one.split == "test" and (all_probes or one.further_probe is None)]
    return records, errors


def select_records(run: Run, records: Sequence[Record], cells: Mapping[tuple[str, str], Run]) -> Found:
    """Select the records of the run's seeds and of the variants of `cells`, a mapping (domain, method or network) ->
    the run that would compute them now."""
    by_task: dict[tuple[str, str], list[Record]] = {}
    left_out: list[LeftOut] = []
    undeclared: list[Record] = []
    not_shown: dict[str, list[Record]] = {}
    changed: dict[tuple[str, str, int], list[str]] = {}
    variants = {key: cell.composed.variant(of_pretraining=False) for key, cell in cells.items()}
    domains, columns = {domain for domain, _ in cells}, {name for _, name in cells}
    for result in records:
        if not _is_declared(run, result):
            undeclared.append(result)
            continue
        if reason := _why_not_shown(run, result, domains, columns, variants):
            not_shown.setdefault(reason, []).append(result)
            continue
        compared = result.domain, result.method, id(result.options)  # equal options are one object, see `read_all`
        if compared not in changed:
            cell = cells[result.domain, result.method]
            changed[compared] = changed_options(cell, result.options, of_pretraining=False)
        if changes := changed[compared]:
            left_out.append(LeftOut(result, tuple(changes)))
        else:
            by_task.setdefault((result.domain, result.task), []).append(result)
    reasons = tuple(_counted(reason, of_reason) for reason, of_reason in not_shown.items())
    return Found(by_task, left_out, undeclared, reasons)


def _counted(reason: str, records: Sequence[Record]) -> str:
    text = f"{len(records)} {'record' if len(records) == 1 else 'records'} {reason}"
    if not reason.endswith(_OTHER_OPTIONS):
        return text
    variants = sorted({result.variant for result in records})
    more = f" and {len(variants) - 3} more" if len(variants) > 3 else ""
    return f"{text} (variant {', '.join(variants[:3])}{more}): give the same options in OPTIONS="


_OTHER_OPTIONS = "with other options than these"


def _why_not_shown(
    run: Run,
    result: Record,
    domains: Collection[str],
    columns: Collection[str],
    variants: Mapping[tuple[str, str], str],
) -> str | None:
    """Say why a record has no place in the table; None if it has one."""
    if result.method.startswith((UNNAMED, "checkpoint:")):
        return f"of {result.method}, which has no name: transfer it again with NAME= (name=)"
    if result.method not in columns:
        choice = "ENCODERS= (encoders=)" if result.architecture else "METHOD= (method=)"
        return f"of {result.method}, which is not chosen: add it by {choice}"
    if result.domain not in domains:
        return f"of domain {result.domain}, which is not chosen: add it by DOMAIN= (domain=)"
    if result.seed not in run.options.seeds:
        return f"of seed {result.seed}, which is not chosen: add it by SEEDS= (seeds=)"
    if result.variant != variants[result.domain, result.method]:
        if result.variant == "default":
            return f"of {result.method} with the options of configs/, not with these: leave out ENCODER= and OPTIONS="
        return f"of {result.method} {_OTHER_OPTIONS}"
    return None


def check_records(run: Run, task: Task, records: list[Record]) -> tuple[Row, list[RecordError]]:
    """Check that scores follow from predictions. Returns the records that pass, and the errors of the others."""
    row, errors = Row(), []
    for result in records:
        name = column(result.method, result.further_probe)
        if result.score is None:
            row.failed[name, result.seed] = result
            continue
        try:
            file = record_file(run, result)
            predictions = recheck.predictions(file, result)
            scored = _scored(file, task, result, predictions)
            if math.isnan(row.constant):
                row.constant = metrics.constant(task.metric, task.target, predictions.targets)
        except (RecordError, PluginError) as error:
            errors.append(RecordError(str(error)))
            continue
        row.records.setdefault(name, {})[result.seed] = result
        row.scored.setdefault(name, {})[result.seed] = scored
    return row, errors


def _scored(file: Path, task: Task, result: Record, predictions: Predictions) -> Scored:
    try:
        return significance.scored(task, result, predictions)
    except Exception as error:  # predictions of another shape or type
        raise RecordError(f"{file}: its predictions cannot be compared ({error}); {recheck.AGAIN}") from error


def record_file(run: Run, result: Record) -> Path:
    """Return the path at which a record belongs."""
    return run.places.records(_identity(result)) / result.file_name


def _identity(result: Record) -> Identity:
    return Identity(
        result.data, result.scale, result.protocol, result.domain, result.method, result.variant, result.seed
    )


def _is_declared(run: Run, result: Record) -> bool:
    return result.domain in registry.domain_names() and run.domain_called(result.domain).task(result.task) is not None


def _check_location(run: Run, file: Path, result: Record) -> None:
    """Raise RecordError unless the fields of the record match its path."""
    identity = _identity(result)
    if result.domain in registry.domain_names():
        fits = identity == run.places.identity(*identity[3:]) and file == record_file(run, result)
    else:  # the plug-in that declared it is not there, so the path alone says where the record belongs
        above, below = file.parts[-9:-6], file.parts[-5:]
        fits = above == identity[:3] and below == (*identity[3:6], f"seed-{result.seed}", result.file_name)
    if fits:
        return
    listed = ", ".join(f"{name} {value}" for name, value in identity._asdict().items())
    raise RecordError(f"{file} does not match its path: it is of task {result.task} ({result.split}), {listed}")
