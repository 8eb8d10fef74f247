"""Numbers of compared results: scores with intervals, and differences from a reference, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dabs_rq.domain import Task
from dabs_rq.metrics import metric
from dabs_rq.records import intervals
from dabs_rq.records.record import Record

NUMBERS = (
    "score",
    "low",
    "high",
    "seeds",
    "n_examples",
    "majority",
    "difference",
    "difference_low",
    "difference_high",
)


@dataclass(frozen=True)
class Result:
    """A record with a score, and its file."""

    record: Record
    file: Path


def numbers(task: Task, results: Sequence[Result], reference: Sequence[Result]) -> dict[str, float | int]:
    """Compute the `NUMBERS` of one cell, in percent; without differences if it is the reference itself.

    results, reference: one per seed.
    """
    scores = [100 * result.record.score for result in results if result.record.score is not None]
    errors = [100 * (result.record.standard_error or math.nan) for result in results]
    low, high = intervals.interval(scores, errors)
    low = max(low, 100 * metric(task.metric).lowest)
    majority = results[0].record.majority
    values: dict[str, float | int] = {
        "score": sum(scores) / len(scores),
        "low": low,
        "high": min(high, 100.0),
        "seeds": len(scores),
        "n_examples": results[0].record.n_examples,
        "majority": math.nan if majority is None else 100 * majority,
    }
    if results is reference:
        return values
    by_seed = {result.record.seed: result for result in reference}
    pairs = [(by_seed[result.record.seed], result) for result in results if result.record.seed in by_seed]
    differences = [100 * ((b.record.score or 0.0) - (a.record.score or 0.0)) for a, b in pairs]
    if not differences:
        return values
    single = len(pairs) == 1
    difference_errors = [100 * intervals.difference_error(task.metric, a.file, b.file) for a, b in pairs if single]
    low, high = intervals.interval(differences, difference_errors)
    mean = sum(differences) / len(differences)
    return values | {"difference": mean, "difference_low": low, "difference_high": high}


def with_interval(value: float, low: float, high: float, sign: str = "", digits: int = 2) -> str:
    """Write "12.30 [11.00, 13.60]"; "" if there is no number."""
    if math.isnan(value):
        return ""
    return f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
