"""The suite: every missing cell of the table, by the executor that the options name."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from dabs_rq import executors
from dabs_rq.jobs import Job, Outcome, plan
from dabs_rq.run import Run


def suite(run: Run) -> Outcome:
    """Pretrain and transfer what is missing for every domain, method and seed. What is finished is kept, and what
    fails does not keep the rest from going on."""
    started = time.monotonic()
    outcome = Outcome()
    jobs = plan(run)
    workers = min(_workers(run), len(jobs))
    if workers == 1:
        done = executors.in_process(jobs)
    else:
        logs = run.runs / "logs"
        print(f"{len(jobs)} jobs in {workers} processes; what they print is in {logs}", flush=True)
        quiet = [_quiet(job) for job in jobs]
        done = executors.processes(quiet, workers, logs)
    for number, (job, one) in enumerate(done, 1):
        outcome.add(one)
        if workers > 1:
            _tell(job, one, number, len(jobs), time.monotonic() - started)
    outcome.seconds = time.monotonic() - started
    return outcome


def _workers(run: Run) -> int:
    """The processes that work: as said, else one per processor, or a single one where there is a GPU to share."""
    import torch

    if run.options.suite.workers is not None:
        return run.options.suite.workers
    on_gpu = run.options.trainer.accelerator != "cpu" and torch.cuda.is_available()
    return 1 if on_gpu else os.cpu_count() or 1


def _quiet(job: Job) -> Job:
    """The same job without progress bars, preparing in its own process alone."""
    return replace(job, words=(*job.words, "trainer.progress=false", "loader.processes=1"))


def _tell(job: Job, outcome: Outcome, number: int, total: int, elapsed: float) -> None:
    left = elapsed / number * (total - number)
    state = "failed" if outcome.wrong else "data missing" if outcome.missing else f"{outcome.seconds:.0f} s"
    print(f"[{number}/{total}] {job.name}: {state} (about {left:.0f} s left)", flush=True)
