"""The plan of a suite: which checkpoints and records are done, and the jobs that compute the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dabs_rq import registry, table
from dabs_rq.data.readers.tokenizer import describe_place
from dabs_rq.data.requests import missing_text
from dabs_rq.domain import Task
from dabs_rq.errors import CheckpointError, OptionError, unknown
from dabs_rq.experiment.cells import Cell
from dabs_rq.run import Run
from dabs_rq.spec import Source
from dabs_rq.suite.jobs import Job

STEPS = ("pretrain", "transfer")
STATES = ("done", "to do", "waiting")


@dataclass
class Plan:
    """`counts`: (domain, step) -> how many checkpoints (pretrain) or records (transfer) are done, to do, or waiting for
    data. `jobs`: the jobs to run, each after those it waits for. `missing`: the sources and tokenizers that are not
    there, each with what needs it. `tokenizers`: those that the hub provides, each with its domains."""

    counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    tokenizers: dict[str, list[str]] = field(default_factory=dict)

    def total(self, state: str) -> int:
        return sum(count[state] for count in self.counts.values())


class Remaining(NamedTuple):
    """What one domain, method and seed still need and can be computed from the data that are present.

    cell: its cell in an experiment, "" in the table. pretraining: whether the checkpoint is missing. tasks: those
    without a score."""

    run: Run
    method: str
    seed: int
    pretraining: bool
    tasks: list[Task]
    cell: str


def build_plan(run: Run) -> Plan:
    """Plan what the selected domains, tasks, methods and seeds still need, in table order. Nothing is written.

    A checkpoint is done if it is complete, and a record if it has a score from the weights of that checkpoint: then
    `pretrain` and `transfer` would not compute them again. What needs a source waits if nothing of the source is under
    the data root, and if a tokenizer of the domain is neither there nor to be had from the hub.

    Raises OptionError for a task that no selected domain has, and if `checkpoint` is set, which belongs to no method.
    """
    if run.options.checkpoint is not None:
        raise OptionError("a suite makes its own checkpoints; to probe another: transfer domain=... checkpoint=file")
    plan = Plan()
    for domain, tasks in selected_tasks(run).items():
        runs = [("", run.replace(domain=domain, method=method, tasks=None)) for method in methods(run)]
        runs += [(name, network_run(run, name, domain)) for name in networks(run, domain)]
        _add_domain(plan, run, domain, tasks, runs)
    return plan


def methods(run: Run) -> tuple[str, ...]:
    """List the methods of a suite; none if it scores one network only."""
    return () if run.options.scores_network else run.methods


def networks(run: Run, domain: str) -> tuple[str, ...]:
    """List the encoder files that a suite scores in a domain: those of `encoders`, or the one that is the run's encoder
    and brings its weights. Raises OptionError for one that does not exist."""
    options = run.options
    names = (options.name,) if options.builds_network else options.encoders or ()
    specs = [registry.encoder(name) for name in names if name is not None]
    return tuple(spec.name for spec in specs if spec.domains is None or domain in spec.domains)


def network_run(run: Run, name: str, domain: str) -> Run:
    """Return the run that scores the network of an encoder file in a domain."""
    return run.replace(domain=domain, tasks=None, method="none", encoder=name, name=name)


def plan_cells(cells: Sequence[Cell]) -> Plan:
    """Plan what the cells of an experiment still need, for the seeds of their runs. Nothing is written."""
    plan = Plan()
    by_domain: dict[str, list[Cell]] = {}
    for cell in cells:
        by_domain.setdefault(cell.run.domain.name, []).append(cell)
    for domain, of_domain in by_domain.items():
        first = of_domain[0].run
        _add_domain(plan, first, domain, first.domain.tasks, [(cell.name, cell.run) for cell in of_domain])
    return plan


def _add_domain(plan: Plan, run: Run, domain: str, tasks: Sequence[Task], runs: Sequence[tuple[str, Run]]) -> None:
    """Add what a domain still needs of `tasks` for the seeds of `run`. runs: (cell, its run of one method, which may
    have fewer tasks); the cell is "" in the table."""
    for step in STEPS:
        plan.counts.setdefault((domain, step), Counter())
    remaining = [
        _remaining(plan, cell, one, seed, [task for task in tasks if task in one.tasks])
        for seed in run.options.seeds
        for cell, one in runs
    ]
    plan.jobs += _jobs(run, domain, tasks, [part for part in remaining if part.pretraining or part.tasks])


def selected_tasks(run: Run) -> dict[str, tuple[Task, ...]]:
    """Return domain -> its selected tasks, in table order, without domains that have none.

    Raises OptionError for a task that no selected domain has."""
    options = run.options
    order = table.table_order(options.domains, options.scale.sources, options.table.columns)
    names = dict.fromkeys(domain for domain, _ in order)
    tasks = {name: run.domain_called(name).tasks for name in names}
    if options.tasks is None:
        return tasks
    known = [task.name for of_domain in tasks.values() for task in of_domain]
    for name in options.tasks:
        if name not in known:
            raise OptionError(unknown("task of the chosen domains", name, known))
    selected = {
        name: tuple(task for task in of_domain if task.name in options.tasks) for name, of_domain in tasks.items()
    }
    return {name: of_domain for name, of_domain in selected.items() if of_domain}


def _remaining(plan: Plan, cell: str, run: Run, seed: int, tasks: Sequence[Task]) -> Remaining:
    """Find what a domain, method and seed still need, and count what is done, to do and waiting in `plan`."""
    if run.options.scores_network:
        return _remaining_of_network(plan, cell, run, seed, tasks)
    domain, method = run.domain, run.method.name
    weights = _weights(run, run.checkpoint_file(seed))
    source, purpose = domain.pretraining.source, f"{domain.name} pretraining"
    unscored = [task for task in tasks if weights is None or not _has_score(run, seed, task, weights)]
    unreadable = (weights is None or bool(unscored)) and _note_tokenizers(plan, run)
    untrainable = weights is None and registry.method(method).trains and _note_if_missing(plan, run, source, purpose)
    stuck = untrainable or (weights is None and unreadable)
    plan.counts[domain.name, "pretrain"]["done" if weights else "waiting" if stuck else "to do"] += 1
    ready = _ready(plan, run, tasks, unscored, waits=stuck or unreadable)
    return Remaining(run, method, seed, weights is None and not stuck, ready, cell)


def _remaining_of_network(plan: Plan, cell: str, run: Run, seed: int, tasks: Sequence[Task]) -> Remaining:
    """Find what the network of an encoder file still needs. It is built to learn whether its records are of it; if that
    fails, its job says why."""
    from dabs_rq.transfer.finished import missing_probes
    from dabs_rq.transfer.frozen import UNNAMED, frozen_encoder
    from dabs_rq.transfer.tokens import takes

    try:
        encoder, weights, name, architecture = frozen_encoder(run, seed)
        tasks = [task for task in tasks if takes(task.target, encoder)]
    except Exception:
        weights, name, architecture = "", cell or UNNAMED, ""
    folder = run.places.records(run.identity(seed, method=name))
    unscored = [task for task in tasks if missing_probes(run, task, folder, weights, architecture)]
    ready = _ready(plan, run, tasks, unscored, waits=bool(unscored) and _note_tokenizers(plan, run))
    return Remaining(run, name, seed, False, ready, cell)


def _ready(plan: Plan, run: Run, tasks: Sequence[Task], unscored: Sequence[Task], *, waits: bool) -> list[Task]:
    """Return the unscored tasks that can be computed, and count the records of `tasks`. waits: whether all of them wait
    for something else than their own source."""
    absent = [task for task in unscored if _note_if_missing(plan, run, task.source, task.name)]
    ready = [] if waits else [task for task in unscored if task not in absent]
    counts = {"done": len(tasks) - len(unscored), "to do": len(ready), "waiting": len(unscored) - len(ready)}
    plan.counts[run.domain.name, "transfer"].update(counts)
    return ready


def _weights(run: Run, file: Path) -> str | None:
    """Return the hash of a checkpoint's weights, or None if `pretrain` would train it (again)."""
    from dabs_rq.pretrain.kept import OtherOptionsError, kept

    try:
        return kept(run, file)["weights"]
    except OtherOptionsError as error:
        print(f"{error}; it is to be pretrained again", flush=True)
        return None
    except CheckpointError:
        return None


def _has_score(run: Run, seed: int, task: Task, weights: str) -> bool:
    from dabs_rq.transfer.finished import missing_probes

    return not missing_probes(run, task, run.record_file(task.name, seed).parent, weights)


def is_available(run: Run, source: Source) -> bool:
    """Return whether a run's domain can read a source: any file of it is under the data root, the hub can provide it,
    or it is made up or installed."""
    if run.made_up or run.domain.installed is not None:
        return True
    return source.hub is not None or source.state(run.root) != "missing"


def _note_if_missing(plan: Plan, run: Run, source: Source, purpose: str) -> bool:
    """Return whether a source is missing; if so, add it to `plan.missing`."""
    if is_available(run, source):
        return False
    text = missing_text(source, run.root, source.missing(run.root)).splitlines()[0]
    purposes = plan.missing.setdefault(text, [])
    if purpose not in purposes:
        purposes.append(purpose)
    return True


def _note_tokenizers(plan: Plan, run: Run) -> bool:
    """Return whether a tokenizer of a run's domain is nowhere, and add it to `plan.missing`. Those that come from the
    hub are added to `plan.tokenizers`."""
    nowhere = False
    for name in run.tokenizers_of(run.domain) if run.places.data is not None else ():
        place = describe_place(name, run.places.data)
        if place.startswith("present"):
            continue
        nowhere |= (missing := place.startswith("missing"))
        purposes = (plan.missing if missing else plan.tokenizers).setdefault(f"tokenizer {name} is {place}", [])
        if run.domain.name not in purposes:
            purposes.append(run.domain.name)
    return nowhere


def _jobs(run: Run, domain: str, tasks: Sequence[Task], remaining: list[Remaining]) -> list[Job]:
    """Return the jobs of a domain. The first one prepares the data that all others read."""
    if not remaining:
        return []
    needed = [task for task in tasks if any(task in part.tasks for part in remaining)]
    trained = dict.fromkeys(part.method for part in remaining if part.pretraining) or {"none": None}
    of_domain = run.replace(domain=domain, method=list(trained), tasks=None)
    prepare = Job("prepare", domain, of_domain, prepares=tuple(task.name for task in needed))
    jobs = [prepare]
    for part in remaining:
        awaited = prepare
        if part.pretraining:
            awaited = Job("pretrain", domain, part.run, part.method, part.seed, (prepare.name,), cell=part.cell)
            jobs.append(awaited)
        if part.tasks:
            all_tasks = len(part.tasks) == len(part.run.domain.tasks)
            transfer_run = part.run if all_tasks else part.run.replace(tasks=[task.name for task in part.tasks])
            after = (awaited.name,)
            jobs.append(Job("transfer", domain, transfer_run, part.method, part.seed, after, cell=part.cell))
    return jobs


# ---- the plan as text ------------------------------------------------------------------------------------------------


def describe_plan(plan: Plan) -> str:
    """Describe a plan: a table of counts with totals, the jobs in order (one line for all seeds), and missing
    sources."""
    from tabulate import tabulate

    headers = ["domain", "to prepare", *(f"{what}\n{state}" for what in ("checkpoints", "records") for state in STATES)]
    to_prepare = Counter(job.domain for job in plan.jobs if job.step == "prepare")
    rows: list[list[str | int]] = []
    for domain in dict.fromkeys(domain for domain, _ in plan.counts):
        counts = [plan.counts[domain, step][state] for step in STEPS for state in STATES]
        rows.append([domain, to_prepare[domain], *counts])
    totals = ["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])]
    parts = [tabulate([*rows, totals], headers=headers)]
    parts.append(f"{len(plan.jobs)} jobs left, then the table:" if plan.jobs else "No jobs left, only the table.")
    parts += [f"  {line}" for line in _job_lines(plan.jobs)]
    if plan.missing:
        parts.append(f"\n{plan.total('waiting')} checkpoints and records wait for data:")
        parts += [f"  {text} (for {', '.join(purposes)})" for text, purposes in plan.missing.items()]
    parts += [f"  {text} (for {', '.join(domains)})" for text, domains in plan.tokenizers.items()]
    return "\n".join(parts)


def _job_lines(jobs: Sequence[Job]) -> list[str]:
    by_title: dict[str, list[Job]] = {}
    for job in jobs:
        by_title.setdefault(f"{job.title}{_on_tasks(job)}", []).append(job)
    return [f"{title}{_seed_list(alike) if alike[0].method else ''}" for title, alike in by_title.items()]


def _on_tasks(job: Job) -> str:
    tasks = job.run.options.tasks
    return f" on {', '.join(tasks)}" if tasks and job.step == "transfer" else ""


def _seed_list(jobs: Sequence[Job]) -> str:
    return f", seed{'s' if len(jobs) > 1 else ''} {', '.join(str(job.seed) for job in jobs)}"
