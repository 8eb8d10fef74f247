"""The suite: every missing cell of the table, by the executor that the options name."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from dabs_rq.run import Run
from dabs_rq.suite import local as executors
from dabs_rq.suite import plan
from dabs_rq.suite.jobs import Job, Outcome, unattended
from dabs_rq.suite.local import Events
from dabs_rq.suite.progress import LiveProgress, Progress


def suite(run: Run) -> Outcome:
    """Pretrain and transfer what is missing for every chosen domain, task, method and seed. What is finished is kept,
    and what fails does not keep the rest from going on."""
    started = time.monotonic()
    made = plan.plan(run)
    outcome = Outcome(missing=list(made.missing))
    logs = run.places.runs / "logs"
    on_screen = sys.stdout.isatty() and run.options.trainer.progress
    progress = LiveProgress(made.jobs) if on_screen else Progress(made.jobs)
    if not made.jobs:
        print("nothing left to compute", flush=True)
    events = _execute(run, made.jobs, logs, on_screen)
    try:
        with closing(events), progress:
            for job, one in events:
                if one is None:
                    progress.begun(job)
                    continue
                progress.over(job, one)
                if (log := logs / job.log_name).exists():
                    one.wrong = [f"{text}\n    log: {log}" for text in one.wrong]
                outcome.add(one)
    except KeyboardInterrupt:
        print(f"\n{len(progress.left)} of {progress.total} jobs left:", file=sys.stderr)
        print("\n".join(f"  {name}" for name in progress.left), file=sys.stderr)
        raise
    outcome.seconds = time.monotonic() - started
    return outcome


def dry_run(run: Run) -> str:
    """The text of `suite --dry-run`: what is done, what is left and what waits. Nothing is run or written."""
    made = plan.plan(run)
    options = run.options
    names = f"methods {', '.join(run.methods)}; seeds {', '.join(map(str, options.seeds))}"
    head = f"{run.about_data}, scale={options.scale.name}, protocol={options.protocol.name}; {names}"
    return f"{head}\n\n{plan.shown(made)}"


def _execute(run: Run, jobs: Sequence[Job], logs: Path, on_screen: bool) -> Events:
    suite = run.options.suite
    cpus = os.cpu_count() or 1
    workers = min(suite.workers or (1 if _shares_a_gpu(run) else max(1, cpus // suite.cpus)), len(jobs))
    executor = suite.executor
    if executor == "auto":
        executor = "processes" if workers > 1 else "in_process"
    if executor == "in_process" and on_screen:
        return executors.in_process([unattended(job, cpus) for job in jobs], logs)
    if executor == "in_process" or not jobs:
        return executors.in_process(jobs, None)
    if executor == "processes":
        share = max(1, workers // sum(job.step == "prepare" for job in jobs))
        quiet = [unattended(job, share if job.step == "prepare" else 1) for job in jobs]
        print(f"{len(jobs)} jobs in {workers} processes; what they print is in {logs}", flush=True)
        return executors.processes(quiet, workers, logs, suite.cpus)
    from dabs_rq.suite.ray_executor import on_ray

    print(f"{len(jobs)} jobs on Ray; what they print is in {logs}", flush=True)
    return on_ray(run, jobs, logs)


def _shares_a_gpu(run: Run) -> bool:
    import torch

    return run.options.trainer.accelerator != "cpu" and torch.cuda.is_available()
