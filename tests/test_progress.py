"""How far a suite says it is: counts, what runs, and the time left."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from dabs_rq.run import Run
from dabs_rq.suite.jobs import Job, Outcome
from dabs_rq.suite.progress import LiveProgress, Progress


def write_log(job: Job, step: int, text: str) -> None:
    folder = job.run.checkpoint_folder(job.seed) / "log" / f"from-step-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text(text)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def some_jobs() -> list[Job]:
    steps = [("pretrain", method) for method in ("none", "rq", "emix")] + [("transfer", "none"), ("transfer", "rq")]
    return [Job(step, "sensor", Run.of(), method) for step, method in steps]  # type: ignore[arg-type]


def test_time_left_is_told_by_kind_of_job() -> None:
    jobs, clock = some_jobs(), Clock()
    progress = Progress(jobs, clock)
    assert progress.time_left() == ""
    for job, seconds in zip(jobs[:3], (2.0, 100.0, 300.0), strict=True):
        progress.started(job)
        clock.now += seconds
        progress.finished(job, Outcome(seconds=seconds))
    progress.started(jobs[3])
    clock.now += 10
    progress.finished(jobs[3], Outcome(seconds=10.0))
    # One transfer is left, which is expected to take what the other one took.
    assert progress.time_left() == "about 0:00:10 left"
    progress.started(jobs[4])
    clock.now += 4
    assert progress.time_left() == "about 0:00:06 left"


def alike() -> list[Job]:
    domains = ("images", "speech", "text", "sensor", "xray")
    return [Job("pretrain", domain, Run.of([f"domain={domain}", "method=rq"]), "rq") for domain in domains]


def test_time_left_is_shared_by_jobs_that_run_together() -> None:
    jobs = alike()
    progress = Progress(jobs, Clock())
    progress.started(jobs[0])
    progress.started(jobs[1])
    progress.finished(jobs[0], Outcome(seconds=60.0))
    assert progress.time_left() == "about 0:02:00 left"


def test_what_takes_no_time_says_nothing_of_what_does() -> None:
    jobs = some_jobs()[:3]
    progress = Progress(jobs, Clock())
    progress.finished(jobs[0], Outcome(seconds=1.0))  # none, which is not trained
    assert progress.time_left() == ""
    progress.finished(jobs[1], Outcome(seconds=50.0))
    assert progress.time_left() == "about 0:00:50 left"


def test_what_fails_quickly_does_not_shorten_the_time_left() -> None:
    jobs = alike()[:3]
    progress = Progress(jobs, Clock())
    progress.finished(jobs[0], Outcome(seconds=50.0))
    progress.finished(jobs[1], Outcome(errors=["no"], seconds=0.0))
    assert progress.time_left() == "about 0:00:50 left"


def test_plain_lines_tell_state_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = alike()[:3]
    progress = Progress(jobs, Clock())
    progress.finished(jobs[0], Outcome(seconds=70.0))
    progress.finished(jobs[1], Outcome(errors=["out of memory"]))
    progress.finished(jobs[2], Outcome(missing=["WikiText"]))
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] pretrain images with rq, seed 0: 0:01:10 (about 0:02:20 left)",
        "[2/3] pretrain speech with rq, seed 0: failed (about 0:01:10 left)",
        "[3/3] pretrain text with rq, seed 0: data missing",
    ]


def test_the_live_view_counts_and_names_what_runs() -> None:
    jobs, console = alike(), Console(width=120)
    progress = LiveProgress(jobs)
    progress.started(jobs[0])
    progress.finished(jobs[0], Outcome(seconds=2.0))
    progress.started(jobs[1])
    progress.finished(jobs[1], Outcome(errors=["no"]))
    progress.started(jobs[2])
    with console.capture() as captured:
        console.print(progress.view())
    shown = captured.get()
    assert "1 done, 1 failed, 1 running, 2 left, about" in shown and "pretrain text with rq, seed 0  0:00:0" in shown


def test_the_live_view_tells_step_loss_and_speed_of_what_trains(tmp_path: Path) -> None:
    run = Run.of([f"runs={tmp_path}", "domain=sensor", "method=rq", "pretrain.steps=300", "pretrain.batch_size=64"])
    (job,), clock, console = [Job("pretrain", "sensor", run, "rq")], Clock(), Console(width=120)
    write_log(job, 0, "accuracy,epoch,loss,step\n0.1,0,4.0,99\n")  # of a start that was interrupted
    progress = LiveProgress([job])
    progress.clock = clock

    def shown() -> str:
        clock.now += 10
        with console.capture() as captured:
            console.print(progress.view())
        return captured.get()

    progress.started(job)
    assert "step" not in shown()
    write_log(job, 100, "accuracy,epoch,loss,step\n0.1,0,3.0,109\n0.1,0,2.5,149\n,0,,150\n0.1,0,2.4")
    assert "step 150 of 300, loss 2.5" in shown() and "examples/s" not in shown()
    write_log(job, 100, "accuracy,epoch,loss,step\n0.1,0,2.0,199\n")
    assert "step 200 of 300, loss 2, 160 examples/s" in shown()  # 50 steps of 64 in 20 seconds
    write_log(job, 100, "\0half")
    assert "step 200 of 300" in shown()
    progress.finished(job, Outcome(seconds=1.0))
    assert "step" not in shown()
