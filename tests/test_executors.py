"""Jobs in other processes: the same numbers, none lost with a killed process, none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from dabs_rq import checkpoint
from dabs_rq.records import record
from dabs_rq.run import Run
from dabs_rq.suite import local as executors
from dabs_rq.suite.jobs import Job, Outcome
from dabs_rq.suite.suite import suite
from tests.stand_ins import job, killed_once, own_process, sleeps_with_a_child
from tests.test_pretrain import SMALL


@pytest.fixture
def words(tmp_path: Path, miniature: Callable[[str], Path]) -> list[str]:
    """A small suite of one domain, its miniature used as if it were real data."""
    budget = ["pretrain.steps=3", "transfer.max_examples=60", "transfer.strengths=[1]"]
    names = ["domains=[sensor]", "method=none,emix,rq", "transfer.also=[]"]
    return [*names, f"data={miniature('sensor')}", f"runs={tmp_path / 'runs'}", *SMALL, *budget]


@pytest.mark.slow
def test_processes_give_the_numbers_of_this_process(words: list[str], tmp_path: Path) -> None:
    runs = [tmp_path / "runs", tmp_path / "alone"]
    together = suite(Run.of([*words, "suite.workers=2"]))
    alone = suite(Run.of([*words, f"runs={runs[1]}", "suite.workers=1"]))
    assert together.state == alone.state == "done"
    found = []
    for folder in runs:
        records, errors = record.read_all(folder)
        assert len(records) == 6 and not errors  # two splits of one task, three methods
        found.append({(one.method, one.split): (one.score, one.checkpoint) for one in records})
    assert found[0] == found[1]
    logs = {file.name: file.read_text() for file in (runs[0] / "logs").iterdir()}
    assert "pretrain sensor with rq, seed 0, 3 steps" in logs["pretrain-sensor-with-rq-seed-0.log"]
    assert "% accuracy" in logs["transfer-sensor-with-rq-seed-0.log"]
    assert not (runs[1] / "logs").exists()  # it was printed here
    for method in ("none", "emix", "rq"):
        checkpoint.load_encoder(Run.of(words).replace(method=method, domain="sensor").checkpoint_file(0))


# ---- processes that are killed -------------------------------------------------------------------------------------


def test_a_killed_process_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job("kill"), job("doomed"), job("other"), job("last", after=("prepare kill", "prepare other"))]
    jobs.append(job("after", after=("prepare doomed",)))
    monkeypatch.setattr(executors, "run_logged", killed_once)
    outcomes = {one.domain: outcome for one, outcome in executors.in_processes(jobs, 2, tmp_path) if outcome}
    assert set(outcomes) == {"kill", "doomed", "other", "last", "after"}
    assert all(outcomes[name].state == "done" for name in ("kill", "other", "last"))
    assert "was killed twice" in outcomes["doomed"].errors[0]
    assert outcomes["after"].waiting == ["failed"]


@pytest.mark.slow
def test_a_process_killed_while_it_has_nothing_to_do_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "run_logged", own_process)
    monkeypatch.setattr(executors, "_new_pool", noted := Noted(executors._new_pool))
    jobs = [job("first"), job("second", after=("prepare first",))]
    events = executors.in_processes(jobs, 1, tmp_path)
    pids = []
    for _, outcome in events:
        if outcome is not None:
            pids.append(int(outcome.missing[0]))
            if len(pids) == 1:
                os.kill(pids[0], signal.SIGKILL)
                until(lambda: noted.is_broken())
    assert len(set(pids)) == 2


class Noted:
    """Makes pools and remembers the last one."""

    def __init__(self, make: Callable[[], executors.ProcessPoolExecutor]) -> None:
        self.make = make

    def __call__(self) -> executors.ProcessPoolExecutor:
        self.pool = self.make()
        return self.pool

    def is_broken(self) -> bool:
        try:
            self.pool.submit(os.getpid).result()
        except BrokenProcessPool:
            return True
        return False


# ---- nothing is left behind ----------------------------------------------------------------------------------------


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Whether a process has ended (its parent may not have looked yet)."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not done.stdout.strip() or done.stdout.startswith("Z")


def test_an_interrupt_ends_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "run_logged", sleeps_with_a_child)
    events = executors.in_processes([job("sleeper")], 1, tmp_path)
    assert next(events)[1] is None
    until((tmp_path / "pids").exists)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    for pid in (tmp_path / "pids").read_text().split():
        until(lambda pid=pid: is_gone(int(pid)), 5.0)  # type: ignore[misc]


@pytest.mark.slow
def test_jobs_end_with_a_suite_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests import stand_ins\n"
        "from dabs_rq.suite import local as executors\n"
        "executors.run_logged = stand_ins.sleeps_with_a_child\n"
        "if __name__ == '__main__': list(executors.in_processes([stand_ins.job('sleeper')], 1, Path(sys.argv[1])))\n"
    )
    suite_process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    until((tmp_path / "pids").exists)
    suite_process.kill()
    suite_process.wait()
    for pid in (tmp_path / "pids").read_text().split():
        until(lambda pid=pid: is_gone(int(pid)), 5.0)  # type: ignore[misc]


# ---- what jobs print -----------------------------------------------------------------------------------------------


def test_a_log_has_what_a_job_and_its_children_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def prints(one: Job, before: list[Outcome]) -> Outcome:
        print("from the job")
        subprocess.run([sys.executable, "-c", "import sys; print('from its child', file=sys.stderr)"], check=True)
        return Outcome(seconds=2.0)

    monkeypatch.setattr(executors, "run_job", prints)
    one = job("sensor", "domain=sensor")
    for _ in range(2):
        assert executors.run_logged(one, [], tmp_path / "logs").seconds == 2.0
    print("and after it")
    text = (tmp_path / "logs" / one.log_name).read_text()
    assert text.count("prepare sensor: domain=sensor\nfrom the job\nfrom its child\n") == 2
    assert capfd.readouterr() == ("and after it\n", "")


def test_a_log_that_cannot_be_written_is_a_failed_job(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    assert executors.run_logged(job("sensor"), [], tmp_path / "logs").state == "failed"
