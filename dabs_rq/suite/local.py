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
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dabs_rq.records.provenance import now
from dabs_rq.suite.jobs import Job, Outcome, run_job
from dabs_rq.suite.packing import VISIBLE, Need, Packing

Events = Generator[tuple[Job, Outcome | None], None, None]
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
ALONE = "alone on a GPU, after it ran out of memory"
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


def in_processes(
    jobs: Sequence[Job],
    count: int,
    logs: Path,
    threads: int = 1,
    *,
    packing: Packing | None = None,
    needs: Mapping[str, Need] | None = None,
) -> Events:
    """Run jobs at the same time, each in its own process with `threads` threads. Output goes to a file per job in
    `logs`. A job whose process is killed is retried once; the other jobs are not affected.

    Without `packing`, `count` jobs run at a time. packing: says which run, from what each takes (`needs`, by name), and
    on which GPUs. A job that runs out of memory while it shares a GPU is retried once, alone on one.
    """
    packing = packing or Packing(cpus=count, jobs=count)
    with _environment_variables(dict.fromkeys(THREAD_VARIABLES, str(threads))):
        yield from _pooled(list(jobs), packing, dict(needs or {}), logs)


def _pooled(waiting: list[Job], packing: Packing, needs: dict[str, Need], logs: Path) -> Events:
    # One pool per process: a killed process breaks its pool, so this shows whose process it was and spares other jobs.
    pools, idle = list[ProcessPoolExecutor](), list[ProcessPoolExecutor]()
    running: dict[Future[Outcome], tuple[Job, ProcessPoolExecutor]] = {}
    outcomes: dict[str, Outcome] = {}
    killed, alone = set[str](), set[str]()
    try:
        while waiting or running:
            ready = {job.name: job for job in waiting if outcomes.keys() >= set(job.after)}
            for name, gpus in packing.place((name, needs.get(name, Need())) for name in ready).items():
                job = ready[name]
                waiting.remove(job)
                with _visible(gpus, packing):
                    future, pool = _submit(pools, idle, job, [outcomes[earlier] for earlier in job.after], logs, gpus)
                running[future] = job, pool
                yield job, None
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, pool = running.pop(future)
                shared, took_gpu = packing.shares(job.name), packing.takes_gpu(job.name)
                broken = isinstance(future.exception(), BrokenProcessPool)
                if broken or took_gpu:
                    pool.shutdown()  # before the GPU is given to another job: an idle process keeps memory of it
                    pools.remove(pool)
                else:
                    idle.append(pool)
                packing.release(job.name)
                if broken and job.name not in killed:
                    killed.add(job.name)
                    waiting.insert(0, job)
                    continue
                outcome = _outcome(job, future)
                if outcome.out_of_memory and shared:
                    alone.add(job.name)
                    needs[job.name] = needs[job.name].alone()
                    waiting.insert(0, job)
                    continue
                outcome.note = ALONE if job.name in alone else ""
                outcomes[job.name] = outcome
                yield job, outcome
    except BaseException:  # when interrupted, stop running jobs instead of waiting for them
        _stop(pools)
        raise
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _submit(
    pools: list[ProcessPoolExecutor],
    idle: list[ProcessPoolExecutor],
    job: Job,
    awaited: Sequence[Outcome],
    logs: Path,
    gpus: Sequence[str],
) -> tuple[Future[Outcome], ProcessPoolExecutor]:
    """Run a job in a process that is idle, or in a new one if there is none or the job computes on a GPU."""
    if idle and not gpus:
        pool = idle.pop()
        try:
            return pool.submit(run_logged, job, awaited, logs), pool
        except BrokenProcessPool:  # the process was killed while idle
            pool.shutdown()
            pools.remove(pool)
    pools.append(pool := _new_pool())
    return pool.submit(run_logged, job, awaited, logs), pool


def _visible(gpus: Sequence[str], packing: Packing) -> contextlib.AbstractContextManager[None]:
    """Let processes that start in this block see these GPUs alone; on a machine without GPUs nothing changes."""
    return _environment_variables({VISIBLE: ",".join(gpus)} if packing.gpus else {})


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
