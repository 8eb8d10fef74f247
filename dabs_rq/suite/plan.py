"""The plan of a suite: the cells of the table that are done, those that are not, and the jobs that compute them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry, table
from dabs_rq.data.requests import missing_text
from dabs_rq.domain import Task
from dabs_rq.errors import CheckpointError, OptionError, unknown
from dabs_rq.run import Run
from dabs_rq.spec import Source
from dabs_rq.suite.jobs import Job

STEPS = ("pretrain", "transfer")
STATES = ("done", "to do", "waiting")


@dataclass
class Plan:
    """`counts`: (domain, step) -> how many checkpoints (pretrain) or records (transfer) are done, to do, or waiting for
    data. `jobs`: what has to run, every job after those it waits for. `missing`: sources that are not under the data
    root, and what each is needed for."""

    counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)

    def total(self, state: str) -> int:
        return sum(count[state] for count in self.counts.values())


class Left(NamedTuple):
    """What is left of one domain, method and seed and can be done with the data that are there."""

    run: Run
    method: str
    seed: int
    pretraining: bool
    tasks: list[Task]


def plan(run: Run) -> Plan:
    """What the chosen domains, tasks, methods and seeds still need, in the order of the table. Nothing is written.

    A checkpoint is done if it is whole, a record if it has a score with the weights of that checkpoint: what
    `pretrain` and `transfer` would leave as it is. What needs a source of which nothing is under the data root waits.

    Raises OptionError for a task that no chosen domain has, and for `checkpoint`, which belongs to no method.
    """
    if run.options.checkpoint is not None:
        raise OptionError("a suite makes its own checkpoints; to probe another: transfer domain=... checkpoint=file")
    made = Plan()
    for domain, tasks in chosen(run).items():
        cells = [run.replace(domain=domain, method=method, tasks=None) for method in run.methods]
        left = [_left(made, cell, seed, tasks) for seed in run.options.seeds for cell in cells]
        made.jobs += _jobs(run, domain, tasks, [cell for cell in left if cell.pretraining or cell.tasks])
    return made


def chosen(run: Run) -> dict[str, tuple[Task, ...]]:
    """Domain -> its chosen tasks, in the order of the table; domains without one are left out.

    Raises OptionError for a task that no chosen domain has."""
    options = run.options
    wanted = options.domains
    names = dict.fromkeys(domain for domain, _ in table.table_order())
    tasks = {name: registry.domain(name).tasks for name in names if wanted is None or name in wanted}
    if options.tasks is None:
        return tasks
    known = [task.name for of_domain in tasks.values() for task in of_domain]
    for name in options.tasks:
        if name not in known:
            raise OptionError(unknown("task of the chosen domains", name, known))
    kept = {name: tuple(task for task in of if task.name in options.tasks) for name, of in tasks.items()}
    return {name: of for name, of in kept.items() if of}


def _left(made: Plan, run: Run, seed: int, tasks: Sequence[Task]) -> Left:
    """What is left of a domain, method and seed; what was found is counted in `made`."""
    domain, method = run.domain, run.method.name
    pretrained, transferred = (made.counts.setdefault((domain.name, step), Counter()) for step in STEPS)
    weights = _weights(run.checkpoint_file(seed))
    source, purpose = domain.pretraining.source, f"{domain.name} pretraining"
    stuck = weights is None and registry.method(method).trains and _is_missing(made, run, source, purpose)
    to_do = [task for task in tasks if weights is None or not _has_score(run, seed, task, weights)]
    able = [task for task in to_do if not _is_missing(made, run, task.source, task.name) and not stuck]
    pretrained["done" if weights else "waiting" if stuck else "to do"] += 1
    transferred.update({"done": len(tasks) - len(to_do), "to do": len(able), "waiting": len(to_do) - len(able)})
    return Left(run, method, seed, weights is None and not stuck, able)


def _weights(file: Path) -> str | None:
    """The hash of a checkpoint's weights; None if `pretrain` would make it (again)."""
    from dabs_rq import checkpoint

    try:
        return checkpoint.verified(file)["weights"]
    except CheckpointError:
        return None


def _has_score(run: Run, seed: int, task: Task, weights: str) -> bool:
    from dabs_rq.transfer.transfer import is_finished

    return is_finished(run.record_file(task.name, seed), weights)


def is_there(run: Run, source: Source) -> bool:
    """Whether something of a source is under the data root, or it can be had from the hub."""
    return run.made_up or source.hub is not None or source.state(run.root) != "missing"


def _is_missing(made: Plan, run: Run, source: Source, purpose: str) -> bool:
    """Whether a source is not there, which is then noted in `made`."""
    if is_there(run, source):
        return False
    text = missing_text(source, run.root, source.missing(run.root)).splitlines()[0]
    purposes = made.missing.setdefault(text, [])
    if purpose not in purposes:
        purposes.append(purpose)
    return True


def _jobs(run: Run, domain: str, tasks: Sequence[Task], left: list[Left]) -> list[Job]:
    """The jobs of a domain: what is going to be read is prepared once, before all others."""
    if not left:
        return []
    needed = [task for task in tasks if any(task in cell.tasks for cell in left)]
    methods = dict.fromkeys(cell.method for cell in left if cell.pretraining) or {"none": None}
    of_domain = run.replace(domain=domain, method=list(methods), tasks=None)
    prepare = Job("prepare", domain, of_domain, prepares=tuple(task.name for task in needed))
    jobs = [prepare]
    for cell in left:
        before = prepare
        if cell.pretraining:
            before = Job("pretrain", domain, cell.run, cell.method, cell.seed, (prepare.name,))
            jobs.append(before)
        if cell.tasks:
            whole = len(cell.tasks) == len(registry.domain(domain).tasks)
            some = cell.run if whole else cell.run.replace(tasks=[task.name for task in cell.tasks])
            jobs.append(Job("transfer", domain, some, cell.method, cell.seed, (before.name,)))
    return jobs


# ---- shown -----------------------------------------------------------------------------------------------------------


def shown(made: Plan) -> str:
    """The plan as text: a table of counts with totals, the jobs in their order (one line for all seeds), and what is
    missing."""
    from tabulate import tabulate

    headers = ["domain", "to prepare", *(f"{what}\n{state}" for what in ("checkpoints", "records") for state in STATES)]
    to_prepare = Counter(job.domain for job in made.jobs if job.step == "prepare")
    rows: list[list[str | int]] = []
    for domain in dict.fromkeys(domain for domain, _ in made.counts):
        counts = [made.counts[domain, step][state] for step in STEPS for state in STATES]
        rows.append([domain, to_prepare[domain], *counts])
    totals = ["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])]
    parts = [tabulate([*rows, totals], headers=headers)]
    parts.append(f"{len(made.jobs)} jobs left, then the table:" if made.jobs else "No job left but the table.")
    parts += [f"  {line}" for line in _listed(made.jobs)]
    if made.missing:
        parts.append(f"\n{made.total('waiting')} checkpoints and records wait for data:")
        parts += [f"  {text} (for {', '.join(purposes)})" for text, purposes in made.missing.items()]
    return "\n".join(parts)


def _listed(jobs: Sequence[Job]) -> list[str]:
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        alike.setdefault(f"{job.title}{_of_tasks(job)}", []).append(job)
    return [f"{line}{_of_seeds(of) if of[0].method else ''}" for line, of in alike.items()]


def _of_tasks(job: Job) -> str:
    tasks = job.run.options.tasks
    return f" on {', '.join(tasks)}" if tasks and job.step == "transfer" else ""


def _of_seeds(jobs: Sequence[Job]) -> str:
    return f", seed{'s' if len(jobs) > 1 else ''} {', '.join(str(job.seed) for job in jobs)}"
