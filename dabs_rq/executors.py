"""Where the jobs of a suite run: in this process one after the other, or in several local ones."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from dabs_rq.jobs import Job, Outcome, work

Done = tuple[Job, Outcome]


def in_process(jobs: Sequence[Job]) -> Iterator[Done]:
    """The jobs in their order, which has every job after those it waits for."""
    for job in jobs:
        yield job, work(job)


def processes(jobs: Sequence[Job], count: int, logs: Path) -> Iterator[Done]:
    """`count` jobs at a time, each in a process with one thread; what a job prints goes to a file in `logs`.

    A killed process ends the pool, and nobody knows whose job it had: each that was running is tried once more, alone.
    """
    with _one_thread_each():
        yield from _pooled(list(jobs), count, logs)


def _pooled(waiting: list[Job], count: int, logs: Path) -> Iterator[Done]:
    over = set[str]()
    suspects: list[Job] = []  # one of them made the system kill its process
    running: dict[Future[Outcome], Job] = {}
    pool = _pool(count)
    try:
        while waiting or running or suspects:
            alone = bool(suspects)
            if not alone:
                chosen = [job for job in waiting if set(job.after) <= over][: count - len(running)]
                waiting = [job for job in waiting if job not in chosen]
            else:
                chosen = [suspects.pop(0)]
            running |= {pool.submit(_logged, job, logs): job for job in chosen}
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in finished:
                job = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    broken = True
                    if not alone:
                        suspects.append(job)
                        continue
                    outcome = Outcome(wrong=[f"{job.name}: its process was killed twice (out of memory?)"])
                over.add(job.name)
                yield job, outcome
            if broken:
                suspects += running.values()
                running.clear()
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(count)
    except BaseException:  # interrupted: what runs is ended, not waited for
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(count: int) -> ProcessPoolExecutor:
    # Fresh processes: forking one that has threads (torch has) can hang.
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started in this block compute with one thread: those of several only get in each other's way."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _logged(job: Job, logs: Path) -> Outcome:
    logs.mkdir(parents=True, exist_ok=True)
    with (
        log_file(logs, job).open("a", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        return work(job)


def log_file(logs: Path, job: Job) -> Path:
    return logs / (re.sub(r"\W+", "-", job.name).strip("-") + ".log")
