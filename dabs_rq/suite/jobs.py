"""The jobs of a suite and how to run one. Jobs and outcomes can be pickled, so they can be sent to other processes and
machines."""

from __future__ import annotations

import contextlib
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from dabs_rq import registry
from dabs_rq.data.known_keys import remembering
from dabs_rq.domain import Task
from dabs_rq.errors import DabsRqError, MissingDataError, ResourceError, first_line, is_out_of_memory
from dabs_rq.run import Run

Step = Literal["prepare", "pretrain", "transfer"]


@dataclass(frozen=True)
class Job:
    """One step of a suite.

    run: the options for its domain (and for its method, if it pretrains or transfers). after: names of the jobs that
    must finish first. prepares: names of the tasks whose examples a prepare job decodes. cell: the cell of an
    experiment that it computes, which names it in place of its method.
    """

    step: Step
    domain: str
    run: Run
    method: str = ""
    seed: int = 0
    after: tuple[str, ...] = ()
    prepares: tuple[str, ...] = ()
    cell: str = ""

    @property
    def name(self) -> str:
        return f"{self.title}, seed {self.seed}" if self.method else self.title

    @property
    def title(self) -> str:
        """The name without the seed."""
        with_what = self.cell or self.method
        return f"{self.step} {self.domain} with {with_what}" if with_what else f"{self.step} {self.domain}"

    @property
    def trains(self) -> bool:
        """Whether it is a pretraining with steps."""
        return self.step == "pretrain" and registry.method(self.method).trains

    @property
    def log_name(self) -> str:
        return re.sub(r"\W+", "-", self.name) + ".log"


@dataclass
class Outcome:
    """The outcome of a job or of a whole suite.

    missing: sources that were not found. errors: messages of what failed. waiting: jobs that did not run because a job
    before them did not finish. seconds: the time taken. keys: of columns, which the jobs that wait for this one need
    not compute again. out_of_memory: whether an error is that. note: how else it ran than planned.
    """

    missing: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    seconds: float = 0.0
    out_of_memory: bool = False
    note: str = ""
    keys: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def state(self) -> Literal["done", "failed", "data missing", "waiting"]:
        if self.errors:
            return "failed"
        return "data missing" if self.missing else "waiting" if self.waiting else "done"

    def add(self, other: Outcome) -> None:
        self.missing = list(dict.fromkeys([*self.missing, *other.missing]))
        self.errors += other.errors
        self.waiting += other.waiting


def unattended(job: Job, processes: int, workers: int | None = None, *, keeps_source: bool = True) -> Job:
    """Return the job without progress bars. It prepares with `processes` processes, and reads batches in `workers`
    (None: as many as it chooses), unless its options set a number. keeps_source: whether its source may stay on a
    GPU."""
    quiet: dict[str, object] = {"trainer.progress": False}
    if job.run.options.loader.processes is None:
        quiet["loader.processes"] = processes
    if job.run.options.loader.workers == "auto" and workers is not None:
        quiet["loader.workers"] = workers
    if not keeps_source:
        quiet["loader.resident"] = "never"
    return replace(job, run=job.run.replace(quiet))


def run_job(job: Job, awaited: Iterable[Outcome] = ()) -> Outcome:
    """Run one job in this process. `awaited`: the outcomes of the jobs in `job.after`.

    Finished results are reused. Errors go into the outcome and are not raised."""
    before = dict(zip(job.after, awaited, strict=True))
    for name, earlier in before.items():
        if earlier.state != "done":
            return Outcome(waiting=[f"{job.name} waits for {name}"])
    started, outcome = time.monotonic(), Outcome()
    known = {name: key for earlier in before.values() for name, key in earlier.keys.items()}
    try:
        with remembering(known) as outcome.keys:
            _STEPS[job.step](job, outcome)
    except MissingDataError as error:
        outcome.missing.append(first_line(error))
    except Exception as error:
        if not isinstance(error, DabsRqError | OSError):
            traceback.print_exc()
        outcome.errors.append(f"{job.name}: {type(error).__name__}: {error}")
        outcome.out_of_memory = _ran_out(error)
    outcome.seconds = time.monotonic() - started
    return outcome


def _ran_out(error: Exception) -> bool:
    return isinstance(error, ResourceError) or is_out_of_memory(error)


def _prepare(job: Job, outcome: Outcome) -> None:
    """Fill the prepared cache, once for all methods and seeds. Errors are ignored here: the job that reads the data
    reports them."""
    run = job.run
    preparations: list[Callable[[], object]] = []
    trained = [method for method in run.options.methods if registry.method(method.name).trains]
    if any(run.whole_crops(method, run.domain) is None for method in trained):
        preparations.append(lambda: run.splits.unlabelled("train").key)
    preparations += [partial(_prepare_task, run, task) for task in run.domain.tasks if task.name in job.prepares]
    for prepare in preparations:
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            prepare()


def _prepare_task(run: Run, task: Task) -> None:
    for split in run.splits.labelled(task):
        _ = run.splits.prepare(split).key  # for the jobs that wait, also if nothing is prepared


def _pretrain(job: Job, outcome: Outcome) -> None:
    from dabs_rq.pretrain.pretrain import pretrain

    pretrain(job.run, job.seed)


def _transfer(job: Job, outcome: Outcome) -> None:
    from dabs_rq.transfer.transfer import transfer

    _, failures = transfer(job.run, job.seed)
    for error in failures:
        if isinstance(error, MissingDataError):
            outcome.missing.append(first_line(error))
        else:
            outcome.errors.append(f"{job.name}: {error}")
            outcome.out_of_memory |= _ran_out(error)


_STEPS = {"prepare": _prepare, "pretrain": _pretrain, "transfer": _transfer}
