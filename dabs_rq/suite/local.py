"""Where the jobs of a suite run: in this process one after the other, or in several local ones (`ray_executor` has the
third way). An executor gives every job twice: without an outcome when it begins, with it when it is over."""

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
from dabs_rq.suite.jobs import Job, Outcome, work

Events = Generator[tuple[Job, Outcome | None], None, None]
GRACE = 5.0  # seconds between asking a process to end and ending it
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def in_process(jobs: Sequence[Job], logs: Path | None) -> Events:
    """The jobs in their order, which has every job after those it waits for. What they print goes to files in `logs`,
    or where it always goes if that is None."""
    over: dict[str, Outcome] = {}
    for job in jobs:
        yield job, None
        before = [over[name] for name in job.after]
        over[job.name] = work(job, before) if logs is None else logged(job, before, logs)
        yield job, over[job.name]


def processes(jobs: Sequence[Job], count: int, logs: Path, threads: int = 1) -> Events:
    """`count` jobs at a time, each in a process of its own with so many threads; what a job prints goes to a file in
    `logs`. A job whose process is killed is tried once more, without any other job noticing."""
    with _environment(dict.fromkeys(THREADS, str(threads))):
        yield from _pooled(list(jobs), count, logs)


def _pooled(waiting: list[Job], count: int, logs: Path) -> Events:
    # A pool of one process for each place: a killed process ends its pool alone, and it is known whose job it had.
    pools = [_pool() for _ in range(count)]
    running: dict[Future[Outcome], tuple[Job, int]] = {}
    over: dict[str, Outcome] = {}
    killed = set[str]()
    try:
        while waiting or running:
            idle = sorted(set(range(count)) - {place for _, place in running.values()})
            ready = [job for job in waiting if over.keys() >= set(job.after)]
            for job, place in zip(ready, idle, strict=False):
                waiting.remove(job)
                running[_submit(pools, place, job, [over[name] for name in job.after], logs)] = job, place
                yield job, None
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, place = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    pools[place].shutdown()
                    pools[place] = _pool()
                    if job.name not in killed:
                        killed.add(job.name)
                        waiting.insert(0, job)
                        continue
                over[job.name] = _outcome(job, future)
                yield job, over[job.name]
    except BaseException:  # interrupted: what runs is ended, not waited for
        _end(pools)
        raise
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _submit(
    pools: list[ProcessPoolExecutor], place: int, job: Job, before: Sequence[Outcome], logs: Path
) -> Future[Outcome]:
    try:
        return pools[place].submit(logged, job, before, logs)
    except BrokenProcessPool:  # its process was killed while it had nothing to do
        pools[place].shutdown()
        pools[place] = _pool()
        return pools[place].submit(logged, job, before, logs)


def _outcome(job: Job, future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        return Outcome(wrong=[f"{job.name}: its process was killed twice (out of memory?)"])
    return Outcome(wrong=[f"{job.name}: {type(error).__name__}: {error}"])


def _pool() -> ProcessPoolExecutor:
    # Fresh processes: forking one that has threads (torch has) can hang.
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """Make this process the head of a group, so that those it starts can be ended with it and Ctrl-C reaches only its
    parent; end the group when that is gone."""
    os.setsid()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _end(pools: Iterable[ProcessPoolExecutor]) -> None:
    """End the processes of `pools` and what they started."""
    ended = {pid: process for pool in pools for pid, process in (pool._processes or {}).items()}
    for pid, process in ended.items():
        _signal_group(pid, signal.SIGTERM)
        process.terminate()  # also one that has no group yet
    last = time.monotonic() + GRACE
    for pid, process in ended.items():
        process.join(max(0.0, last - time.monotonic()))
        _signal_group(pid, signal.SIGKILL)
        process.kill()


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for the processes started in this block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# ---- what a job prints -----------------------------------------------------------------------------------------------


def logged(job: Job, before: Sequence[Outcome], logs: Path) -> Outcome:
    """`work`, with everything that it prints appended to the job's file in `logs`."""
    try:
        with _output_to(logs / job.log_name):
            print(f"---- {now()} {job.name}: {' '.join(job.run.words)}")
            return work(job, before)
    except OSError as error:
        return Outcome(wrong=[f"{job.name}: its log cannot be written: {error}"])


@contextlib.contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Append to `file` what this process and those it starts print."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8", buffering=1) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in kept:
                os.dup2(log.fileno(), number)
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
