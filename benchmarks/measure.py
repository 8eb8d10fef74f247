"""How things are measured: side by side in one process, turn by turn, so that both see the same machine."""

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

THREADS = 2  # of torch, on both sides
SHORTEST = 0.1  # seconds of a turn: quicker things are called several times in it

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
    """What a line should reach: a bound of the "ratio", or of "ours"."""

    of: Literal["ratio", "ours"]
    bound: float
    at_least: bool = True

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table.

    what: what was measured, with its sizes. baseline: what it is compared with; None where the number stands alone.
    unit: of `ours` and `theirs`, for one `what`. extrapolated: `theirs` was measured in part and scaled up, as `note`
    says. skipped: why there are no numbers.
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
        """How many times ours `theirs` takes, by the medians."""
        return self.theirs.median / self.ours.median if self.ours and self.theirs else None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none, or no number."""
        if self.target is None or self.ours is None:
            return None
        value = self.ratio if self.target.of == "ratio" else self.ours.median
        return None if value is None else self.target.reached(value)


def interleaved(*runs: Run, repeats: int, warm_up: bool = True, device: str = "cpu") -> list[Spread]:
    """Seconds of one call of each of `runs`, in turns: A B A B ..."""
    calls = [_calls(run, device) if warm_up else 1 for run in runs]
    turns = [[seconds(run, n, device) for run, n in zip(runs, calls, strict=True)] for _ in range(repeats)]
    return [Spread.of(taken) for taken in zip(*turns, strict=True)]


def _calls(run: Run, device: str) -> int:
    """How many calls fill a turn, found by a first call and, where that was quick, a second that is warm."""
    first = seconds(run, 1, device)
    return 1 if first > 20 * SHORTEST else max(1, math.ceil(SHORTEST / seconds(run, 1, device)))


def seconds(run: Run, calls: int = 1, device: str = "cpu") -> float:
    """Mean seconds of `calls` calls."""
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
    """The most that torch's CPU allocator has handed out at any moment of a call, without what is handed out before
    and without the result: read from the allocations and frees that torch's profiler records."""
    from torch.profiler import ProfilerActivity, profile

    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    held = np.cumsum([event["args"]["Bytes"] for event in sorted(memory, key=lambda event: event["ts"])])
    return int(held.max()) - result.untyped_storage().nbytes()
