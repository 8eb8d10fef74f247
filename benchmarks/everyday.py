"""Measures what people wait for every day: a table, a report and a plan of many records, and the start of a job.

The records are those of a real small run, repeated under other seeds: each is read, checked and compared as any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from benchmarks.measure import Line, Spread, Target

RECORDS = 3400  # the table with 25 seeds: 34 rows, 4 columns
SEEDS = 30  # of the plan
COLUMNS = 4
WORDS = ("domain=sensor", "pretrain.steps=2", "transfer.strengths=[1]", "suite.workers=1", "trainer.progress=false")
Measured = Literal["s", "MB"]


def table(folder: Path, *, unit: Measured = "s", records: int = RECORDS, repeats: int = 3) -> Line:
    return _of_records("table", 5, folder, unit, records, repeats)


def report(folder: Path, *, unit: Measured = "s", records: int = RECORDS, repeats: int = 3) -> Line:
    return _of_records("report", 8, folder, unit, records, repeats)


def plan(folder: Path, *, unit: Measured = "s", seeds: int = SEEDS, repeats: int = 3) -> Line:
    listed = f"seeds=[{','.join(map(str, range(seeds)))}]"
    words = ("suite", "--dry-run", listed, f"runs={folder / 'runs'}")
    return Line(
        what=f"suite --dry-run of all domains, {COLUMNS} columns and {seeds} seeds, of which nothing is computed"
        f"{_MEASURED[unit]}",
        baseline=None,
        unit=unit,
        ours=Spread.of([_command(words)[unit] for _ in range(repeats)]),
        target=Target("ours", 5, at_least=False) if unit == "s" else None,
        threads=1,
    )


def job(folder: Path, *, warm: bool = False, repeats: int = 3) -> Line:
    """Measure a job whose results are there already, in a new process or, if `warm`, in one that has run such a job."""
    place = "a process that has run one" if warm else "a new process"
    return Line(
        what=f"a transfer job of a suite whose records are finished, in {place}",
        baseline=None,
        ours=Spread.of([_jobs(_run(folder))[warm] for _ in range(repeats)]),
        threads=1,
    )


_MEASURED = {"s": "; processor time of the whole command", "MB": "; peak memory of the whole command"}


def _of_records(command: str, seconds: float, folder: Path, unit: Measured, records: int, repeats: int) -> Line:
    seeds = _repeat(_run(folder), records // COLUMNS)
    listed = f"seeds=[{','.join(map(str, seeds))}]"
    words = (command, *WORDS, listed, f"runs={folder / 'runs'}", f"out={folder / 'out'}")
    return Line(
        what=f"{command} of {COLUMNS * len(seeds):,} records{_MEASURED[unit]}",
        baseline=None,
        unit=unit,
        ours=Spread.of([_command(words)[unit] for _ in range(repeats)]),
        target=Target("ours", seconds, at_least=False) if unit == "s" else None,
        threads=1,
    )


def _run(folder: Path) -> Path:
    """Compute a small run of one seed, once; return the folder of its runs."""
    runs = folder / "runs"
    if not runs.exists():
        _command(("suite", *WORDS, f"runs={runs}", f"out={folder / 'out'}"))
    return runs


def _repeat(runs: Path, count: int) -> range:
    """Repeat the records of seed 0 under further seeds, `count` in all; return them."""
    for first in runs.glob("*/mini/corrected/records/*/*/*/seed-0"):
        for seed in range(1, count):
            other = first.with_name(f"seed-{seed}")
            other.mkdir(exist_ok=True)
            for file in (one for one in first.glob("[!.]*.json") if "@" not in one.name and "+" not in one.name):
                shutil.copyfile(file.with_suffix(".parquet"), other / file.with_suffix(".parquet").name)
                content = json.loads(file.read_text(encoding="utf-8")) | {"seed": seed}
                (other / file.name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return range(count)


def _command(words: Sequence[str]) -> dict[Measured, float]:
    """Run a command of ours with one thread; return its processor time in s and its peak memory in MB, those of its
    children included. Raises CalledProcessError if it fails."""
    line = [sys.executable, "-m", "dabs_rq", *words]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, line)
    return {"s": used.ru_utime + used.ru_stime, "MB": used.ru_maxrss / 1024}


def _jobs(runs: Path) -> tuple[float, float]:
    """Run two finished jobs, one after the other in one new process; return the seconds of each."""
    from dabs_rq.run import Run
    from dabs_rq.suite.jobs import Job
    from dabs_rq.suite.local import in_processes

    run = Run.of([*WORDS, f"runs={runs}"])
    jobs = [Job("transfer", "sensor", run.replace(method=name), name) for name in ("none", "rq")]
    taken = []
    with contextlib.closing(in_processes(jobs, 1, runs / "logs")) as events:
        started = time.perf_counter()
        for _, outcome in events:
            if outcome is None:
                continue
            if outcome.state != "done":
                raise RuntimeError(f"a job failed: {outcome.errors}")
            taken.append(time.perf_counter() - started)
            started = time.perf_counter()
    cold, warm = taken
    return cold, warm
