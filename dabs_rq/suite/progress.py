"""How far a suite is: a live view on a terminal, elsewhere a line for every job that is over."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from statistics import mean
from typing import TYPE_CHECKING

from dabs_rq import registry
from dabs_rq.suite.jobs import Job, Outcome

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = {"failed": "red", "data missing": "yellow", "waiting": "yellow"}


class Progress:
    """Told of every job that begins and of every job that is over. `clock`: seconds."""

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.total = len(jobs)
        self.left = {job.name: job for job in jobs}
        self.running: dict[str, float] = {}  # name -> when it began
        self.at_once = 1  # the most that ran together
        self.states: Counter[str] = Counter()
        self.seconds: dict[tuple[object, ...], list[float]] = {}  # kind of job -> of those that are done

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begun(self, job: Job) -> None:
        self.running[job.name] = self.clock()
        self.at_once = max(self.at_once, len(self.running))

    def over(self, job: Job, outcome: Outcome) -> None:
        del self.left[job.name]
        self.running.pop(job.name, None)
        self.states[outcome.state] += 1
        if outcome.state == "done":
            for kind in _kinds(job):
                self.seconds.setdefault(kind, []).append(outcome.seconds)
        result = _shown(outcome.seconds) if outcome.state == "done" else outcome.state
        self.tell(f"[{self.total - len(self.left)}/{self.total}] {job.name}: {result}", outcome.state)

    def tell(self, line: str, state: str) -> None:
        left = self.time_left()
        print(line + (f" ({left})" if left else ""), flush=True)

    def time_left(self) -> str:
        """Such as "about 0:03:20 left", by what jobs of the same kind took; nothing while that is not known of all."""
        if not self.left:
            return ""
        now, seconds = self.clock(), 0.0
        for name, job in self.left.items():
            if (each := self._expected(job)) is None:
                return ""
            seconds += max(0.0, each - now + self.running.get(name, now))
        return f"about {_shown(seconds / min(self.at_once, len(self.left)))} left"

    def _expected(self, job: Job) -> float | None:
        return next((mean(self.seconds[kind]) for kind in _kinds(job) if kind in self.seconds), None)


class LiveProgress(Progress):
    """The same as a view that is drawn anew all the time, with what fails or is done in lines above it."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(jobs)
        # A job may send standard output elsewhere, this view stays where it is.
        self.terminal = os.fdopen(os.dup(1), "w")
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

    def tell(self, line: str, state: str) -> None:
        self.live.console.print(line, style=COLOURS.get(state), markup=False)

    def view(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        counts = {state: self.states[state] for state in ("done", "failed", "data missing", "waiting")}
        counts |= {"running": len(self.running), "left": len(self.left) - len(self.running)}
        shown = [f"{count} {state}" for state, count in counts.items() if count or state in ("done", "failed", "left")]
        shown += [self.time_left()] if self.time_left() else []
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(self.total, self.total - len(self.left), width=30), ", ".join(shown))
        now = self.clock()
        jobs = Table.grid(padding=(0, 2))
        for name, since in list(self.running.items()):
            jobs.add_row(f"  {name}", _shown(now - since))
        return Group(bar, jobs)


def _kinds(job: Job) -> list[tuple[object, ...]]:
    """From the narrowest to the widest. A method that only keeps the initial encoder tells nothing of the others."""
    trains = job.step == "pretrain" and registry.method(job.method).trains
    return [(job.step, job.domain, job.method), (job.step, job.method), (job.step, trains)]


def _shown(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
