"""Tests whether two methods differ on a task: one comparison per task and pair of methods, Holm-corrected over tasks.

With one seed, the test is over test examples: McNemar's exact test for accuracy, a paired bootstrap for other metrics;
it does not include training variance. With several seeds, it is over the differences of the seeds that both methods
share, from `TESTED_SEEDS` seeds. Test examples count as independent, even if some are of one patient or speaker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dabs_rq.domain import Task
from dabs_rq.metrics.base import correct
from dabs_rq.records.bootstrap import RESAMPLES, resampled, spread
from dabs_rq.records.intervals import interval
from dabs_rq.records.recheck import labels_key
from dabs_rq.records.record import Predictions, Record

if TYPE_CHECKING:
    import pandas as pd

TESTED_SEEDS = 6
LEVEL = 0.05
COLUMNS = ("task", "method", "against", "difference", "low", "high", "p", "p_holm", "basis")
# Columns of the frame that are not written to comparisons.csv.
_DOMAIN, _SEEDS = "domain", "seeds"


class Scored(NamedTuple):
    """The parts of a record that comparisons need.

    examples: hash of the test split's ids and targets. right: bool (n,), whether each answer is correct; only for
    accuracy. outputs, targets: only for other metrics.
    """

    score: float
    error: float
    examples: str
    right: np.ndarray | None
    outputs: np.ndarray | None
    targets: np.ndarray | None


def scored(task: Task, result: Record, predictions: Predictions) -> Scored:
    assert result.score is not None
    examples = labels_key(predictions)
    error = math.nan if result.standard_error is None else result.standard_error
    if task.metric == "accuracy":
        return Scored(result.score, error, examples, correct(predictions.outputs, predictions.targets), None, None)
    return Scored(result.score, error, examples, None, predictions.outputs, predictions.targets)


def reference(methods: Sequence[str]) -> str:
    """Return the method that marks in the table refer to: none (the initial encoder), or the first of `methods`."""
    return "none" if "none" in methods else methods[0]


def compare_row(task: Task, cells: Mapping[str, Mapping[int, Scored]], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Compare each pair of methods that share a seed, in percent. cells: method -> seed -> result."""
    first = reference(methods)
    ordered = [first, *(method for method in methods if method != first)]
    resamples: dict[int, np.ndarray] = {}
    rows = []
    for against, method in combinations(ordered, 2):
        other = cells[against]
        pairs = {seed: (result, other[seed]) for seed, result in cells[method].items() if seed in other}
        if not pairs:
            continue
        differences = [result.score - baseline.score for result, baseline in pairs.values()]
        if len(pairs) > 1:
            low, high, p, basis = _over_seeds(differences)
        else:
            ((seed, (result, baseline)),) = pairs.items()
            low, high, p, basis = _over_examples(task, result, baseline, resamples)
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
    task: Task, result: Scored, baseline: Scored, resamples: dict[int, np.ndarray]
) -> tuple[float, float, float, str]:
    """Compare two results over test examples. resamples: caches each method's resampled scores."""
    difference = result.score - baseline.score
    if result.examples != baseline.examples:
        half = 1.96 * math.hypot(result.error, baseline.error)
        return difference - half, difference + half, math.nan, "not paired: the two have different test examples"
    if result.right is not None and baseline.right is not None:
        result_only, baseline_only = (
            int((result.right & ~baseline.right).sum()),
            int((baseline.right & ~result.right).sum()),
        )
        count = len(result.right)
        return (
            *_bonett_price(result_only, baseline_only, count),
            mcnemar(result_only, baseline_only),
            f"McNemar's exact test, {count} examples",
        )
    for scored_result in (result, baseline):
        if id(scored_result) not in resamples:
            assert scored_result.outputs is not None and scored_result.targets is not None
            resamples[id(scored_result)] = resampled(task.metric, scored_result.outputs, scored_result.targets)
    assert result.targets is not None
    error = spread(resamples[id(result)] - resamples[id(baseline)])
    low, high = difference - 1.96 * error, difference + 1.96 * error
    basis = f"paired bootstrap ({RESAMPLES} resamples, normal approximation), {len(result.targets)} examples"
    if error == 0:  # both results rank the examples alike
        return low, high, 1.0 if abs(difference) < 1e-12 else math.nan, basis
    # Not by counting resamples: p could not fall below 1 / RESAMPLES, which is too large after Holm's correction.
    return low, high, math.erfc(abs(difference) / error / math.sqrt(2)), basis


def mcnemar(first_only: int, second_only: int) -> float:
    """Compute the two-sided p of McNemar's exact test from the numbers of examples that only one method has right."""
    if first_only + second_only == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(first_only, first_only + second_only, 0.5).pvalue)


def _bonett_price(first_only: int, second_only: int, count: int) -> tuple[float, float]:
    """Compute the 95 % interval of a difference of paired proportions: Wald's, with one more pair of each kind.

    It keeps its level when few pairs differ. Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37:479.
    """
    first, second = (first_only + 1) / (count + 2), (second_only + 1) / (count + 2)
    half = 1.96 * math.sqrt((first + second - (first - second) ** 2) / (count + 2))
    return max(-1.0, first - second - half), min(1.0, first - second + half)


def holm(values: np.ndarray) -> np.ndarray:
    """Apply Holm's correction to p-values; NaN (not tested) stays NaN and is not counted."""
    adjusted = np.full(len(values), np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return adjusted


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Make a frame of comparisons with `p_holm`, corrected over all tasks of the same two methods.

    rows: from `compare_row`, with the domain added.
    """
    import pandas as pd

    comparisons = pd.DataFrame(rows, columns=[*COLUMNS, _DOMAIN, _SEEDS]).astype({"p": float, "p_holm": float})
    for _, part in comparisons.groupby(["method", "against"], sort=False):
        if part[_SEEDS].max() > 1:  # do not mix tests without training variance with tests that include it
            single = part.index[part[_SEEDS] == 1]
            comparisons.loc[single, "p"] = np.nan
            comparisons.loc[single, "basis"] += "; not tested beside rows of several seeds"
        comparisons.loc[part.index, "p_holm"] = holm(comparisons.loc[part.index, "p"].to_numpy())
    return comparisons


def to_csv(comparisons: pd.DataFrame) -> str:
    shown = comparisons[list(COLUMNS)].copy()
    shown[["difference", "low", "high"]] = shown[["difference", "low", "high"]].astype(float).round(4)
    for name in ("p", "p_holm"):
        shown[name] = [f"{value:.4g}" if value == value else "-" for value in shown[name]]
    return shown.to_csv(index=False, na_rep="-", lineterminator="\n")


def differs(comparisons: pd.DataFrame, methods: Sequence[str]) -> set[tuple[str, str, str]]:
    """Return (domain, task, method) of the results that differ significantly from the reference, Holm-corrected."""
    significant = comparisons[(comparisons["against"] == reference(methods)) & (comparisons["p_holm"] < LEVEL)]
    return set(zip(significant[_DOMAIN], significant["task"], significant["method"], strict=True))


def ahead(comparisons: pd.DataFrame) -> set[tuple[str, str, str, str]]:
    """Return (domain, task, method, other) of the pairs in which the 95 % interval of the difference is above zero."""
    above, below = comparisons[comparisons["low"] > 0], comparisons[comparisons["high"] < 0]
    return {
        *zip(above[_DOMAIN], above["task"], above["method"], above["against"], strict=True),
        *zip(below[_DOMAIN], below["task"], below["against"], below["method"], strict=True),
    }


def note(comparisons: pd.DataFrame, methods: Sequence[str], title: str) -> str | None:
    """Return the footnote that explains the marks of `differs`; None without comparisons.

    title: the reference's title in the table.
    """
    against_reference = comparisons[comparisons["against"] == reference(methods)]
    if against_reference.empty:
        return None
    tested = against_reference[against_reference["p"].notna()]
    if tested.empty:
        seeds = sorted(against_reference[_SEEDS].unique())
        return (
            f"Differences between methods are not tested with {' or '.join(map(str, seeds))} seeds (a test needs "
            f"{TESTED_SEEDS}); comparisons.csv has 95 % intervals of the differences."
        )
    several = tested[_SEEDS].max() > 1
    test_name = (
        f"paired t-test over {_range(tested[_SEEDS])} seeds"
        if several
        else "exact McNemar test for accuracy, paired bootstrap for other metrics, over the test examples of one seed "
        "as if they were independent; training variance not included"
    )
    rows = _range(tested.groupby("method", sort=False).size())
    statement = f"† differs from {title}" if differs(comparisons, methods) else f"No result differs from {title}"
    return (
        f"{statement} with p < {LEVEL}: {test_name}; Holm-corrected over the {rows} tested rows of each method. "
        "comparisons.csv has all pairs of methods."
    )


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return str(low) if low == high else f"{low} to {high}"
