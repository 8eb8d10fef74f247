"""Measures both sides of a line in turns in one process, so that both see the same state of the machine."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

THREADS = 2  # of torch, for both sides
SHORTEST = 0.1  # seconds; a turn repeats faster calls for this long

Run = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    lower: float
    upper: float
    repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        return cls(median, lower, upper, len(values))

    def scaled(self, factor: float) -> Spread:
        return Spread(self.median * factor, self.lower * factor, self.upper * factor, self.repeats)


@dataclass(frozen=True)
class Target:
    """The target of a line: a bound on the "ratio", or on "ours"."""

    of: Literal["ratio", "ours"]
    bound: float
    at_least: bool = True

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table.

    what: what was measured, with its sizes. baseline: what it is compared with, None without one. unit: of `ours` and
    `theirs`. extrapolated: whether `theirs` was measured in part and scaled up, as `note` says. skipped: why there
    are no numbers.
    """

    what: str
    baseline: str | None
    unit: str = "s"
    ours: Spread | None = None
    theirs: Spread | None = None
    target: Target | None = None
    threads: int = THREADS
    extrapolated: bool = False
    note: str = ""
    skipped: str = ""

    @property
    def ratio(self) -> float | None:
        """The median of `theirs` divided by that of `ours`."""
        return self.theirs.median / self.ours.median if self.ours and self.theirs else None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without a target or a number."""
        if self.target is None or self.ours is None:
            return None
        value = self.ratio if self.target.of == "ratio" else self.ours.median
        return None if value is None else self.target.reached(value)


def interleaved(*runs: Run, repeats: int, warm_up: bool = True, device: str = "cpu") -> list[Spread]:
    """Measure the seconds per call of each of `runs`, in turns: A B A B ..."""
    calls = [_calls(run, device) if warm_up else 1 for run in runs]
    turns = [[seconds(run, n, device) for run, n in zip(runs, calls, strict=True)] for _ in range(repeats)]
    return [Spread.of(taken) for taken in zip(*turns, strict=True)]


def _calls(run: Run, device: str) -> int:
    """Return how many calls fill a turn, from a first call and, if that was fast, a second, warm one."""
    first = seconds(run, 1, device)
    return 1 if first > 20 * SHORTEST else max(1, math.ceil(SHORTEST / seconds(run, 1, device)))


def seconds(run: Run, calls: int = 1, device: str = "cpu") -> float:
    """Return the mean seconds of `calls` calls."""
    _wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        run()
    _wait(device)
    return (time.perf_counter() - started) / calls


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def extra_bytes(run: Callable[[], Tensor]) -> int:
    """Return the peak memory that a call allocates on the CPU, without its result, from the allocations and frees that
    torch's profiler records."""
    from torch.profiler import ProfilerActivity, profile

    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    allocated = np.cumsum([event["args"]["Bytes"] for event in sorted(memory, key=lambda event: event["ts"])])
    return int(allocated.max()) - result.untyped_storage().nbytes()
