"""The suite's plan, and its jobs in other processes: the same numbers, and none lost with a killed process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dabs_rq import checkpoint, executors, record
from dabs_rq.jobs import Job, Outcome, plan
from dabs_rq.run import Run
from dabs_rq.suite import suite
from tests.test_pretrain import SMALL


@pytest.fixture
def words(tmp_path: Path, miniature: Callable[[str], Path]) -> list[str]:
    """A small suite of one domain, its miniature used as if it were real data."""
    budget = ["pretrain.steps=3", "transfer.max_examples=60", "transfer.strengths=[1]"]
    return ["domains=[sensor]", f"data={miniature('sensor')}", f"runs={tmp_path / 'runs'}", *SMALL, *budget]


def test_every_job_comes_after_those_it_waits_for(words: list[str]) -> None:
    jobs = plan(Run.of([*words, "seeds=[0,1]", "domains=[sensor,images]"]))
    assert len(jobs) == 2 * (1 + 2 * 3 * 2) and len({job.name for job in jobs}) == len(jobs)
    seen: set[str] = set()
    for job in jobs:
        assert set(job.after) <= seen
        seen.add(job.name)
    assert [job.name for job in jobs][:3] == [
        "prepare images",
        "pretrain images with none, seed 0",
        "transfer images with none, seed 0",
    ]


def test_processes_give_the_numbers_of_this_process(words: list[str], tmp_path: Path) -> None:
    runs = [tmp_path / "runs", tmp_path / "alone"]
    together = suite(Run.of([*words, "suite.workers=2"]))
    alone = suite(Run.of([*words, f"runs={runs[1]}", "suite.workers=1"]))
    assert not together.wrong and not alone.wrong
    found = []
    for folder in runs:
        records, errors = record.read_all(folder)
        assert len(records) == 6 and not errors  # two splits of one task, three methods
        found.append({(one.method, one.split): (one.score, one.checkpoint) for one in records})
    assert found[0] == found[1]
    logs = {file.name: file.read_text() for file in (runs[0] / "logs").iterdir()}
    assert "pretrain sensor with rq, seed 0, 3 steps" in logs["pretrain-sensor-with-rq-seed-0.log"]
    assert "% accuracy" in logs["transfer-sensor-with-rq-seed-0.log"]


def job(step: str, *words: str, after: tuple[str, ...] = ()) -> Job:
    return Job(step, step, words, after=after)


def killed_once(one: Job) -> Outcome:
    """Stands for the work of a job that the system kills: "kill" once, "doomed" always."""
    marker = Path(one.words[0]) / one.step
    first = not marker.exists()
    marker.touch()
    if one.step == "doomed" or (one.step == "kill" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(seconds=1.0)


def test_a_killed_process_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = str(tmp_path)
    jobs = [job("kill", where), job("doomed", where), job("other", where), job("last", where, after=("kill", "other"))]
    jobs.append(job("after", where, after=("doomed",)))
    monkeypatch.setattr(executors, "_logged", _without_log)
    outcomes = {one.step: outcome for one, outcome in executors.processes(jobs, 2, tmp_path)}
    assert set(outcomes) == {"kill", "doomed", "other", "last", "after"}
    assert not outcomes["kill"].wrong and not outcomes["last"].wrong and not outcomes["other"].wrong
    assert "was killed twice" in outcomes["doomed"].wrong[0]


def _without_log(one: Job, logs: Path) -> Outcome:
    return killed_once(one)


def test_a_checkpoint_made_by_a_job_is_a_whole_one(words: list[str]) -> None:
    run = Run.of([*words, "suite.workers=1"])
    suite(run)
    for method in ("none", "emix", "rq"):
        checkpoint.load_encoder(run.with_method(method, "sensor").checkpoint_file(0))
