"""Comparisons of methods: the tests, their correction, and what they are over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dabs_rq import table
from dabs_rq.metrics import metric as metric_called
from dabs_rq.metrics.base import Undefined
from dabs_rq.records import bootstrap, significance
from dabs_rq.run import Run
from tests.test_records_and_table import fill


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    return lambda *words: Run.of(
        [f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", "method=none,emix,rq", *words]
    )


# ---- the tests ---------------------------------------------------------------------------------------------------


def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ() -> None:
    assert significance.mcnemar(0, 0) == significance.mcnemar(3, 3) == 1
    assert significance.mcnemar(5, 0) == significance.mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert significance.mcnemar(8, 1) == pytest.approx(2 * (1 + 9) / 2**9)


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_falls() -> None:
    nan = np.nan
    assert significance.holm(np.array([0.01, 0.04, 0.03, nan])) == pytest.approx([0.03, 0.06, 0.06, nan], nan_ok=True)
    assert significance.holm(np.array([0.9, 0.6])).tolist() == [1, 1]
    assert significance.holm(np.array([])).tolist() == [] and np.isnan(significance.holm(np.array([nan]))).all()


@pytest.mark.parametrize("metric", ["auroc", "pearson", "spearman"])
def test_resamples_in_which_a_metric_is_undefined_are_left_out(metric: Any) -> None:
    shape = (6, 1) if metric == "auroc" else (6,)
    targets = np.array([0, 0, 1, 0, 0, 0]).reshape(shape)
    outputs = np.arange(6.0).reshape(shape) + (1e6 if metric == "pearson" else 0)
    found = bootstrap.resampled(metric, outputs, targets, 100)
    rows = np.random.default_rng(0)
    for value in found:
        chosen = rows.integers(6, size=6)
        try:
            expected = metric_called(metric).compute(outputs[chosen], targets[chosen])
        except Undefined:
            expected = np.nan
        assert value == pytest.approx(expected, nan_ok=True, abs=1e-6)
    assert 0 < np.isnan(found).sum() < 50 and bootstrap.spread(found) > 0
    assert np.isnan(bootstrap.spread(np.where(np.arange(100) < 60, np.nan, found)))


def test_the_p_of_a_bootstrap_is_uniform_where_nothing_differs() -> None:
    from dabs_rq import registry
    from dabs_rq.records.significance import Scored

    generator, task, found = np.random.default_rng(0), registry.task("text", "stsb"), []
    for _ in range(60):
        targets = generator.normal(size=120)
        both = [targets + generator.normal(size=120) for _ in range(2)]
        scores = [metric_called("spearman").compute(one, targets) for one in both]
        cells = {
            name: {0: Scored(score, 0.1, "same", None, outputs, targets)}
            for name, score, outputs in zip(("none", "rq"), scores, both, strict=True)
        }
        (row,) = significance.compare_row(task, cells, ["none", "rq"])
        assert (row["low"] < 0 < row["high"]) == (row["p"] > 0.05)
        found.append(row["p"])
    assert stats.kstest(found, "uniform").pvalue > 0.01


# ---- in the table ------------------------------------------------------------------------------------------------


def test_methods_are_compared_on_the_same_examples_and_corrected_over_rows(run: Callable[..., Run]) -> None:
    one = run()
    for task, values in {"pamap2": (0.5, 0.5, 0.9), "dtd": (0.5, 0.506, 0.45), "aircraft": (0.3, 0.3, 0.3)}.items():
        for method, value in zip(("none", "emix", "rq"), values, strict=True):
            fill(one, task, method, value)
    built = table.build(one)
    found = built.comparisons.set_index(["task", "method", "against"])
    assert len(found) == 9 and set(found.index.droplevel(0)) == {("emix", "none"), ("rq", "none"), ("rq", "emix")}
    # The predictions are nested: what one answers right and the other wrong are the difference.
    dtd = found.loc[("dtd", "emix", "none")]
    assert dtd["difference"] == pytest.approx(0.6) and dtd["p"] == pytest.approx(2 / 2**6)
    assert dtd["p_holm"] == pytest.approx(3 * 2 / 2**6) and dtd["low"] < 0.6 < dtd["high"]
    same = found.loc[("aircraft", "rq", "none")]
    assert (same["difference"], same["p"]) == (0, 1) and same["low"] < 0 < same["high"]
    assert "training variance not included" in dtd["basis"] and "1000 examples of seed 0" in dtd["basis"]
    rows = [line for line in table.to_markdown(built).splitlines() if line.startswith("|")]
    assert [line.count("†") for line in rows if "PAMAP2" in line or "DTD" in line] == [1, 1]
    assert "45.00 †" in "".join(rows) and "50.60 †" not in "".join(rows)
    assert "† differs from None with p < 0.05" in table.to_markdown(built)
    assert "3 tested rows of each method" in table.to_markdown(built)
    folder = table.write(one, built)
    first = (folder / "comparisons.csv").read_text().splitlines()[:2]
    assert first[0] == "task,method,against,difference,low,high,p,p_holm,basis" and first[1].startswith(
        "dtd,emix,none,0.6"
    )


def test_without_the_initial_encoder_the_first_method_is_the_reference(run: Callable[..., Run]) -> None:
    one = run("methods=[rq,emix]")
    fill(one, "pamap2", "rq", 0.5)
    fill(one, "pamap2", "emix", 0.9)
    built = table.build(one)
    assert built.comparisons[["method", "against"]].to_numpy().tolist() == [["emix", "rq"]]
    assert "90.00 †" in table.to_markdown(built) and "differs from Ours" in table.to_markdown(built)
    named = table.build(run("methods=[rq,none]"))
    assert significance.reference(named.methods) == "none"


def test_a_few_seeds_give_an_interval_and_six_a_test(run: Callable[..., Run]) -> None:
    words = ("domains=[sensor]", "methods=[none,rq]")
    gains = (0.10, 0.14, 0.12, 0.11, 0.15, 0.09)
    for seed, gain in enumerate(gains):
        fill(run(*words), "pamap2", "none", 0.5, seed)
        fill(run(*words), "pamap2", "rq", 0.5 + gain, seed)
    few = table.build(run("seeds=[0,1,2]", *words))
    (row,) = few.comparisons.to_dict("records")
    half = stats.t.ppf(0.975, 2) * np.std([10, 14, 12], ddof=1) / 3**0.5
    assert (row["low"], row["high"]) == (pytest.approx(12 - half), pytest.approx(12 + half))
    assert np.isnan(row["p"]) and np.isnan(row["p_holm"]) and row["basis"].startswith("interval over 3 seeds")
    assert "†" not in table.to_markdown(few) and "not tested with 3 seeds" in table.to_markdown(few)
    many = table.build(run("seeds=[0,1,2,3,4,5]", *words))
    (row,) = many.comparisons.to_dict("records")
    assert row["p"] == pytest.approx(stats.ttest_1samp(100 * np.array(gains), 0).pvalue)
    assert row["p"] == row["p_holm"] < 0.05 and row["basis"] == "paired t-test over 6 seeds"
    assert "†" in table.to_markdown(many) and "training variance not included" not in table.to_markdown(many)


def test_seeds_that_all_differ_alike_are_no_evidence(run: Callable[..., Run]) -> None:
    words = ("seeds=[0,1,2,3,4,5]", "methods=[none,rq]")
    for seed in range(6):
        for task, value in (("pamap2", 0.6), ("dtd", 0.5)):
            fill(run(*words), task, "none", 0.5, seed)
            fill(run(*words), task, "rq", value, seed)
    found = table.build(run(*words)).comparisons.set_index("task")["p"]
    assert np.isnan(found["pamap2"]) and found["dtd"] == 1


def test_a_row_of_one_seed_is_not_tested_beside_rows_of_several(run: Callable[..., Run]) -> None:
    one = run("seeds=[0,1]", "methods=[none,rq]")
    for seed in (0, 1):
        for method, value in (("none", 0.5), ("rq", 0.9)):
            fill(one, "dtd", method, value, seed)
            if seed == 0:
                fill(one, "pamap2", method, value, seed)
    built = table.build(one)
    assert built.comparisons["p"].isna().all() and "†" not in table.to_markdown(built)
    assert "not tested beside rows of several seeds" in built.comparisons.set_index("task").loc["pamap2", "basis"]
