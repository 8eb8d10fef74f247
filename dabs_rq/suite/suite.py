"""The suite: computes every missing cell of the table with the executor that the options name."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from dabs_rq.errors import OptionError
from dabs_rq.run import Run
from dabs_rq.run.processes import loader_workers, processors, uses_gpu
from dabs_rq.suite import local as executors
from dabs_rq.suite.jobs import Job, Outcome, unattended
from dabs_rq.suite.local import Events
from dabs_rq.suite.measured import Seen, look_apart, to_measure
from dabs_rq.suite.needs import needs, quiet
from dabs_rq.suite.packing import Packing, about_too_large, describe_gpus
from dabs_rq.suite.plan import Plan, build_plan, describe_plan
from dabs_rq.suite.progress import LiveProgress, Progress


def suite(run: Run) -> Outcome:
    """Pretrain and transfer what is missing for every selected domain, task, method and seed. Finished results are
    reused, and a job that fails does not stop the others."""
    return compute(run, build_plan(run))


def compute(run: Run, planned: Plan) -> Outcome:
    """Run the jobs of a plan with the executor that the run's options name."""
    started = time.monotonic()
    outcome = Outcome(missing=list(planned.missing))
    logs = run.places.runs / "logs"
    on_screen = sys.stdout.isatty() and run.options.trainer.progress
    progress = LiveProgress(planned.jobs) if on_screen else Progress(planned.jobs)
    if not planned.jobs:
        print("nothing left to compute", flush=True)
    events = _execute(run, planned.jobs, logs, on_screen)
    try:
        with closing(events), progress:
            for job, job_outcome in events:
                if job_outcome is None:
                    progress.started(job)
                    continue
                progress.finished(job, job_outcome)
                if (log := logs / job.log_name).exists():
                    job_outcome.errors = [f"{error}\n    log: {log}" for error in job_outcome.errors]
                outcome.add(job_outcome)
    except KeyboardInterrupt:
        print(f"\n{len(progress.unfinished)} of {progress.total} jobs left:", file=sys.stderr)
        print("\n".join(f"  {name}" for name in progress.unfinished), file=sys.stderr)
        raise
    outcome.seconds = time.monotonic() - started
    return outcome


def dry_run(run: Run) -> str:
    """Describe what is done, to do and waiting, as `suite --dry-run` prints it. Nothing is run or written."""
    options = run.options
    scored = f"; networks {', '.join(options.encoders)}" if options.encoders else ""
    names = f"methods {', '.join(run.methods)}{scored}; seeds {', '.join(map(str, options.seeds))}"
    head = f"{run.about_data}, scale={options.scale.name}, protocol={options.protocol.name}; {names}"
    return f"{head}\n\n{describe_plan(build_plan(run))}"


def _execute(run: Run, jobs: Sequence[Job], logs: Path, on_screen: bool) -> Events:
    suite = run.options.suite
    cpus = processors()
    workers = min(suite.workers or max(1, cpus // suite.cpus), len(jobs))
    executor = suite.executor
    if executor == "auto":
        executor = "processes" if workers > 1 else "in_process"
    if executor == "in_process" and on_screen:
        return executors.in_process([unattended(job, cpus) for job in jobs], logs)
    if executor == "in_process" or not jobs:
        return executors.in_process(jobs, None)
    if executor == "processes":
        return _in_processes(run, jobs, workers, logs)
    from dabs_rq.suite.ray_executor import on_ray

    print(f"{len(jobs)} jobs on Ray; their output goes to {logs}", flush=True)
    return on_ray(run, jobs, logs)


def _in_processes(run: Run, jobs: Sequence[Job], workers: int, logs: Path) -> Events:
    if uses_gpu(run.options):
        return _on_gpus(run, jobs, workers, logs, look_apart(to_measure(run, jobs)))
    share = max(1, workers // sum(job.step == "prepare" for job in jobs))
    readers = loader_workers(run.options, workers)
    alone = [unattended(job, share if job.step == "prepare" else 1, readers) for job in jobs]
    print(f"{len(jobs)} jobs in {workers} processes; their output goes to {logs}", flush=True)
    return executors.in_processes(alone, workers, logs, run.options.suite.cpus)


def _on_gpus(run: Run, jobs: Sequence[Job], workers: int, logs: Path, seen: Seen) -> Events:
    """Run jobs in processes that share the GPUs of this machine. Raises OptionError for a job that takes more GPUs than
    there are."""
    suite, cpus = run.options.suite, processors()
    taken = needs(run, jobs, [{"CPU": cpus, "GPU": len(seen.gpus)}], seen)
    for name, need in taken.items():
        if need.whole_gpus > len(seen.gpus):
            raise OptionError(
                f"{name} takes {need.whole_gpus} GPUs, and this machine has {len(seen.gpus)}: lower trainer.devices or "
                "suite.pretrain_gpus"
            )
    for line in about_too_large(taken, seen.gpus):
        print(line, flush=True)
    packing = Packing(cpus, workers, seen.gpus, suite.jobs_per_gpu)
    print(
        f"{len(jobs)} jobs in up to {workers} processes on {describe_gpus(seen.gpus)}, at most {suite.jobs_per_gpu} on "
        f"each (suite.jobs_per_gpu); their output goes to {logs}",
        flush=True,
    )
    return executors.in_processes(
        [quiet(run, job, taken[job.name]) for job in jobs], workers, logs, suite.cpus, packing=packing, needs=taken
    )
