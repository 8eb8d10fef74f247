"""Finds the records of a table, and checks them against their location, the declared tasks and their predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.errors import RecordError, unknown
from dabs_rq.records import recheck, record, significance
from dabs_rq.records.record import Record
from dabs_rq.records.significance import Scored
from dabs_rq.run import Identity, Run
from dabs_rq.run.changes import changed_options
from dabs_rq.table.columns import column

_PATH_HINT = "Was it in a folder named in DABS_RQ_PATH?"


@dataclass
class Row:
    """The results of one task, by column and seed.

    records: those whose score follows from their predictions. scored: what comparisons need of their predictions.
    failed: records without a score."""

    records: dict[str, dict[int, Record]] = field(default_factory=dict)
    scored: dict[str, dict[int, Scored]] = field(default_factory=dict)
    failed: dict[tuple[str, int], Record] = field(default_factory=dict)


class LeftOut(NamedTuple):
    """A record that is not shown, because options that affect results have changed since; `changes` lists them."""

    record: Record
    changes: tuple[str, ...]


class Found(NamedTuple):
    """by_task: (domain, task) -> records. left_out: those of other options. errors: one for each record that cannot be
    read or is in the wrong folder."""

    by_task: dict[tuple[str, str], list[Record]]
    left_out: list[LeftOut]
    errors: list[RecordError]


def find_records(run: Run, cells: Mapping[tuple[str, str], Run]) -> Found:
    """Find the records of test splits for the run's data, scale, protocol and seeds, and for the variants of `cells`,
    a mapping (domain, method) -> the run that would compute them now."""
    by_task: dict[tuple[str, str], list[Record]] = {}
    left_out: list[LeftOut] = []
    errors: list[RecordError] = []
    variants = {key: cell.composed.variant(of_pretraining=False) for key, cell in cells.items()}
    all_probes = run.options.table.probes == "all"
    for folder in dict.fromkeys(run.places.records_root(domain.name) for domain in registry.domains()):
        records, broken = record.read_all(folder, partial(_check_location, run))
        errors += broken
        for result in records:
            if (
                result.split == "test"
                and (all_probes or result.further_probe is None)
                and result.seed in run.options.seeds
                and result.variant == variants.get((result.domain, result.method))
            ):
                cell = cells[result.domain, result.method]
                if changes := changed_options(cell, result.options, of_pretraining=False):
                    left_out.append(LeftOut(result, tuple(changes)))
                else:
                    by_task.setdefault((result.domain, result.task), []).append(result)
    return Found(by_task, left_out, errors)


def check_records(run: Run, task: Task, records: list[Record]) -> tuple[Row, list[RecordError]]:
    """Check that scores follow from predictions. Returns the records that pass, and the errors of the others."""
    row, errors = Row(), []
    for result in records:
        name = column(result.method, result.further_probe)
        if result.score is None:
            row.failed[name, result.seed] = result
            continue
        try:
            scored = _scored(run, task, result)
        except RecordError as error:
            errors.append(error)
            continue
        row.records.setdefault(name, {})[result.seed] = result
        row.scored.setdefault(name, {})[result.seed] = scored
    return row, errors


def _scored(run: Run, task: Task, result: Record) -> Scored:
    """Raises RecordError unless the score of the record follows from its predictions."""
    file = record_file(run, result)
    predictions = recheck.predictions(file, result)
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


def _check_location(run: Run, file: Path, result: Record) -> None:
    """Raise RecordError unless the fields of the record match its path and its task is declared."""
    identity, domains = _identity(result), registry.domain_names()
    if result.domain in domains:
        tasks = [task.name for task in run.domain_called(result.domain).tasks]
        if identity == run.places.identity(*identity[3:]) and file == record_file(run, result):
            if result.task not in tasks:
                problem = unknown(f"task of domain {result.domain!r}", result.task, tasks)
                raise RecordError(f"{file}: {problem} {_PATH_HINT}")
            return
    elif file.parts[-5] == result.domain:
        raise RecordError(f"{file}: {unknown('domain', result.domain, domains)} {_PATH_HINT}")
    listed = ", ".join(f"{name} {value}" for name, value in identity._asdict().items())
    raise RecordError(f"{file} does not match its path: it is of task {result.task} ({result.split}), {listed}")
