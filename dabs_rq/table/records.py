"""The records of a table: found, and checked against their place, what is declared, and their own predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dabs_rq import registry
from dabs_rq.domain import Task
from dabs_rq.errors import RecordError, unknown
from dabs_rq.records import recheck, record, significance
from dabs_rq.records.metrics import Undefined
from dabs_rq.records.record import Record
from dabs_rq.records.significance import Scored
from dabs_rq.run import Identity, Run

_FOLDER = "Was it in a folder named in DABS_RQ_PATH?"


@dataclass
class Row:
    """What is known of one task, by method and seed: records whose score holds, what comparisons need of them, and the
    records of results that have no score."""

    records: dict[str, dict[int, Record]] = field(default_factory=dict)
    scored: dict[str, dict[int, Scored]] = field(default_factory=dict)
    failed: dict[tuple[str, int], Record] = field(default_factory=dict)


def find(
    run: Run, variants: Mapping[tuple[str, str], str]
) -> tuple[dict[tuple[str, str], list[Record]], list[RecordError]]:
    """(domain, task) -> records of test splits by the run's seeds and the domains and methods in `variants`, of
    the run's data, scale and protocol; and the errors of those that cannot be read or lie where they do not belong."""
    found: dict[tuple[str, str], list[Record]] = {}
    errors: list[RecordError] = []
    for folder in dict.fromkeys(run.places.records_root(domain.name) for domain in registry.domains()):
        records, broken = record.read_all(folder, partial(_check_place, run))
        errors += broken
        for one in records:
            if (
                one.split == "test"
                and one.seed in run.options.seeds
                and one.variant == variants.get((one.domain, one.method))
            ):
                found.setdefault((one.domain, one.task), []).append(one)
    return found, errors


def check(run: Run, task: Task, records: list[Record]) -> tuple[Row, list[RecordError]]:
    """The records whose scores are those of their predictions, and the errors of the others."""
    row, errors = Row(), []
    for one in records:
        if one.score is None:
            row.failed[one.method, one.seed] = one
            continue
        try:
            scored = _scored(run, task, one)
        except RecordError as error:
            errors.append(error)
            continue
        row.records.setdefault(one.method, {})[one.seed] = one
        row.scored.setdefault(one.method, {})[one.seed] = scored
    return row, errors


def _scored(run: Run, task: Task, one: Record) -> Scored:
    """Raises RecordError unless what the record says follows from its predictions."""
    file = file_of(run, one)
    predictions = recheck.predictions(file, one)
    try:
        return significance.scored(task, one, predictions)
    except (Undefined, ValueError, TypeError, IndexError) as error:
        raise RecordError(f"{file}: its predictions do not compare ({error}); {recheck.AGAIN}") from error


def file_of(run: Run, one: Record) -> Path:
    """Where a record belongs."""
    return run.places.records(_place(one)) / one.file_name


def _place(one: Record) -> Identity:
    return Identity(one.data, one.scale, one.protocol, one.domain, one.method, one.variant, one.seed)


def _check_place(run: Run, file: Path, one: Record) -> None:
    """Raise RecordError unless the record says of itself what its place says, and is of a declared task."""
    place, domains = _place(one), registry.domain_names()
    if one.domain in domains:
        tasks = [task.name for task in registry.domain(one.domain).tasks]
        if place == run.places.identity(*place[3:]) and file == file_of(run, one):
            if one.task not in tasks:
                raise RecordError(f"{file}: {unknown(f'task of domain {one.domain!r}', one.task, tasks)} {_FOLDER}")
            return
    elif file.parts[-5] == one.domain:
        raise RecordError(f"{file}: {unknown('domain', one.domain, domains)} {_FOLDER}")
    listed = ", ".join(f"{name} {value}" for name, value in place._asdict().items())
    raise RecordError(f"{file} is not the record of its place: it is of task {one.task} ({one.split}), {listed}")
