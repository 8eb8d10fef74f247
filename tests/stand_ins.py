"""Stand-ins for the work of jobs, run in other processes, which import nothing heavy for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dabs_rq.run import Run
from dabs_rq.suite.jobs import Job, Outcome


def heed_interrupts() -> None:
    """For a child before it runs: what starts tests in the background lets them ignore SIGINT, which is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def job(domain: str, *words: str, after: tuple[str, ...] = ()) -> Job:
    return Job("prepare", domain, Run.of(words), after=after)


def killed_once(one: Job, before: list[Outcome], logs: Path) -> Outcome:
    """Stands for the work of a job that the system kills: "kill" once, "doomed" always."""
    marker = logs / one.domain
    first = not marker.exists()
    marker.touch()
    if one.domain == "doomed" or (one.domain == "kill" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(waiting=[state for state in [each.state for each in before] if state != "done"], seconds=1.0)


def tells_its_gpus(one: Job, before: list[Outcome], logs: Path) -> Outcome:
    """Stands for the work of a job on GPUs: writes which it sees, and ends when the test writes `<domain>.end`. The job
    "tight" runs out of memory the first time."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    times = len(list(logs.glob(f"{one.domain}.*.gpus")))
    (logs / f"{one.domain}.{times}.gpus").write_text(seen)
    if one.domain == "tight" and times == 0:
        return Outcome(errors=["out of memory"], out_of_memory=True)
    while not (logs / f"{one.domain}.end").exists():
        time.sleep(0.02)
    return Outcome(missing=[str(os.getpid())])


def own_process(one: Job, before: list[Outcome], logs: Path) -> Outcome:
    return Outcome(missing=[str(os.getpid())])


def sleeps_with_a_child(one: Job, before: list[Outcome], logs: Path) -> Outcome:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (logs / "pids.part").write_text(f"{os.getpid()} {child.pid}")
    (logs / "pids.part").rename(logs / "pids")
    time.sleep(600)
    return Outcome()
