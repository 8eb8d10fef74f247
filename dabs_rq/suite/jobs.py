"""The jobs of a suite: what one is, what it waits for, and its work. Jobs and outcomes can be sent to other processes
and machines."""

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
from dabs_rq.domain import Task
from dabs_rq.errors import DabsRqError, MissingDataError, first_line
from dabs_rq.run import Run

Step = Literal["prepare", "pretrain", "transfer"]


@dataclass(frozen=True)
class Job:
    """One step of a suite for `words`, the options of its run. `method` and `seed` are those of pretrain and transfer.
    `after`: names of the jobs whose results it needs."""

    step: Step
    domain: str
    words: tuple[str, ...]
    method: str = ""
    seed: int = 0
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.title}, seed {self.seed}" if self.method else self.title

    @property
    def title(self) -> str:
        """The name without the seed."""
        return f"{self.step} {self.domain} with {self.method}" if self.method else f"{self.step} {self.domain}"

    @property
    def log_name(self) -> str:
        return re.sub(r"\W+", "-", self.name) + ".log"


@dataclass
class Outcome:
    """What a job (or a whole suite) left behind, in order: `missing` data, what went `wrong`, and the jobs that did not
    run for want of another's result (`waiting`). `seconds` of work."""

    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def state(self) -> Literal["done", "failed", "data missing", "waiting"]:
        if self.wrong:
            return "failed"
        return "data missing" if self.missing else "waiting" if self.waiting else "done"

    def add(self, other: Outcome) -> None:
        self.missing = list(dict.fromkeys([*self.missing, *other.missing]))
        self.wrong += other.wrong
        self.waiting += other.waiting


def unattended(job: Job, processes: int) -> Job:
    """The same job without progress bars, preparing with so many processes unless its words say how many."""
    words = (*job.words, "trainer.progress=false")
    if not any(word.startswith("loader.processes=") for word in words):
        words = (*words, f"loader.processes={processes}")
    return replace(job, words=words)


def work(job: Job, before: Iterable[Outcome] = ()) -> Outcome:
    """Do one job in this process; `before` has the outcomes of the jobs in its `after`. What is finished is kept; what
    fails is told, and nothing is raised for it."""
    for name, one in zip(job.after, before, strict=True):
        if one.state != "done":
            return Outcome(waiting=[f"{job.name} waits for {name}"])
    started, outcome = time.monotonic(), Outcome()
    try:
        _STEPS[job.step](Run.of(job.words), job.seed, outcome)
    except MissingDataError as error:
        outcome.missing.append(first_line(error))
    except Exception as error:
        if not isinstance(error, DabsRqError):
            traceback.print_exc()
        outcome.wrong.append(f"{job.name}: {type(error).__name__}: {error}")
    outcome.seconds = time.monotonic() - started
    return outcome


def _prepare(run: Run, seed: int, outcome: Outcome) -> None:
    """Fill the prepared cache, once for all methods and seeds. What goes wrong is told by the job that needs it; the
    others go on."""
    steps: list[Callable[[], object]] = [partial(_prepare_task, run, task) for task in run.tasks]
    if any(registry.method(name).trains for name in run.options.methods):
        steps.insert(0, partial(run.unlabelled, "train"))
    for step in steps:
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            step()


def _prepare_task(run: Run, task: Task) -> None:
    for part in run.labelled(task):
        run.prepare(part)


def _pretrain(run: Run, seed: int, outcome: Outcome) -> None:
    from dabs_rq.pretrain.pretrain import pretrain

    pretrain(run, seed)


def _transfer(run: Run, seed: int, outcome: Outcome) -> None:
    from dabs_rq.transfer.transfer import transfer

    _, errors = transfer(run, seed)
    for one in errors:
        if isinstance(one, MissingDataError):
            outcome.missing.append(first_line(one))
        else:
            outcome.wrong.append(f"transfer {run.domain.name} with {run.options.method.name}, seed {seed}: {one}")


_STEPS = {"prepare": _prepare, "pretrain": _pretrain, "transfer": _transfer}
