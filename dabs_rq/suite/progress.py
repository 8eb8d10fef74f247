"""Progress of a suite: a live view on a terminal, elsewhere a line for each finished job."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from statistics import mean
from typing import TYPE_CHECKING

from dabs_rq.pretrain import logs
from dabs_rq.suite.jobs import Job, Outcome

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH = 2.0  # seconds between two looks at the log of a running job
COLOURS = {"failed": "red", "data missing": "yellow", "waiting": "yellow"}


class Progress:
    """Tracks jobs as they start and finish, and prints a line for each that finishes. `clock`: seconds."""

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.total = len(jobs)
        self.unfinished = {job.name: job for job in jobs}
        self.running: dict[str, float] = {}  # name -> start time
        self.most_running = 1  # the largest number of jobs that ran at the same time
        self.states: Counter[str] = Counter()
        self.durations: dict[tuple[object, ...], list[float]] = {}  # kind of job -> seconds of each that succeeded

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, job: Job) -> None:
        self.running[job.name] = self.clock()
        self.most_running = max(self.most_running, len(self.running))

    def finished(self, job: Job, outcome: Outcome) -> None:
        del self.unfinished[job.name]
        self.running.pop(job.name, None)
        self.states[outcome.state] += 1
        if outcome.state == "done":
            for kind in _kinds(job):
                self.durations.setdefault(kind, []).append(outcome.seconds)
        result = _duration(outcome.seconds) if outcome.state == "done" else outcome.state
        if outcome.note:
            result += f", {outcome.note}"
        self.print_line(f"[{self.total - len(self.unfinished)}/{self.total}] {job.name}: {result}", outcome.state)

    def print_line(self, line: str, state: str) -> None:
        estimate = self.time_left()
        print(line + (f" ({estimate})" if estimate else ""), flush=True)

    def time_left(self) -> str:
        """Estimate the remaining time, such as "about 0:03:20 left", from how long jobs of the same kind took; "" if
        that is unknown for some job."""
        if not self.unfinished:
            return ""
        now, seconds = self.clock(), 0.0
        for name, job in self.unfinished.items():
            if (expected := self._expected_seconds(job)) is None:
                return ""
            seconds += max(0.0, expected - now + self.running.get(name, now))
        return f"about {_duration(seconds / min(self.most_running, len(self.unfinished)))} left"

    def _expected_seconds(self, job: Job) -> float | None:
        return next((mean(self.durations[kind]) for kind in _kinds(job) if kind in self.durations), None)


class LiveProgress(Progress):
    """Shows progress as a view that is redrawn all the time, with a line above it for each finished job."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(jobs)
        self.training: dict[str, _Training] = {}
        # Jobs in this process redirect standard output to their logs: the view needs its own copy of the terminal.
        self.terminal = os.fdopen(os.dup(1), "w", errors="backslashreplace")
        console = Console(file=self.terminal, highlight=False)
        self.live = Live(
            get_renderable=self.view, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> LiveProgress:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()
        self.terminal.close()

    def started(self, job: Job) -> None:
        super().started(job)
        if job.trains:
            self.training[job.name] = _Training(job, self.clock)

    def finished(self, job: Job, outcome: Outcome) -> None:
        self.training.pop(job.name, None)
        super().finished(job, outcome)

    def print_line(self, line: str, state: str) -> None:
        self.live.console.print(line, style=COLOURS.get(state), markup=False)

    def view(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        counts = {state: self.states[state] for state in ("done", "failed", "data missing", "waiting")}
        counts |= {"running": len(self.running), "left": len(self.unfinished) - len(self.running)}
        texts = [f"{count} {state}" for state, count in counts.items() if count or state in ("done", "failed", "left")]
        texts += [self.time_left()] if self.time_left() else []
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(self.total, self.total - len(self.unfinished), width=30), ", ".join(texts))
        now = self.clock()
        jobs = Table.grid(padding=(0, 2))
        for name, start in list(self.running.items()):
            training = self.training.get(name)
            jobs.add_row(f"  {name}", _duration(now - start), training.text() if training else "")
        return Group(bar, jobs)


class _Training:
    """What a running pretraining logs: its step, loss and speed. `clock`: seconds."""

    def __init__(self, job: Job, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.steps = job.run.options.pretrain.steps
        self.examples = job.run.batch_size * job.run.options.pretrain.accumulate  # per step
        self.folder = job.run.checkpoint_folder(job.seed) / logs.LOG
        self.looked = -math.inf
        self.first: tuple[float, int] | None = None  # time and step of the first look that saw this start's log
        self.shown = ""
        before = logs.latest(self.folder)  # of an earlier start
        self.before = before.step if before else None

    def text(self) -> str:
        """Write "step 150 of 600, loss 2.31, 1,200 examples/s", as the log has it now."""
        if (now := self.clock()) - self.looked < REFRESH:
            return self.shown
        self.looked = now
        logged = logs.latest(self.folder)
        if logged is None or logged.step == self.before:
            return self.shown
        self.first = self.first or (now, logged.step)
        started, step = self.first
        done, seconds = (logged.step - step) * self.examples, now - started
        speed = f", {done / seconds:,.0f} examples/s" if done > 0 and seconds > 0 else ""
        self.shown = f"step {logged.step + 1} of {self.steps}, loss {logged.loss:.3g}{speed}"
        return self.shown


def _kinds(job: Job) -> list[tuple[object, ...]]:
    """Kinds of job from the narrowest to the widest. A method that does not train says nothing about one that does."""
    return [(job.step, job.domain, job.method), (job.step, job.method), (job.step, job.trains)]


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
