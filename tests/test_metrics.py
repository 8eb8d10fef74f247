"""Metrics and probe losses: against the reference vectors, and where a score is undefined."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dabs_rq import metrics
from dabs_rq.metrics.base import Undefined
from dabs_rq.records.bootstrap import standard_error
from dabs_rq.records.metrics import majority, score
from dabs_rq.spec import Binary, Multiclass, Multilabel, Regression, Target
from dabs_rq.transfer.fitted import probe_loss
from tests.golden_cases import Case, names

# The token-wise case is of masked token prediction: no target kind has a label per position.
CASES = [name for name in names("metrics") if not name.endswith("tokenwise")]
TARGETS: dict[str, Target] = {
    "accuracy_multiclass": Multiclass(11),
    "accuracy_binary": Binary(),
    "auroc_multilabel": Multilabel(("a", "b", "c", "d", "e")),
    "pearson_binary_labels": Binary(),
    "pearson_scores": Regression(),
    "spearman_scores": Regression(),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_equal_the_reference(name: str) -> None:
    case = Case(name)
    metric, values, size = case.settings["metric"], case.settings["values"], case.settings["batch_size"]
    outputs, targets = case["logits"].numpy(), case["labels"].numpy()
    assert score(metric, outputs, targets) == pytest.approx(values["metric_full"], abs=1e-5)
    logged = score(metric, outputs, targets, correlation="batches", batch_size=size)
    assert logged == pytest.approx(values["metric_logged"], abs=1e-5)
    for start, expected in zip(range(0, len(targets), size), values["metric_per_batch"] or (), strict=False):
        part = slice(start, start + size)
        assert score(metric, outputs[part], targets[part]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_losses_equal_the_reference(name: str) -> None:
    case = Case(name)
    target, values, size = TARGETS[name.rpartition("/")[2]], case.settings["values"], case.settings["batch_size"]
    outputs = case["logits"].reshape(len(case["labels"]), -1)  # a probe's outputs always have two dimensions
    assert target.outputs == outputs.shape[1] and case.settings["metric"] in metrics.fitting(target)
    loss = probe_loss(target, outputs, case["labels"])
    assert loss.item() == pytest.approx(values["loss_full"], abs=1e-5)
    parts = zip(outputs.split(size), case["labels"].split(size), values["loss_per_batch"], strict=True)
    for some, labels, expected in parts:
        assert probe_loss(target, some, labels).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_losses_take_labels_of_any_integer_type(dtype: torch.dtype) -> None:
    labels = torch.tensor([0, 1, 1], dtype=dtype)
    for target in (Multiclass(2), Binary(), Regression()):
        outputs = torch.zeros(3, target.outputs)
        assert probe_loss(target, outputs, labels).item() == pytest.approx(
            2 / 3 if target == Regression() else np.log(2)
        )


def test_weighted_f1_equals_the_reference_over_batches_and_over_everything() -> None:
    case = Case("f1_weighted/batches")
    values, size = case.settings["values"], case.settings["batch_size"]
    outputs, targets = case["logits"].numpy(), case["labels"].numpy()
    assert score("f1_weighted", outputs, targets) == pytest.approx(values["metric_full"], abs=1e-6)
    logged = score("f1_weighted", outputs, targets, correlation="batches", batch_size=size)
    assert logged == pytest.approx(values["metric_logged"], abs=1e-6)
    for start, expected in zip(range(0, len(targets), size), values["metric_per_batch"], strict=True):
        part = slice(start, start + size)
        assert score("f1_weighted", outputs[part], targets[part]) == pytest.approx(expected, abs=1e-6)
    macro = {score("f1", outputs, targets, correlation=each, batch_size=size) for each in ("whole", "batches")}
    assert len(macro) == 1  # DABS has no macro F1


# ---- ties --------------------------------------------------------------------------------------------------------


def test_ties_rank_in_order_of_appearance_or_averaged() -> None:
    outputs, targets = np.array([1.0, 1, 2, 3]), np.array([1.0, 2, 2, 4])
    assert score("spearman", outputs, targets, spearman_ties="ordinal") == pytest.approx(1.0)
    assert score("spearman", outputs, targets, spearman_ties="average") == pytest.approx(0.8333, abs=1e-4)
    untied = np.array([3.0, 1, 2, 7]), np.array([2.0, 5, 1, 9])
    both = [score("spearman", *untied, spearman_ties=ties) for ties in ("ordinal", "average")]
    assert both[0] == pytest.approx(both[1])


def test_a_logit_of_zero_is_a_yes_and_the_first_of_equal_classes_wins() -> None:
    assert score("accuracy", np.array([0.0, 0.0, -1e-9, 5.0]), np.array([1, 1, 0, 1])) == 1.0
    assert score("accuracy", np.zeros((4, 3)), np.array([0, 1, 2, 0])) == 0.5


def test_tied_outputs_count_half_in_auroc() -> None:
    targets = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
    assert score("auroc", np.zeros((4, 2)), targets) == 0.5
    assert score("auroc", targets * 2.0 - 1, targets) == 1.0
    assert score("auroc", np.stack([targets[:, 0], -targets[:, 1]], axis=1), targets) == 0.5


# ---- batches -----------------------------------------------------------------------------------------------------


def test_batches_count_by_size_and_a_constant_one_counts_as_zero() -> None:
    rising, level = np.arange(4.0), np.ones(4)
    outputs, targets = np.concatenate([rising, level, [5.0]]), np.concatenate([rising, rising, [1.0]])
    for metric in ("pearson", "spearman"):
        value = score(metric, outputs, targets, correlation="batches", batch_size=4)
        assert value == pytest.approx((4 * 1 + 4 * 0 + 1 * 0) / 9)
        assert score(metric, outputs, targets, correlation="batches", batch_size=100) == pytest.approx(
            score(metric, outputs, targets)
        )
    many = np.arange(9.0).reshape(3, 3), np.array([2, 2, 0])
    assert score("accuracy", *many, correlation="batches", batch_size=2) == pytest.approx(2 / 3)


# ---- undefined ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [1, 8])
def test_auroc_equals_that_of_scikit_learn(decimals: int) -> None:
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    outputs, targets = generator.standard_normal((90, 3)).round(decimals), generator.integers(2, size=(90, 3))
    assert score("auroc", outputs, targets) == pytest.approx(roc_auc_score(targets, outputs), abs=1e-12)
    for wrong in (outputs[:, :1], targets[:-1]):
        with pytest.raises(ValueError, match="shape"):
            score("auroc", wrong, targets)
    with pytest.raises(ValueError, match="0 and 1"):
        score("auroc", outputs, targets + 1)


def test_auroc_without_both_kinds_of_a_label_is_undefined() -> None:
    outputs, targets = np.random.default_rng(0).normal(size=(6, 3)), np.tile([[0, 1, 0], [1, 1, 0]], (3, 1))
    with pytest.raises(Undefined, match=r"with and without each label; labels \[1, 2\] lack one of them"):
        score("auroc", outputs, targets)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("ties", ["average", "ordinal"])
def test_correlations_of_constants_are_undefined(metric: str, ties: str) -> None:
    some, same = np.arange(5.0), np.full(5, 0.3, dtype=np.float32)
    with pytest.raises(Undefined, match="needs outputs that vary; these 5 are constant"):
        score(metric, same, some, spearman_ties=ties)
    with pytest.raises(Undefined, match="needs targets that vary; these 5 are constant"):
        score(metric, some, same, spearman_ties=ties)
    with pytest.raises(Undefined, match="needs outputs that vary; these 1 are constant"):
        score(metric, some[:1], some[:1], spearman_ties=ties)


@pytest.mark.parametrize("metric", metrics.metric_names())
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("correlation", ["whole", "batches"])
def test_outputs_that_are_not_finite_have_no_score(metric: str, bad: float, correlation: str) -> None:
    shape = (6, 2) if metric == "auroc" else (6,)
    outputs, targets = np.random.default_rng(0).normal(size=shape), np.array([0, 1, 0, 1, 1, 0])
    outputs[2] = bad
    with pytest.raises(Undefined, match="outputs hold NaN or infinity"):
        score(
            metric, outputs, np.stack([targets] * 2, axis=1) if metric == "auroc" else targets, correlation=correlation
        )


# ---- majority ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "targets", "expected"),
    [
        (Multiclass(4), [3, 1, 3, 3, 0], 0.6),
        (Binary(), [0, 0, 1, 0], 0.75),
        (Regression(), [0.5, 0.5, 1.0], None),
        (Regression(), [-2, -2, 3], None),
        (Multilabel(("a", "b")), [[0, 1], [0, 1]], None),
        (Binary(), [0.0, 1.0, 1.0, 1.0], 0.75),
    ],
)
def test_majority_is_the_accuracy_of_the_most_frequent_class(
    target: Target, targets: list[float], expected: float | None
) -> None:
    assert majority(target, np.array(targets)) == expected


# ---- standard errors ---------------------------------------------------------------------------------------------


def test_the_standard_error_of_an_accuracy_is_binomial() -> None:
    outputs, targets = np.array([1.0] * 80 + [-1.0] * 20), np.ones(100, np.int64)
    assert standard_error("accuracy", outputs, targets) == pytest.approx(0.04)


def test_bootstrapped_standard_errors_are_near_the_spread_over_fresh_splits() -> None:
    generator = np.random.default_rng(0)

    def split() -> tuple[np.ndarray, np.ndarray]:
        targets = generator.normal(size=400)
        return targets + generator.normal(size=400), targets

    scores = [score("pearson", *split()) for _ in range(300)]
    assert standard_error("pearson", *split()) == pytest.approx(np.std(scores), rel=0.3)
    outputs, targets = split()
    labels = np.stack([targets > 0, targets > 1], axis=1).astype(np.int64)
    error = standard_error("auroc", np.stack([outputs, outputs], axis=1), labels)
    assert 0 < error < 0.05 and error == standard_error("auroc", np.stack([outputs, outputs], axis=1), labels)


def test_a_split_too_small_has_no_standard_error() -> None:
    assert standard_error("auroc", np.zeros((2, 1)), np.array([[0], [0]])) is None
    assert standard_error("auroc", np.zeros((4, 1)), np.array([[0], [1], [0], [1]])) is not None
