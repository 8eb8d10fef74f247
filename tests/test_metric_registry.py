"""Every metric on every kind of target that it fits, and metrics of plug-in folders."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from dabs_rq import metrics, registry
from dabs_rq.errors import OptionError, PluginError, PluginWarning
from dabs_rq.metrics.base import Metric, Undefined, answers
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import bootstrap, provenance, record
from dabs_rq.records.metrics import constant, score
from dabs_rq.run import Run
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Binary, Multiclass, Multilabel, PerToken, Regression, Target
from dabs_rq.transfer.regression import fit_regression
from dabs_rq.transfer.transfer import transfer

TARGETS: tuple[Target, ...] = (
    *(Multiclass(7), Multiclass(2), Binary()),
    *(Multilabel(("a", "b", "c")), Multilabel(("a",)), Regression(), PerToken(3)),
)
FITS = [(target, name) for target in TARGETS for name in metrics.fitting(target)]
TABLED = tuple(sorted({name for _, name in FITS}))


def split(target: Target, seed: int, count: int = 60, rounded: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Random valid outputs and targets of a split, in the shapes and types of a record's predictions."""
    generator = np.random.default_rng(seed)
    if isinstance(target, PerToken):
        outputs = (generator.normal(size=(count, 5, target.classes)) * 2).astype(np.float32)
        return np.round(outputs) if rounded else outputs, generator.integers(-1, target.classes, size=(count, 5))
    shape = (count,) if isinstance(target, Binary | Regression) else (count, target.outputs)
    outputs = (generator.normal(size=shape) * 2).astype(np.float32)
    outputs = np.round(outputs) if rounded else outputs
    if isinstance(target, Regression):
        return outputs, generator.normal(size=count).astype(np.float32)
    if isinstance(target, Multiclass):
        return outputs, generator.integers(0, target.classes, size=count)
    return outputs, generator.integers(0, 2, size=shape)


def reference(name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    """The metric by scikit-learn or by its definition, without code of the project."""
    said = (outputs >= 0).astype(int) if outputs.ndim == 1 else np.argmax(outputs, axis=-1)
    match name:
        case "accuracy":
            return float(sklearn_metrics.accuracy_score(targets, said))
        case "accuracy_top5":
            ranked = np.argsort(-outputs, axis=1, kind="stable")[:, :5]
            return float(np.mean([own in five for own, five in zip(targets, ranked, strict=True)]))
        case "auroc":
            return float(sklearn_metrics.roc_auc_score(targets, outputs, average="macro"))
        case "balanced_accuracy":
            return float(np.mean([np.mean(said[targets == each] == each) for each in np.unique(targets)]))
        case "f1":
            return float(sklearn_metrics.f1_score(targets, said, average="macro", zero_division=0))
        case "f1_positive":
            return float(sklearn_metrics.f1_score(targets, said, zero_division=0))
        case "f1_weighted":
            return float(sklearn_metrics.f1_score(targets, said, average="weighted", zero_division=0))
        case "matthews":
            return float(sklearn_metrics.matthews_corrcoef(targets, said))
        case "mean_average_precision":
            return float(sklearn_metrics.average_precision_score(targets, outputs, average="macro"))
        case "pearson":
            return float(np.corrcoef(outputs.astype(float), targets.astype(float))[0, 1])
        case "r2":
            left = np.sum((targets.astype(float) - outputs) ** 2)
            return float(1 - left / np.sum((targets - targets.mean(dtype=float)) ** 2))
        case "token_accuracy":
            every = outputs.reshape(-1, outputs.shape[2]).argmax(1)[targets.ravel() >= 0]
            return float(sklearn_metrics.accuracy_score(targets[targets >= 0], every))
        case "spearman":
            ranks = [(x[:, None] > x).sum(1) + (x[:, None] == x).sum(1) / 2 for x in (outputs, targets)]
            return float(np.corrcoef(*ranks)[0, 1])
    raise AssertionError(f"say here what {name} is")


def test_the_metrics_of_each_kind_of_target() -> None:
    of_classes = ("accuracy", "balanced_accuracy", "f1", "f1_weighted")
    assert metrics.fitting(Multiclass(6)) == ("accuracy", "accuracy_top5", *of_classes[1:])
    assert metrics.fitting(Multiclass(5)) == of_classes
    yes_or_no = (*of_classes, "auroc", "f1_positive", "matthews", "pearson")
    assert metrics.fitting(Binary()) == tuple(sorted(yes_or_no))
    assert metrics.fitting(Multilabel(("a",))) == ("auroc", "mean_average_precision")
    assert metrics.fitting(Regression()) == ("pearson", "r2", "spearman")
    assert metrics.fitting(PerToken(3)) == ("token_accuracy",)
    assert set(TABLED) == set(metrics.metric_names())
    titles = [metrics.metric(name).title for name in TABLED]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(("target", "name"), FITS)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), rounded=st.booleans())
def test_a_score_is_what_scikit_learn_says(target: Target, name: str, seed: int, rounded: bool) -> None:
    outputs, targets = split(target, seed, rounded=rounded)
    assert score(name, outputs, targets) == pytest.approx(reference(name, outputs, targets), abs=1e-6)


@pytest.mark.parametrize(("target", "name"), FITS)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 5), same=st.sampled_from(("neither", "outputs", "targets")))
def test_a_score_is_a_number_of_its_range_or_undefined(
    target: Target, name: str, seed: int, count: int, same: str
) -> None:
    outputs, targets = split(target, seed, count)
    outputs = np.repeat(outputs[:1], count, axis=0) if same == "outputs" else outputs
    targets = np.repeat(targets[:1], count, axis=0) if same == "targets" else targets
    for correlation in ("whole", "batches"):
        try:
            value = score(name, outputs, targets, correlation=correlation, batch_size=2)
        except Undefined as error:
            assert str(error)
            continue
        assert metrics.metric(name).lowest <= value <= 1


@pytest.mark.parametrize(("target", "name"), FITS)
def test_targets_that_are_not_numbers_have_no_score(target: Target, name: str) -> None:
    outputs, targets = split(target, 0)
    for bad in (np.nan, np.inf):
        damaged = targets.astype(np.float64)
        damaged[3] = bad
        with pytest.raises(Undefined, match="targets hold NaN or infinity"):
            score(name, outputs, damaged)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("target", "name"), FITS)
def test_all_resamples_at_once_are_the_metric_of_each(target: Target, name: str, rounded: bool) -> None:
    outputs, targets = split(target, 3, 25, rounded)
    found, rows = bootstrap.resampled(name, outputs, targets, 80), np.random.default_rng(0)
    for value in found:
        chosen = rows.integers(25, size=25)
        try:
            expected = score(name, outputs[chosen], targets[chosen])
        except Undefined:
            expected = math.nan
        assert value == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert bootstrap.standard_error(name, outputs, targets) > 0  # type: ignore[operator]


def test_f1_of_classes_that_nobody_answers_and_of_no_yes() -> None:
    outputs = np.eye(3)[[0, 0, 1, 1]]  # class 2 is never answered, class 1 never the target
    assert score("f1", outputs, np.array([0, 0, 0, 2])) == pytest.approx((0.8 + 0 + 0) / 3)
    assert score("f1_weighted", outputs, np.array([0, 0, 0, 2])) == pytest.approx(0.6)
    assert score("balanced_accuracy", outputs, np.array([0, 0, 0, 2])) == pytest.approx((2 / 3 + 0) / 2)
    with pytest.raises(Undefined, match="F1 of yes needs a target or an answer that is yes"):
        score("f1_positive", np.array([-1.0, -2.0]), np.array([0, 0]))
    assert score("f1_positive", np.array([1.0, -2.0]), np.array([1, 0])) == 1


def test_labels_without_examples_and_constant_numbers_are_undefined() -> None:
    with pytest.raises(Undefined, match=r"needs an example with each label; labels \[1\] have none"):
        score("mean_average_precision", np.zeros((3, 2)), np.array([[1, 0], [0, 0], [1, 0]]))
    with pytest.raises(Undefined, match="R2 needs targets that vary; these 3 are constant"):
        score("r2", np.arange(3.0), np.ones(3))
    assert score("r2", np.array([10.0, -10.0]), np.array([0.0, 1.0])) < -100


@pytest.mark.parametrize(("target", "name"), FITS)
def test_a_constant_answer_scores_what_no_example_can_change(target: Target, name: str) -> None:
    targets = split(target, 5)[1]
    share = np.bincount(targets).max() / len(targets) if isinstance(target, Multiclass | Binary) else math.nan
    value = constant(name, target, targets)
    match name:
        case "accuracy":
            assert value == pytest.approx(share)
        case "token_accuracy":
            assert value == pytest.approx(np.bincount(targets[targets >= 0]).max() / (targets >= 0).sum())
        case "balanced_accuracy":
            assert value == pytest.approx(1 / len(np.unique(targets)))
        case "f1":
            assert value == pytest.approx(2 * share / (1 + share) / len(np.unique(targets)))
        case "f1_weighted":
            assert value == pytest.approx(2 * share**2 / (1 + share))
        case "f1_positive":
            assert value == pytest.approx(2 * targets.mean() / (1 + targets.mean()))
        case "accuracy_top5":
            assert value == pytest.approx(np.sort(np.bincount(targets))[-5:].sum() / len(targets))
        case "auroc":
            assert value == 0.5
        case "mean_average_precision":
            assert value == pytest.approx(targets.mean())
        case _:
            assert value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("target", "name"), [one for one in FITS if not isinstance(one[0], PerToken)])
def test_a_probe_selects_its_strength_by_the_metric(target: Target, name: str) -> None:
    generator = np.random.default_rng(1)
    features, numbers = generator.normal(size=(120, 8)), np.arange(8)[:, None] == np.arange(target.outputs)
    answered = features @ numbers + 0.1 * generator.normal(size=(120, target.outputs))
    if isinstance(target, Regression):
        targets = answered[:, 0]
    elif isinstance(target, Multiclass):
        targets = answered.argmax(1)
    else:
        targets = (answered > 0).astype(np.int64).reshape((120,) if isinstance(target, Binary) else answered.shape)
    fitted = fit_regression(features, targets, None, target, name, TransferOptions(strengths=(1e-6, 10.0)), 0)
    least = max(0.5, constant(name, target, targets))
    assert score(name, fitted.outputs(features), targets) > least and fitted.about["held_out_score"] > least


def test_top5_refuses_few_classes() -> None:
    assert metrics.misfit("accuracy_top5", Multiclass(6)) is None
    assert metrics.misfit("accuracy_top5", Multiclass(5)) == (
        "metric 'accuracy_top5' does not fit its target: with 5 classes it is always 1; it needs more than 5"
    )


# ---- metrics of plug-in folders ----------------------------------------------------------------------------------

COSTS = '''
"""The accuracy, in which a wrong answer to a target of class 0 costs twice as much."""

import numpy as np

from dabs_rq.metrics.base import Metric, correct
from dabs_rq.spec import Multiclass


def costs(outputs, targets):
    return float(np.average(correct(outputs, targets), weights=1 + (targets == 0)))


METRIC = Metric(name="costs", title="Cost", fits=(Multiclass,), compute=costs)
'''


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "mine"
    (folder / "metrics").mkdir(parents=True)
    (folder / "metrics" / "costs.py").write_text(COSTS)
    monkeypatch.setenv(registry.PATH_VARIABLE, str(folder))
    registry.refresh()
    yield folder
    registry.refresh()


def test_a_metric_of_ones_own(extra: Path) -> None:
    outputs, targets = split(Multiclass(7), 1)
    expected = np.average(answers(outputs) == targets, weights=np.where(targets == 0, 2, 1))
    assert score("costs", outputs, targets) == pytest.approx(expected)
    assert "costs" in metrics.fitting(Multiclass(7)) and "costs" not in metrics.fitting(Binary())
    error = bootstrap.standard_error("costs", outputs, targets)
    assert error == pytest.approx(bootstrap.standard_error("accuracy", outputs, targets), rel=0.5)
    assert provenance.code(metrics.module_of_metric("costs")).keys() >= {"dabs_rq.metrics.base", "dabs_rq.spec"}
    features, labels = np.eye(7)[targets], targets
    fitted = fit_regression(features, labels, None, Multiclass(7), "costs", TransferOptions(), 0)
    assert score("costs", fitted.outputs(features), labels) == 1


def test_a_broken_metric_costs_itself(extra: Path) -> None:
    (extra / "metrics" / "broken.py").write_text("import numpy\n\nraise RuntimeError('no')\n")
    with pytest.warns(PluginWarning, match=r"broken\.py, line 3: RuntimeError: no\. This plug-in is left out"):
        assert {"costs", "accuracy"} <= set(metrics.metric_names())
    with pytest.raises(PluginError, match=r"broken\.py, line 3: RuntimeError: no"):
        metrics.metric("broken")
    with pytest.raises(OptionError, match=r"metric 'cost'.*mean 'costs'\?"):
        metrics.metric("cost")
    (extra / "metrics" / "accuracy.py").write_text(COSTS)
    registry.refresh()
    with pytest.raises(OptionError, match=r"metric 'accuracy' is declared twice: .*metrics/accuracy\.py and .*mine"):
        metrics.metric_names()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("1 / 0", r"costs\.py, line 11: ZeroDivisionError"),
        ("7.0", r"costs\.py: metric 'costs' gave 7; expected a score from 0 to 1"),
        ("-0.5", r"costs\.py: metric 'costs' gave -0\.5; expected a score from 0 to 1"),
        ("None", r"costs\.py: metric 'costs' gave None; expected a number\. Does it end with `return`"),
        ("outputs[0]", r"costs\.py: metric 'costs' gave array\(.*expected a number"),
    ],
)
def test_a_metric_that_fails_names_its_line(extra: Path, body: str, problem: str) -> None:
    lines = COSTS.splitlines()
    lines[10] = f"    return {body}"
    (extra / "metrics" / "costs.py").write_text("\n".join(lines))
    registry.refresh()
    with pytest.raises(PluginError, match=problem):
        score("costs", *split(Multiclass(7), 1))
    (extra / "metrics" / "costs.py").write_text("\n".join([*lines[:10], "    return float('nan')", *lines[11:]]))
    registry.refresh()
    with pytest.raises(Undefined, match="Cost is not a finite number"):
        score("costs", *split(Multiclass(7), 1))


def test_a_metric_cannot_change_the_predictions(extra: Path) -> None:
    (extra / "metrics" / "costs.py").write_text(
        COSTS.replace("    return", "    outputs[:], targets[:] = 0, 0\n    return")
    )
    outputs, targets = split(Multiclass(7), 1)
    before = outputs.copy(), targets.copy()
    score("costs", outputs, targets)
    bootstrap.standard_error("costs", outputs, targets)
    assert np.array_equal(outputs, before[0]) and np.array_equal(targets, before[1])


def test_resamples_of_another_shape_are_refused(extra: Path) -> None:
    (extra / "metrics" / "costs.py").write_text(
        COSTS.replace("=costs)", "=costs, resampled=lambda counts, o, t: counts)")
    )
    with pytest.raises(
        PluginError, match=r"costs\.py: metric 'costs' gave shape \(200, \d+\) by `resampled`; expected"
    ):
        bootstrap.standard_error("costs", *split(Multiclass(7), 1))


def test_a_metric_that_fails_costs_its_task_or_only_itself(extra: Path, tmp_path: Path) -> None:
    (extra / "metrics" / "costs.py").write_text(COSTS.replace("return float", "return 1 / 0 + float"))
    task = "from dataclasses import replace\n\nfrom dabs_rq.domains.digits import forms\n\n"
    task += "TASK = replace(forms.TASK, {})\n"
    for name, declared in {"by_costs": 'metric="costs"', "beside": 'also=("costs", "f1")'}.items():
        folder = extra / "tasks" / "digits" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(task.format(f"name={name!r}, row={name!r}, {declared}"))
    registry.refresh()
    small = ("transfer.max_examples=60", "transfer.also=[]", "transfer.strengths=[1.0]", "trainer.progress=false")
    run = Run.of(["domain=digits", "method=none", "tasks=by_costs,beside,digits", f"runs={tmp_path / 'runs'}", *small])
    pretrain(run, 0)
    with pytest.warns(PluginWarning, match=r"costs\.py, line 11: ZeroDivisionError.* left out"):
        files, errors = transfer(run, 0)
    assert [file.stem for file in files] == ["digits", "beside"]
    assert [bool(re.search(r"by_costs: .*costs\.py, line 11", str(error))) for error in errors] == [True]
    assert record.read(files[1]).also.keys() == {"f1"}


def test_what_is_no_metric_is_refused(extra: Path) -> None:
    (extra / "metrics" / "other.py").write_text("METRIC = 'other'\n")
    with pytest.raises(PluginError, match=r"other\.py must define METRIC, of type Metric; got str"):
        metrics.metric("other")
    fields: dict[str, Any] = {
        field.name: getattr(metrics.metric("costs"), field.name) for field in dataclasses.fields(Metric)
    }
    assert Metric(**fields) == metrics.metric("costs")
