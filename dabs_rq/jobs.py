"""What a suite consists of: jobs, what each waits for, and the work of one. Jobs and outcomes can be sent to other
processes."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dabs_rq import registry, table
from dabs_rq.errors import DabsRqError, MissingDataError, first_line
from dabs_rq.run import Run
from dabs_rq.spec import Task


@dataclass(frozen=True)
class Job:
    """One step of a suite for `words`, the options of its run. `after`: names of the jobs that have to be over."""

    name: str
    step: str  # prepare, pretrain or transfer
    words: tuple[str, ...]
    seed: int = 0
    after: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What jobs left behind: `missing` data and what else went `wrong`, in order."""

    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Outcome) -> None:
        self.missing = list(dict.fromkeys([*self.missing, *other.missing]))
        self.wrong += other.wrong


def plan(run: Run) -> list[Job]:
    """Every job of the chosen domains, methods and seeds, in the order of the table."""
    options, jobs = run.options, []
    for domain in dict.fromkeys(domain for domain, _ in table.table_order()):
        if options.domains is not None and domain not in options.domains:
            continue
        prepare = Job(f"prepare {domain}", "prepare", run.words_for(options.methods[0], domain))
        jobs.append(prepare)
        for seed in options.seeds:
            for method in options.methods:
                words = run.words_for(method, domain)
                what = f"{domain} with {method}, seed {seed}"
                first = Job(f"pretrain {what}", "pretrain", words, seed, (prepare.name,))
                jobs += [first, Job(f"transfer {what}", "transfer", words, seed, (first.name,))]
    return jobs


def work(job: Job) -> Outcome:
    """Do one job in this process. What is finished is kept; what fails is told, and nothing is raised for it."""
    started, outcome = time.monotonic(), Outcome()
    try:
        _STEPS[job.step](Run.of(job.words), job.seed, outcome)
    except MissingDataError as error:
        outcome.missing.append(first_line(error))
    except (DabsRqError, ValueError, OSError, RuntimeError, MemoryError) as error:
        outcome.wrong.append(f"{job.name}: {type(error).__name__}: {error}")
    outcome.seconds = time.monotonic() - started
    return outcome


def _prepare(run: Run, seed: int, outcome: Outcome) -> None:
    """Fill the prepared cache, once for all methods and seeds. What cannot be read is told by the job that needs it."""
    steps: list[Callable[[], object]] = [partial(_prepare_task, run, task) for task in run.tasks]
    if any(registry.method(name).trains for name in run.options.methods):
        steps.insert(0, partial(run.unlabelled, "train"))
    for step in steps:
        with warnings.catch_warnings(), contextlib.suppress(DabsRqError, ValueError, OSError, RuntimeError):
            warnings.simplefilter("ignore")
            step()


def _prepare_task(run: Run, task: Task) -> None:
    for part in run.labelled(task):
        run.prepare(part)


def _pretrain(run: Run, seed: int, outcome: Outcome) -> None:
    from dabs_rq.pretrain import pretrain

    pretrain(run, seed)


def _transfer(run: Run, seed: int, outcome: Outcome) -> None:
    from dabs_rq.transfer import transfer

    if not run.options.checkpoint and not run.checkpoint_file(seed).exists():
        return  # its pretraining has told why
    _, errors = transfer(run, seed)
    for one in errors:
        if isinstance(one, MissingDataError):
            outcome.missing.append(first_line(one))
        else:
            outcome.wrong.append(f"transfer {run.domain.name} with {run.options.method.name}, seed {seed}: {one}")


_STEPS = {"prepare": _prepare, "pretrain": _pretrain, "transfer": _transfer}
