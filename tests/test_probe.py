"""Linear probes on made-up features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq.errors import TrainingError
from dabs_rq.records.metrics import score
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Binary, Multiclass, Multilabel, Regression, Target
from dabs_rq.transfer import convex, regression
from dabs_rq.transfer.adamw import fit_adamw
from dabs_rq.transfer.features import CachedFeatures
from dabs_rq.transfer.fitted import Fitted
from dabs_rq.transfer.holdout import hold_out
from dabs_rq.transfer.regression import fit_regression
from dabs_rq.transfer.targets import check_evaluable, check_trainable
from tests import quick

LABELS = Multilabel(("a", "b", "c"))
KINDS: list[tuple[Target, str, float]] = [
    (Multiclass(5), "accuracy", 0.9),
    (Multiclass(2), "accuracy", 0.9),
    (Binary(), "accuracy", 0.9),
    (Binary(), "pearson", 0.75),
    (LABELS, "auroc", 0.95),
    (Regression(), "pearson", 0.95),
    (Regression(), "spearman", 0.95),
]


METRICS: dict[type, str] = {Multiclass: "accuracy", Binary: "accuracy", Multilabel: "auroc"}


def made_up(target: Target, count: int = 400, width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of which half the columns are noise, on scales a thousand apart, and targets linear in the others."""
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    features = rng.normal(size=(count, width))
    kinds = target.outputs if isinstance(target, Multiclass | Multilabel) else 1
    logits = features[:, : width // 2] @ world.normal(size=(width // 2, kinds))
    targets: np.ndarray = logits[:, 0] + 3
    if isinstance(target, Multiclass):
        targets = logits.argmax(1)
    elif isinstance(target, Binary):
        targets = (logits[:, 0] > 0.3).astype(np.int64)
    elif isinstance(target, Multilabel):
        targets = (logits > 1).astype(np.int64)
    return (features * np.logspace(-1, 2, width) + 5).astype(np.float32), targets


def fit(target: Target, metric: str, data: Any, *, groups: Any = None, seed: int = 0, **options: Any) -> Fitted:
    features, targets = data
    return fit_regression(features, targets, groups, target, metric, TransferOptions(**options), seed)


def adamw(target: Target, data: Any, size: int = 64, outputs: int | None = None, seed: int = 0, **options: Any) -> Any:
    features, targets = data
    chosen = TransferOptions(**{"lr": 0.02, "epochs": 30} | options)
    batches = CachedFeatures(features, targets, size, seed)
    return fit_adamw(batches, features.shape[1], target, outputs or target.outputs, chosen, seed)


# ---- regression --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "metric", "least"), KINDS)
def test_regression_recovers_what_is_linear(target: Target, metric: str, least: float) -> None:
    fitted = fit(target, metric, made_up(target))
    features, targets = made_up(target, seed=1)
    outputs = fitted.outputs(features)
    assert outputs.shape == ((400,) if target.outputs == 1 else (400, target.outputs)) and outputs.dtype == np.float32
    assert score(metric, outputs, targets) > least
    assert fitted.about["probe"] == "lbfgs" and -8 <= np.log10(fitted.about["strength"]) <= 8
    assert fitted.about["held_out"] == 40 and fitted.about["held_out_score"] > least - 0.1
    if not isinstance(target, Regression):
        assert fitted.about["converged"] and fitted.about["iterations"] < 1000


def test_strength_is_the_best_on_the_held_out_examples_whatever_the_order_of_the_grid() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 100)
    noise = rng.normal(size=(100, 300)) + 0.25 * targets[:, None]  # more columns than examples: little strength is best
    weak = fit(Binary(), "accuracy", (noise, targets), strengths=[1e-6, 1e4])
    again = fit(Binary(), "accuracy", (noise, targets), strengths=[1e4, 1e-6])
    only = {strength: fit(Binary(), "accuracy", (noise, targets), strengths=[strength]) for strength in (1e-6, 1e4)}
    best = max(only, key=lambda strength: only[strength].about["held_out_score"])
    assert weak.about["strength"] == again.about["strength"]
    assert weak.about["held_out_score"] == only[best].about["held_out_score"]
    line = made_up(Regression())
    assert fit(Regression(), "pearson", line, strengths=[1e-9, 1.0]).about["strength"] == 1.0
    assert fit(Regression(), "pearson", line, strengths=[1.0, 1e-9]).about["strength"] == 1.0


@pytest.mark.parametrize("strengths", [[], [0.0], [1.0, -1.0]])
def test_a_grid_without_use_is_refused(strengths: list[float]) -> None:
    with pytest.raises(TrainingError, match=r"transfer\.strengths"):
        fit(Binary(), "accuracy", made_up(Binary()), strengths=strengths)


@pytest.mark.parametrize(("target", "metric", "_"), KINDS)
def test_the_seed_decides_everything(target: Target, metric: str, _: float) -> None:
    data = made_up(target, 120)
    first, second = fit(target, metric, data, seed=4), fit(target, metric, data, seed=4)
    assert np.array_equal(first.outputs(data[0]), second.outputs(data[0])) and first.about == second.about
    one = adamw(target, data, seed=4, epochs=2)
    torch.rand(1)  # what others draw is of no account
    two = adamw(target, data, seed=4, epochs=2)
    assert np.array_equal(one.outputs(data[0]), two.outputs(data[0]))
    assert not np.array_equal(one.outputs(data[0]), adamw(target, data, seed=5, epochs=2).outputs(data[0]))


def test_classes_that_training_lacks_have_outputs_that_never_win() -> None:
    features, targets = made_up(Multiclass(5))
    for seen in ([0, 3, 4], [1, 3]):
        some = np.isin(targets, seen)
        outputs = fit(Multiclass(5), "accuracy", (features[some], targets[some])).outputs(features)
        assert outputs.shape == (400, 5) and np.isfinite(outputs).all()
        assert set(outputs.argmax(1)) == set(seen)
        assert score("accuracy", outputs[some], targets[some]) > 0.9


def test_constant_features_change_nothing() -> None:
    features, targets = made_up(Binary())
    wider = np.concatenate([features, np.full((400, 2), 3.5, np.float32)], axis=1)
    first, second = (fit(Binary(), "accuracy", (some, targets)).outputs(some) for some in (features, wider))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3)
    blank = np.ones((400, 3), np.float32)
    assert np.isfinite(fit(Binary(), "accuracy", (blank, targets)).outputs(blank)).all()


def test_a_label_that_is_constant_in_training_gets_one_output() -> None:
    features, targets = made_up(LABELS)
    targets[:, 0], targets[:, 2] = 0, 1
    fitted = fit(LABELS, "auroc", (features, targets))
    outputs, expected = fitted.outputs(features), made_up(LABELS)[1]
    assert (outputs[:, 0] == -1).all() and (outputs[:, 2] == 1).all() and len(np.unique(outputs[:, 1])) > 100
    assert score("auroc", outputs[:, 1:2], expected[:, 1:2]) > 0.95


# ---- what is held out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [Multiclass(4), Binary(), LABELS, Regression()])
def test_held_out_examples_are_a_tenth_and_drawn_by_seed(target: Target) -> None:
    targets = made_up(target, 200)[1]
    fitting, held_out, groups, _ = hold_out(targets, None, target, 0)
    assert groups == "none" and len(held_out) == 20 and sorted([*fitting, *held_out]) == list(range(200))
    assert np.array_equal(hold_out(targets, None, target, 0)[1], held_out)
    assert not np.array_equal(hold_out(targets, None, target, 1)[1], held_out)


def test_held_out_examples_are_stratified() -> None:
    targets = np.repeat([0, 1, 2], [200, 80, 20])
    for groups, tolerance in ((None, 0), (np.arange(300) // 2, 12)):
        for seed in range(5):
            counts = np.bincount(targets[hold_out(targets, groups, Multiclass(3), seed)[1]], minlength=3)
            np.testing.assert_allclose(counts, [20, 8, 2], atol=tolerance)


@pytest.mark.parametrize("target", [Multiclass(4), Binary(), LABELS, Regression()])
@pytest.mark.parametrize("count", [10, 40])
def test_no_group_is_on_both_sides(target: Target, count: int) -> None:
    targets = made_up(target, 200)[1]
    groups = np.random.default_rng(0).integers(0, count, 200) * 17
    for seed in range(3):
        fitting, held_out, treated, cut = hold_out(targets, groups, target, seed)
        assert sorted([*fitting, *held_out]) == list(range(200)) and 10 <= len(held_out) <= 30
        assert treated == "whole" and cut == 0 and not set(groups[fitting]) & set(groups[held_out])
    if count == 40:
        assert len({hold_out(targets, groups, target, seed)[1].tobytes() for seed in range(3)}) == 3


@pytest.mark.parametrize("target", [Multiclass(4), Binary(), LABELS, Regression()])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_groups_that_are_too_large_are_cut(target: Target, count: int) -> None:
    targets = made_up(target, 200)[1]
    groups = np.arange(200) % count
    _, held_out, treated, cut = hold_out(targets, groups, target, 0)
    assert (treated, cut) == (("cut", count) if count > 1 else ("none", 0)) and len(held_out) == 20
    assert np.array_equal(held_out, hold_out(targets, None, target, 0).held_out) or count > 1


def speakers(chapters_each: Sequence[int], each: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Targets and groups of LibriSpeech dev-clean: a class is a speaker, a group is a speaker's chapter."""
    chapters = np.repeat(np.arange(len(chapters_each)), chapters_each)  # each chapter's speaker
    rows = np.repeat(np.arange(len(chapters)), each)
    return chapters[rows], rows


def test_speakers_with_one_chapter_are_cut_and_the_others_hold_out_whole_chapters() -> None:
    targets, groups = speakers([1] * 9 + [2] * 10 + [3] * 16 + [4] * 5)  # 40 speakers, 97 chapters
    assert len(np.unique(groups)) == 97
    for seed in range(5):
        fitting, held_out, treated, cut = hold_out(targets, groups, Multiclass(40), seed)
        assert treated == "cut" and cut == 9
        assert set(groups[fitting]) & set(groups[held_out]) == set(range(9))
        assert set(targets[held_out]) <= set(targets[fitting])
        assert 0.05 <= len(held_out) / len(targets) <= 0.15
        assert 0.05 <= np.isin(held_out, np.flatnonzero(targets < 9)).sum() / (9 * 28) <= 0.15


def test_classes_that_are_one_group_each_are_cut() -> None:
    targets, _ = speakers([1] * 40)
    fitting, held_out, treated, cut = hold_out(targets, targets, Multiclass(40), 0)
    assert treated == "cut" and cut == 40 and set(targets[held_out]) == set(targets[fitting]) == set(range(40))
    counts = np.bincount(targets[held_out])
    assert counts.min() >= 2 and counts.max() <= 3 and len(held_out) == 112


@given(data=st.data())
def test_what_is_held_out_is_about_a_tenth_and_its_classes_are_fitted(data: st.DataObject) -> None:
    """Classes and groups of any sizes, a class of one example and a class within one group among them."""
    count = data.draw(st.integers(20, 300))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    classes, kinds = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 60))
    groups = rng.zipf(1.5, count).clip(max=kinds)
    nested = data.draw(st.booleans())
    targets = groups % classes if nested else rng.integers(0, classes, count)
    if (np.unique(targets, return_counts=True)[1] < 2).all():
        return
    fitting, held_out, treated, _ = hold_out(targets, groups, Multiclass(30), data.draw(st.integers(0, 99)))
    assert sorted([*fitting, *held_out]) == list(range(count))
    assert 1 <= len(held_out) <= max(1, round(count / 10)) * 1.5
    assert set(targets[held_out]) <= set(targets[fitting])
    assert treated in ("whole", "cut") if len(np.unique(groups)) > 1 else treated == "none"
    if treated == "whole":
        assert not set(groups[fitting]) & set(groups[held_out])


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("each", [2, 5])
def test_few_examples_of_many_classes_can_be_held_out(each: int, grouped: bool) -> None:
    targets = np.repeat(np.arange(60), each)
    groups = np.arange(len(targets)) if grouped else None
    fitting, held_out, *_ = hold_out(targets, groups, Multiclass(60), 0)
    assert len(held_out) == 6 * each and set(targets[fitting]) == set(range(60))
    features = np.eye(60)[targets] + 0.01 * np.random.default_rng(0).normal(size=(60 * each, 60))
    fitted = fit(Multiclass(60), "accuracy", (features, targets), groups=groups)
    assert score("accuracy", fitted.outputs(features), targets) > 0.9


def test_a_class_with_one_example_is_only_fitted() -> None:
    targets = np.array([0] * 50 + [1] * 49 + [2])
    for seed in range(10):
        assert 99 in hold_out(targets, None, Multiclass(3), seed).fitting


def test_nothing_to_hold_out_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"no part of the 2 training examples can be held out .* has one example"):
        hold_out(np.array([0, 1]), None, Binary(), 0)


def test_features_that_are_not_finite_are_refused() -> None:
    features, targets = made_up(Binary())
    features[[3, 5], 2] = np.nan
    with pytest.raises(TrainingError, match="2 of 400 training features are not finite"):
        fit(Binary(), "accuracy", (features, targets))


# ---- the solution ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [Multiclass(5), Multiclass(2), Binary(), LABELS], ids=str)
@pytest.mark.parametrize(("count", "width"), [(400, 12), (60, 300)])
@pytest.mark.parametrize("strength", [1e-4, 1.0, 1e4])
def test_the_solution_is_that_of_scikit_learn(target: Target, count: int, width: int, strength: float) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, targets = made_up(target, count, width)
    outputs = fit(target, METRICS[type(target)], (features, targets), strengths=[strength]).outputs(features)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    solver = "newton-cg" if isinstance(target, Multiclass) else "newton-cholesky"
    reference = LogisticRegression(C=strength, solver=solver, tol=1e-12, max_iter=100_000)
    columns = targets.T if isinstance(target, Multilabel) else [targets]
    expected = np.stack([reference.fit(scaled, column).decision_function(scaled) for column in columns], axis=-1)[
        ..., 0 if not isinstance(target, Multilabel) else slice(None)
    ]
    if isinstance(target, Multiclass):
        outputs = outputs - outputs.mean(1, keepdims=True)
        if target.classes == 2:
            expected = np.stack([-expected / 2, expected / 2], axis=1)
    np.testing.assert_allclose(outputs, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("target", "metric", "_"), quick.others_slow(KINDS, KINDS[1:]))
def test_no_score_hangs_on_rounding(target: Target, metric: str, _: float) -> None:
    """Features that differ by 3e-7 of their size, and another number of threads, give the same score."""
    features, targets = made_up(target, 300, 40)
    others, expected = made_up(target, 1000, 40, seed=1)
    rng, threads = np.random.default_rng(0), torch.get_num_threads()
    values, strengths = set(), set()
    for draw in range(4):
        noisy = [part * (1 + (3e-7 * rng.normal(size=part.shape) if draw else 0)) for part in (features, others)]
        torch.set_num_threads(1 + draw % 2)
        fitted = fit(target, metric, (noisy[0].astype(np.float32), targets))
        values.add(round(score(metric, fitted.outputs(noisy[1].astype(np.float32)), expected), 5))
        strengths.add(fitted.about["strength"])
    torch.set_num_threads(threads)
    assert len(values) == 1 and len(strengths) == 1


DECADES = tuple(10.0**power for power in range(-8, 9))
NOISES: list[tuple[Target, str]] = [
    *((Multiclass(5), "accuracy"), (Binary(), "accuracy"), (LABELS, "auroc"), (Regression(), "pearson")),
]


def noisy(target: Target, width: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As `made_up`, with a share of the targets drawn at random, or as much noise in them."""
    features, targets = made_up(target, 200, width, seed)
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(targets)
    return features, np.where(
        (rng.random(targets.shape[0]) < share).reshape(-1, *[1] * (targets.ndim - 1)), drawn, targets
    )


# A grid, and how it goes on below and above.
GRIDS: list[tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = [
    (TransferOptions().strengths, DECADES[:4], DECADES[13:]),
    ((10.0, 100.0), DECADES[:9], DECADES[11:]),
    ((1e-3, 0.1, 10.0), (1e-7, 1e-5), (1e3, 1e5, 1e7)),
    ((1.0, 2.0), DECADES[:8], tuple(2 * one for one in DECADES[9:-1])),
]


@pytest.mark.parametrize(("target", "metric"), NOISES)
@pytest.mark.parametrize(("grid", "below", "above"), GRIDS)
def test_a_grid_goes_on_where_its_best_is_at_an_end_and_selects_what_the_wider_grid_selects(
    target: Target,
    metric: str,
    grid: tuple[float, ...],
    below: tuple[float, ...],
    above: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wider = {grid[0]: (*below, *grid), grid[-1]: (*grid, *above)}
    for seed, (width, share) in enumerate([(12, 0.0), (12, 0.3), (100, 0.95)]):
        data = noisy(target, width, share, seed)
        found = fit(target, metric, data, strengths=grid[::-1])
        monkeypatch.setattr(regression, "WIDEST", dict.fromkeys(regression.WIDEST, (np.inf, 0.0)))
        narrow = fit(target, metric, data, strengths=grid)
        whole = fit(target, metric, data, strengths=wider.get(narrow.about["strength"], grid))
        monkeypatch.undo()
        assert found.about["range"] == whole.about["range"] and found.about["tried"] == whole.about["tried"]
        assert found.about["strength"] == whole.about["strength"]
        np.testing.assert_allclose(found.outputs(data[0]), whole.outputs(data[0]), rtol=1e-4, atol=1e-4)
        if narrow.about["strength"] not in wider:
            assert found.about == narrow.about and np.array_equal(found.outputs(data[0]), narrow.outputs(data[0]))


def test_a_single_strength_and_a_fit_in_single_precision_have_their_own_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_up(Binary(), 400)  # without noise: the largest strength is the best
    assert fit(Binary(), "accuracy", data, strengths=[0.1]).about["range"] == [0.1, 0.1]
    assert fit(Binary(), "accuracy", data).about["range"] == [1e-4, 1e8]
    monkeypatch.setattr(regression, "LARGE", 0)
    assert fit(Binary(), "accuracy", data).about["range"] == [1e-4, 1e4], "a smaller penalty than its tolerance"


LARGE = [(width, target, metric) for width in (12, 200) for target, metric, _ in KINDS]


@pytest.mark.parametrize(
    ("width", "target", "metric"),
    quick.others_slow(LARGE, [one for one in LARGE if one[0] == 12 or one[1] not in (Multiclass(5), LABELS)]),
)
def test_a_large_problem_selects_what_the_whole_grid_selects(
    width: int, target: Target, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = set()
    for seed in range(3):
        data = made_up(target, 600, width, seed)
        monkeypatch.undo()
        whole = fit(target, metric, data)
        monkeypatch.setattr(regression, "WHOLE_GRID", 0)
        large = fit(target, metric, data)
        assert whole.about["tried"] >= len(TransferOptions().strengths)
        assert whole.about["strength"] == large.about["strength"]
        assert np.array_equal(whole.outputs(data[0]), large.outputs(data[0]))
        tried.add(large.about["tried"])
    if width == 200 and target == Multiclass(5):
        assert min(tried) < len(TransferOptions().strengths), "with many noisy features, large strengths overfit"


@pytest.mark.parametrize("target", [Multiclass(5), Binary(), LABELS], ids=str)
def test_single_precision_gives_the_scores_of_double_precision(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = METRICS[type(target)]
    data, (others, expected) = made_up(target, 2000, 40), made_up(target, 2000, 40, seed=1)
    monkeypatch.setitem(regression.WIDEST, torch.float64, regression.WIDEST[torch.float32])
    double = fit(target, metric, data)
    monkeypatch.setattr(regression, "LARGE", 0)
    single = fit(target, metric, data)
    assert (double.about["tolerance"], single.about["tolerance"]) == (1e-9, 1e-4)
    assert single.about["converged"] and single.about["strength"] == double.about["strength"]
    values = [score(metric, fitted.outputs(others), expected) for fitted in (single, double)]
    assert values[0] == pytest.approx(values[1], abs=1e-3)


def test_a_fit_that_is_cut_off_says_so() -> None:
    features, targets = made_up(Multiclass(5), 600, 300)
    fitted = fit(Multiclass(5), "accuracy", (features, targets), max_iterations=3)
    assert not fitted.about["converged"] and fitted.about["gradient"] > fitted.about["tolerance"]
    assert fitted.about["passes"] <= 3 + 40, "a line search may finish"


def test_rare_words_with_hardly_a_penalty_are_solved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of ids whose counts fall as in texts, random classes, and the largest strength: conjugate gradients alone
    are lost in rounding."""
    monkeypatch.setattr(convex, "_DIRECT", 0)
    rng = np.random.default_rng(0)
    count, width, length = 256, 450, 12
    features = np.zeros((count, width), np.float32)
    ids = np.minimum(rng.zipf(1.3, size=(count, length)), width) - 1
    np.add.at(features, (np.arange(count)[:, None], ids), 1 / length)
    targets = rng.integers(0, 3, count)
    fitted = fit(Multiclass(3), "accuracy", (features, targets), strengths=[1e4], max_iterations=3000)
    assert fitted.about["converged"] and fitted.about["gradient"] <= 1e-9


@pytest.mark.parametrize("target", [Multiclass(5), Binary(), LABELS], ids=str)
def test_the_last_fit_does_not_depend_on_where_it_starts(target: Target) -> None:
    data = made_up(target, 300, 40)
    after_search = fit(target, METRICS[type(target)], data)
    alone = fit(target, METRICS[type(target)], data, strengths=[after_search.about["strength"]])
    np.testing.assert_allclose(after_search.outputs(data[0]), alone.outputs(data[0]), rtol=1e-4, atol=1e-4)


# ---- AdamW -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "metric", "least"), KINDS)
def test_adamw_learns_what_is_linear(target: Target, metric: str, least: float) -> None:
    def standard(data: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return ((data[0] - 5) / np.logspace(-1, 2, 12)).astype(np.float32), data[1]

    fitted = adamw(target, standard(made_up(target)))
    features, targets = standard(made_up(target, seed=1))
    assert score(metric, fitted.outputs(features), targets) > least - 0.1
    assert fitted.about["probe"] == "adamw" and np.isfinite(fitted.about["last_loss"])
    assert fitted.about["steps"] == 30 * (400 // 64), "the last, smaller batch of an epoch is left out"


def test_a_batch_larger_than_the_split_is_cut_to_it() -> None:
    data = made_up(Binary(), 50)
    whole, cut = (adamw(Binary(), data, size, epochs=3) for size in (50, 4096))
    assert whole.about == cut.about and cut.about["steps"] == 3
    assert np.array_equal(whole.outputs(data[0]), cut.outputs(data[0]))


def test_outputs_that_no_class_uses_are_trained_but_do_not_win() -> None:
    features, targets = made_up(Multiclass(5))
    fitted = adamw(Multiclass(5), ((features - features.mean(0)) / features.std(0), targets), outputs=6)
    assert fitted.outputs(features).shape == (400, 6)
    assert set(fitted.outputs((features - features.mean(0)) / features.std(0)).argmax(1)) <= set(range(5))


def test_no_optimizer_step_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"would take no optimizer step: transfer\.epochs=0"):
        adamw(Binary(), made_up(Binary()), epochs=0)


def test_a_loss_that_is_not_finite_stops_the_probe() -> None:
    features, targets = made_up(Regression())
    with pytest.raises(TrainingError, match="the probe's loss is not finite in epoch 0"):
        adamw(Regression(), (features * np.float32(1e30), targets))


# ---- targets nothing can be learned from -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "targets", "reason"),
    [
        (Binary(), None, "the split is empty"),
        (Binary(), [], "the split is empty"),
        (Multiclass(3), [0, 1, 3], "the split has labels 0 to 3; 0 to 2 expected"),
        (Multiclass(3), [-1, 1, 2], "the split has labels -1 to 2; 0 to 2 expected"),
        (Binary(), [0, 1, 2], "the split has labels 0 to 2; 0 to 1 expected"),
        (LABELS, [[0, 1, -1], [1, 0, 0]], "the split has labels -1 to 1; 0 to 1 expected"),
        (Regression(), [0.5, float("nan")], "the split has targets that are not finite"),
    ],
)
def test_targets_that_are_missing_or_out_of_range_are_refused(target: Target, targets: Any, reason: str) -> None:
    values = None if targets is None else np.array(targets)
    for check in (check_evaluable, check_trainable):
        with pytest.raises(TrainingError, match=reason):
            check(values, target, "the split")


@pytest.mark.parametrize(("target", "value"), [(Multiclass(3), 2), (Binary(), 0), (LABELS, 1), (Regression(), 0.5)])
def test_one_class_can_be_scored_but_not_learned(target: Target, value: float) -> None:
    targets = np.full((5, 3) if target is LABELS else 5, value)
    assert check_evaluable(targets, target, "the split") is targets
    kind = "value" if isinstance(target, Regression) else "class"
    with pytest.raises(TrainingError, match=f"the split has only one {kind} \\({value}\\): nothing can be learned"):
        check_trainable(targets, target, "the split")
