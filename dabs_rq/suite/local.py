"""Executors that run jobs on this machine: one after the other in this process, or in several processes at a time
(`ray_executor` runs them on Ray).

An executor yields every job twice: with None when it starts, with its outcome when it finishes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dabs_rq.records.provenance import now
from dabs_rq.suite.jobs import Job, Outcome, run_job

Events = Generator[tuple[Job, Outcome | None], None, None]
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def in_process(jobs: Sequence[Job], logs: Path | None) -> Events:
    """Run the jobs one after the other; each must come after those it waits for. Output goes to files in `logs`, or to
    the terminal if `logs` is None."""
    outcomes: dict[str, Outcome] = {}
    for job in jobs:
        yield job, None
        awaited = [outcomes[name] for name in job.after]
        outcomes[job.name] = run_job(job, awaited) if logs is None else run_logged(job, awaited, logs)
        yield job, outcomes[job.name]


def in_processes(jobs: Sequence[Job], count: int, logs: Path, threads: int = 1) -> Events:
    """Run `count` jobs at a time, each in its own process with `threads` threads. Output goes to a file per job in
    `logs`. A job whose process is killed is retried once; the other jobs are not affected."""
    with _environment_variables(dict.fromkeys(THREAD_VARIABLES, str(threads))):
        yield from _pooled(list(jobs), count, logs)


def _pooled(waiting: list[Job], count: int, logs: Path) -> Events:
    # One pool per process: a killed process breaks its pool, so this shows whose process it was and spares other jobs.
    pools = [_new_pool() for _ in range(count)]
    running: dict[Future[Outcome], tuple[Job, int]] = {}
    outcomes: dict[str, Outcome] = {}
    killed = set[str]()
    try:
        while waiting or running:
            idle = sorted(set(range(count)) - {slot for _, slot in running.values()})
            ready = [job for job in waiting if outcomes.keys() >= set(job.after)]
            for job, slot in zip(ready, idle, strict=False):
                waiting.remove(job)
                awaited = [outcomes[name] for name in job.after]
                running[_submit(pools, slot, job, awaited, logs)] = job, slot
                yield job, None
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, slot = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    pools[slot].shutdown()
                    pools[slot] = _new_pool()
                    if job.name not in killed:
                        killed.add(job.name)
                        waiting.insert(0, job)
                        continue
                outcomes[job.name] = _outcome(job, future)
                yield job, outcomes[job.name]
    except BaseException:  # when interrupted, stop running jobs instead of waiting for them
        _stop(pools)
        raise
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _submit(
    pools: list[ProcessPoolExecutor], slot: int, job: Job, awaited: Sequence[Outcome], logs: Path
) -> Future[Outcome]:
    try:
        return pools[slot].submit(run_logged, job, awaited, logs)
    except BrokenProcessPool:  # the process was killed while idle
        pools[slot].shutdown()
        pools[slot] = _new_pool()
        return pools[slot].submit(run_logged, job, awaited, logs)


def _outcome(job: Job, future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        return Outcome(errors=[f"{job.name}: its process was killed twice (out of memory?)"])
    return Outcome(errors=[f"{job.name}: {type(error).__name__}: {error}"])


def _new_pool() -> ProcessPoolExecutor:
    # Spawn: forking a process that has threads (torch starts some) can deadlock.
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_lead_process_group)


def _lead_process_group() -> None:
    """Make this process lead a group, so that its children can be killed with it and Ctrl-C reaches only its parent.
    Kill the group when the parent exits."""
    os.setsid()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        parent.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def _stop(pools: Iterable[ProcessPoolExecutor]) -> None:
    """Stop the processes of `pools` and their children."""
    stopping = {pid: process for pool in pools for pid, process in (pool._processes or {}).items()}
    for pid, process in stopping.items():
        _signal_group(pid, signal.SIGTERM)
        process.terminate()  # it may not lead a group yet
    deadline = time.monotonic() + GRACE_SECONDS
    for pid, process in stopping.items():
        process.join(max(0.0, deadline - time.monotonic()))
        _signal_group(pid, signal.SIGKILL)
        process.kill()


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


@contextlib.contextmanager
def _environment_variables(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables within this block, for the processes that it starts."""
    previous = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in previous.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# ---- logs ------------------------------------------------------------------------------------------------------------


def run_logged(job: Job, awaited: Sequence[Outcome], logs: Path) -> Outcome:
    """Run a job like `run_job`, with its output appended to its log file in `logs`."""
    try:
        with _redirect_output(logs / job.log_name):
            print(f"---- {now()} {job.name}: {' '.join(job.run.words)}")
            return run_job(job, awaited)
    except OSError as error:
        return Outcome(errors=[f"{job.name}: cannot write its log: {error}"])


@contextlib.contextmanager
def _redirect_output(file: Path) -> Iterator[None]:
    """Append to `file` what this process and its children print."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8", buffering=1) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
        try:
            for descriptor, _ in saved:
                os.dup2(log.fileno(), descriptor)
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)
