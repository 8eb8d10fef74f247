"""Do two methods differ on a task? One comparison per task and pair of methods, and Holm's correction over tasks.

One seed: over test examples, by McNemar's exact test for accuracy and a paired bootstrap for the other metrics;
training variance is not included. Several seeds: over the differences of the seeds that both methods have, with a test
only from `TESTED_SEEDS` on. Test examples count as independent, also where some are of one patient or speaker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dabs_rq.domain import Task
from dabs_rq.files import digest
from dabs_rq.records.bootstrap import RESAMPLES, resampled, spread
from dabs_rq.records.intervals import interval
from dabs_rq.records.metrics import correct
from dabs_rq.records.record import Predictions, Record

if TYPE_CHECKING:
    import pandas as pd

TESTED_SEEDS = 6
LEVEL = 0.05
COLUMNS = ("task", "method", "against", "difference", "low", "high", "p", "p_holm", "basis")
# Further columns of the frame that are not written.
_DOMAIN, _SEEDS = "domain", "seeds"


class Scored(NamedTuple):
    """What comparisons need of one record: `examples` is a hash of the test split's ids and targets; `right` says of
    each example whether it was answered right where the metric is accuracy, else outputs and targets are kept."""

    score: float
    error: float
    examples: str
    right: np.ndarray | None
    outputs: np.ndarray | None
    targets: np.ndarray | None


def scored(task: Task, one: Record, predictions: Predictions) -> Scored:
    assert one.score is not None
    examples = digest(predictions.ids, predictions.targets.tobytes())
    error = math.nan if one.standard_error is None else one.standard_error
    if task.metric == "accuracy":
        return Scored(one.score, error, examples, correct(predictions.outputs, predictions.targets), None, None)
    return Scored(one.score, error, examples, None, predictions.outputs, predictions.targets)


def reference(methods: Sequence[str]) -> str:
    """The method that marks in the table refer to: the initial encoder, or the first of `methods`."""
    return "none" if "none" in methods else methods[0]


def compare_row(task: Task, cells: Mapping[str, Mapping[int, Scored]], methods: Sequence[str]) -> list[dict[str, Any]]:
    """A comparison, in percent, of each pair of methods that share a seed. `cells`: method -> seed -> result."""
    first = reference(methods)
    ordered = [first, *(method for method in methods if method != first)]
    resamples: dict[int, np.ndarray] = {}
    rows = []
    for against, method in combinations(ordered, 2):
        pairs = {seed: (one, cells[against][seed]) for seed, one in cells[method].items() if seed in cells[against]}
        if not pairs:
            continue
        differences = [one.score - other.score for one, other in pairs.values()]
        if len(pairs) > 1:
            low, high, p, basis = _over_seeds(differences)
        else:
            ((seed, (one, other)),) = pairs.items()
            low, high, p, basis = _over_examples(task, one, other, resamples)
            basis = f"{basis} of seed {seed}; training variance not included"
        row = {"task": task.name, "method": method, "against": against, "difference": 100 * float(np.mean(differences))}
        rows.append(row | {"low": 100 * low, "high": 100 * high, "p": p, "basis": basis, _SEEDS: len(pairs)})
    return rows


def _over_seeds(differences: list[float]) -> tuple[float, float, float, str]:
    low, high = interval(differences, [])
    count = len(differences)
    if count < TESTED_SEEDS:
        return low, high, math.nan, f"interval over {count} seeds (Student's t); no test below {TESTED_SEEDS} seeds"
    if np.ptp(differences) < 1e-12:  # no variance to test against
        p = math.nan if abs(differences[0]) > 1e-12 else 1.0
        return low, high, p, f"the same difference in all {count} seeds"
    from scipy.stats import ttest_1samp

    return low, high, float(ttest_1samp(differences, 0).pvalue), f"paired t-test over {count} seeds"


def _over_examples(
    task: Task, one: Scored, other: Scored, resamples: dict[int, np.ndarray]
) -> tuple[float, float, float, str]:
    """`resamples` keeps what was drawn for a method, for its next comparison."""
    difference = one.score - other.score
    if one.examples != other.examples:
        half = 1.96 * math.hypot(one.error, other.error)
        return difference - half, difference + half, math.nan, "not paired: the two have different test examples"
    if one.right is not None and other.right is not None:
        only, without = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
        count = len(one.right)
        return *_bonett_price(only, without, count), mcnemar(only, without), f"McNemar's exact test, {count} examples"
    for result in (one, other):
        if id(result) not in resamples:
            assert result.outputs is not None and result.targets is not None
            resamples[id(result)] = resampled(task.metric, result.outputs, result.targets)
    assert one.targets is not None
    error = spread(resamples[id(one)] - resamples[id(other)])
    low, high = difference - 1.96 * error, difference + 1.96 * error
    basis = f"paired bootstrap ({RESAMPLES} resamples, normal approximation), {len(one.targets)} examples"
    if error == 0:  # the same order of examples
        return low, high, 1.0 if abs(difference) < 1e-12 else math.nan, basis
    # Counting resamples could not go below 1 / RESAMPLES, which no correction over tens of rows leaves significant.
    return low, high, math.erfc(abs(difference) / error / math.sqrt(2)), basis


def mcnemar(only: int, without: int) -> float:
    """Two-sided p of McNemar's exact test. `only`: examples that one method alone has right, `without`: the other."""
    if only + without == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only, only + without, 0.5).pvalue)


def _bonett_price(only: int, without: int, count: int) -> tuple[float, float]:
    """95 % interval of a difference of paired proportions that keeps its level where few pairs differ (Bonett and Price
    2012, J. Educ. Behav. Stat. 37:479): Wald's with one more differing pair of each kind."""
    one, other = (only + 1) / (count + 2), (without + 1) / (count + 2)
    half = 1.96 * math.sqrt((one + other - (one - other) ** 2) / (count + 2))
    return max(-1.0, one - other - half), min(1.0, one - other + half)


def holm(values: np.ndarray) -> np.ndarray:
    """Holm's correction of p-values; NaN (not tested) stays NaN and does not count."""
    adjusted = np.full(len(values), np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return adjusted


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The comparisons with `p_holm`: corrected over all tasks of the same two methods. `rows`: of `compare_row`, with
    the domain."""
    import pandas as pd

    found = pd.DataFrame(rows, columns=[*COLUMNS, _DOMAIN, _SEEDS]).astype({"p": float, "p_holm": float})
    for _, part in found.groupby(["method", "against"], sort=False):
        if part[_SEEDS].max() > 1:  # tests that leave training variance out are no match for those that have it
            single = part.index[part[_SEEDS] == 1]
            found.loc[single, "p"] = np.nan
            found.loc[single, "basis"] += "; not tested beside rows of several seeds"
        found.loc[part.index, "p_holm"] = holm(found.loc[part.index, "p"].to_numpy())
    return found


def to_csv(comparisons: pd.DataFrame) -> str:
    shown = comparisons[list(COLUMNS)].copy()
    shown[["difference", "low", "high"]] = shown[["difference", "low", "high"]].astype(float).round(4)
    for name in ("p", "p_holm"):
        shown[name] = [f"{value:.4g}" if value == value else "-" for value in shown[name]]
    return shown.to_csv(index=False, na_rep="-", lineterminator="\n")


def differs(comparisons: pd.DataFrame, methods: Sequence[str]) -> set[tuple[str, str, str]]:
    """(domain, task, method) of the results that differ from the reference's, Holm-corrected."""
    found = comparisons[(comparisons["against"] == reference(methods)) & (comparisons["p_holm"] < LEVEL)]
    return set(zip(found[_DOMAIN], found["task"], found["method"], strict=True))


def note(comparisons: pd.DataFrame, methods: Sequence[str], title: str) -> str | None:
    """What the mark of `differs` rests on, for a table whose reference is called `title`."""
    made = comparisons[comparisons["against"] == reference(methods)]
    if made.empty:
        return None
    tested = made[made["p"].notna()]
    if tested.empty:
        seeds = sorted(made[_SEEDS].unique())
        return (
            f"Differences between methods are not tested with {' or '.join(map(str, seeds))} seeds (they are from "
            f"{TESTED_SEEDS} on); comparisons.csv has 95 % intervals of the differences."
        )
    several = tested[_SEEDS].max() > 1
    how = (
        f"paired t-test over {_range(tested[_SEEDS])} seeds"
        if several
        else "exact McNemar test for accuracy, paired bootstrap for other metrics, over the test examples of one seed "
        "as if they were independent; training variance not included"
    )
    rows = _range(tested.groupby("method", sort=False).size())
    there = f"† differs from {title}" if differs(comparisons, methods) else f"No result differs from {title}"
    return (
        f"{there} with p < {LEVEL}: {how}; Holm-corrected over the {rows} tested rows of each method. "
        "comparisons.csv has all pairs of methods."
    )


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return str(low) if low == high else f"{low} to {high}"
