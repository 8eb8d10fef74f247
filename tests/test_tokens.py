"""Targets per token. The loss and the score equal the reference's; probes, errors and predictions are of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import dabs_rq
from dabs_rq import checkpoint, table
from dabs_rq.data.examples import Examples
from dabs_rq.encoders.raw import Options, build
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import EncoderError, OptionError, TrainingError
from dabs_rq.metrics.token_accuracy import METRIC, token_accuracy
from dabs_rq.pretrain.pretrain import pretrain
from dabs_rq.records import recheck, record
from dabs_rq.records.bootstrap import resampled, standard_error
from dabs_rq.records.intervals import difference_error
from dabs_rq.records.metrics import Undefined, majority, score
from dabs_rq.run import Run
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import PerToken, Series, Tokens
from dabs_rq.transfer import regression
from dabs_rq.transfer.adamw import fit_adamw
from dabs_rq.transfer.features import CachedFeatures
from dabs_rq.transfer.fitted import probe_loss
from dabs_rq.transfer.regression import fit_regression
from dabs_rq.transfer.targets import check_evaluable, check_trainable
from dabs_rq.transfer.tokens import OfTokens, rows, spaced
from dabs_rq.transfer.transfer import transfer
from tests.golden_cases import Case
from tests.test_encoder import reference_encoder
from tests.test_transfer import FEW

TARGET = PerToken(3)


# ---- against the reference -----------------------------------------------------------------------------------------


def test_features_loss_and_score_are_the_references() -> None:
    case = Case("transfer_tokenwise")
    encoder = reference_encoder(case, "param/model.")
    encoder.mask_padding = False
    with torch.no_grad():
        features = encoder.token_features((case["input/0"],))
        logits = features @ case["param/linear.weight"].T + case["param/linear.bias"]
    torch.testing.assert_close(logits, case["logits"], atol=1e-5, rtol=1e-5)
    targets = case["target"]
    assert int(targets.max()) == TARGET.classes  # padding, which counts in this loss
    assert float(probe_loss(TARGET, logits, targets)) == pytest.approx(case.settings["loss"], abs=1e-5)
    real = torch.where(targets == TARGET.classes, -1, targets)
    expected = case.settings["loss_without_padding"]
    assert float(probe_loss(TARGET, logits, real)) == pytest.approx(expected, abs=1e-5)
    found = score("token_accuracy", logits.numpy(), real.numpy())
    assert found == pytest.approx(case.settings["metric"], abs=1e-6)


def test_batches_count_by_their_examples_as_dabs_logs_them() -> None:
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(5, 4, 3)), rng.integers(-1, 3, size=(5, 4))
    parts = [token_accuracy(outputs[part], targets[part]) for part in (slice(2), slice(2, 4), slice(4, 5))]
    logged = score("token_accuracy", outputs, targets, correlation="batches", batch_size=2)
    assert logged == pytest.approx(np.average(parts, weights=[2, 2, 1]))
    assert score("token_accuracy", outputs, targets, batch_size=2) == token_accuracy(outputs, targets)


# ---- the score -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_only_tokens_with_a_class_count(count: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, targets = rng.normal(size=(count, length, 4)), rng.integers(-1, 3, size=(count, length))
    right = [outputs[i, j].argmax() == targets[i, j] for i in range(count) for j in range(length) if targets[i, j] >= 0]
    if not right:
        with pytest.raises(Undefined, match="tokens that have a class"):
            score("token_accuracy", outputs, targets)
        return
    assert score("token_accuracy", outputs, targets) == pytest.approx(np.mean(right))
    classes = [int(one) for one in targets.ravel() if one >= 0]
    assert majority(TARGET, targets) == pytest.approx(max(map(classes.count, classes)) / len(classes))
    drawn = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(3)]).astype(float)
    assert METRIC.resampled is not None
    with np.errstate(invalid="ignore"):
        found = METRIC.resampled(drawn, outputs, targets.astype(np.float64))
    for counts, value in zip(drawn, found, strict=True):
        repeated = np.repeat(np.arange(count), counts.astype(int))
        if (targets[repeated] >= 0).any():
            assert value == pytest.approx(token_accuracy(outputs[repeated], targets[repeated]))
        else:
            assert np.isnan(value)


def test_the_error_is_over_examples_not_tokens() -> None:
    """All tokens of an example have the same answer, so an example tells no more than one of its tokens."""
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.5
    outputs = np.zeros((200, 50, 3))
    outputs[np.arange(200), :, np.where(right, 0, 1)] = 1.0
    targets = np.zeros((200, 50), np.int64)
    error = standard_error("token_accuracy", outputs, targets)
    assert error == pytest.approx(np.sqrt(0.25 / 200), rel=0.15)
    assert np.array_equal(
        resampled("token_accuracy", outputs, targets),
        resampled("accuracy", outputs[:, 0], targets[:, 0]),
    )


# ---- probes --------------------------------------------------------------------------------------------------------


def made_up(count: int = 60, length: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of which the first three say the class, and targets with padding at the ends."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, length, 6)).astype(np.float32)
    targets = features[:, :, :3].argmax(2)
    targets[np.arange(length) >= rng.integers(3, length + 1, size=count)[:, None]] = -1
    features[targets < 0] = 100.0  # must not matter
    return features, targets


def fitted(features: np.ndarray, targets: np.ndarray, outputs: int = 3) -> list[Any]:
    options = TransferOptions(lr=0.05, epochs=60)
    of_rows = fit_regression(*rows(features, targets, None, TARGET, METRIC.name), options, 0)
    batches = CachedFeatures(features, targets, 10, 0)
    return [OfTokens(of_rows, of_rows.about), fit_adamw(batches, 6, TARGET, outputs, options, 0)]


def test_probes_learn_from_tokens_with_a_class() -> None:
    features, targets = made_up(seed=1)
    for one in fitted(*made_up()):
        found = one.outputs(features)
        assert found.shape == (60, 9, 3) and found.dtype == np.float32
        assert score("token_accuracy", found, targets) > 0.9


def test_the_regression_holds_out_whole_examples_or_groups() -> None:
    features, targets = made_up()
    found = rows(features, targets, None, TARGET, METRIC.name)
    assert found.groups is not None and found.groups.tolist() == [i for i in range(60) for t in targets[i] if t >= 0]
    assert fitted(features, targets)[0].about["groups"] == "whole"
    pairs = rows(features, targets, np.arange(60) // 2, TARGET, METRIC.name).groups
    assert pairs is not None and len(np.unique(pairs)) == 30


def test_the_regression_is_the_same_from_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = made_up()
    whole = fitted(features, targets)[0].outputs(features)
    monkeypatch.setattr(regression, "BLOCK", 7)
    np.testing.assert_allclose(fitted(features, targets)[0].outputs(features), whole, atol=1e-4)


def test_padding_that_counts_is_a_class_of_its_own() -> None:
    features, targets = made_up()
    counted = np.where(targets < 0, TARGET.classes, targets)
    features[targets < 0] = 0.0
    features[..., 5] = targets < 0
    for one in fitted(features, counted, outputs=4):
        answers = one.outputs(features).argmax(2)
        assert (answers[targets < 0] == TARGET.classes).mean() > 0.9


def test_evenly_spaced_rows_are_of_tokens_with_a_class() -> None:
    features, targets = made_up()
    found = spaced(features, targets, TARGET, 20)
    assert found.shape == (20, 6) and (found < 100).all()
    assert spaced(features[:, 0], targets[:, 0], PerToken(3), 1000).shape == ((targets[:, 0] >= 0).sum(), 6)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([[0, 3]], "labels 0 to 3; -1 to 2 expected"),
        ([[0, -2]], "labels -2 to 0; -1 to 2 expected"),
        ([[-1, -1]], "no token with a class"),
    ],
)
def test_targets_that_cannot_be_evaluated(values: list[list[int]], text: str) -> None:
    with pytest.raises(TrainingError, match=text):
        check_evaluable(np.array(values), TARGET, "the split")


def test_targets_that_cannot_be_learned() -> None:
    assert check_trainable(np.array([[0, 3], [1, -1]]), TARGET, "train").shape == (2, 2)
    for values, text in (([[0, 0, -1]], "only one class"), ([[0, 4]], "-1 to 3 expected")):
        with pytest.raises(TrainingError, match=text):
            check_trainable(np.array(values), TARGET, "train")


def test_the_raw_feature_of_a_token_is_its_id() -> None:
    encoder = build(Options(), (Tokens(name="text", length=3, vocabulary=5),), True)
    found = encoder.token_features((torch.tensor([[0, 4, 4]]),))
    assert found.tolist() == [[[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]]
    assert encoder.gives_token_features and encoder.width == 5
    assert not build(Options(), (Series(name="x", length=4, channels=1, segment=1),), True).gives_token_features


# ---- transfer ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, miniature: Callable[[str], Path]) -> Callable[..., Run]:
    def make(*words: str) -> Run:
        given = ("domain=proteins", "tasks=secondary_struct", "method=none", f"runs={tmp_path / 'runs'}")
        return Run.of([*given, *FEW, f"data={miniature('proteins')}", *words])

    return make


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_a_record_holds_the_outputs_of_every_token(protocol: str, run: Callable[..., Run]) -> None:
    one = run(f"protocol={protocol}", "transfer.also=[adamw]")
    pretrain(one, 0)
    files, errors = transfer(one, 0)
    assert not errors
    by_name = {file.stem: file for file in files}
    assert {"secondary_struct", "secondary_struct@cb513"} <= by_name.keys()
    file = by_name["secondary_struct"]
    found = record.read(file)
    stored = recheck.predictions(file, found)
    classes = 4 if protocol == "published" else 3
    assert stored.outputs.shape == (80, 64, classes) and stored.targets.shape == (80, 64)
    assert found.n_examples == 80 and found.metric == "token_accuracy" and found.status == "ok"
    whole = token_accuracy(stored.outputs, stored.targets)
    assert found.score == pytest.approx(whole, abs=0.02) and (found.score == whole) == (protocol == "corrected")
    assert found.majority is not None and 0.3 < found.majority < 0.7
    assert found.standard_error is not None and 0 < found.standard_error < 0.1
    assert found.spectrum["width"] == 16
    output = pq.read_table(file.with_suffix(".parquet"))["output"][0].as_py()
    assert len(output) == 64 and len(output[0]) == classes
    assert difference_error("token_accuracy", file, file) == 0
    before = file.stat().st_mtime_ns
    transfer(one, 0)
    assert file.stat().st_mtime_ns == before, "a finished record must be kept"


def test_an_edited_output_of_a_token_is_noticed(run: Callable[..., Run]) -> None:
    one = run()
    pretrain(one, 0)
    file = transfer(one, 0)[0][0]
    found, stored = record.read(file), record.predictions(file)
    changed = stored.outputs.copy()
    changed[stored.targets >= 0] = np.eye(3, dtype=np.float32)[stored.targets[stored.targets >= 0]]
    record.write(file.parent, found, stored.ids, stored.targets, changed)
    with pytest.raises(Exception, match="differs from its predictions: score"):
        recheck.predictions(file, found)


def test_the_table_marks_a_constant_answer(run: Callable[..., Run]) -> None:
    one = run()
    pretrain(one, 0)
    file = next(file for file in transfer(one, 0)[0] if file.stem == "secondary_struct")
    found, stored = record.read(file), record.predictions(file)
    most_frequent = np.bincount(stored.targets[stored.targets >= 0]).argmax()
    for answers, marked in ((np.full_like(stored.targets, most_frequent), True), (stored.targets.clip(0), False)):
        outputs = np.eye(3, dtype=np.float32)[answers]
        value = token_accuracy(outputs, stored.targets)
        error = standard_error("token_accuracy", outputs, stored.targets)
        changed = dataclasses.replace(found, score=value, standard_error=error)
        record.write(file.parent, changed, stored.ids, stored.targets, outputs)
        assert (f"{100 * value:.2f} °" in table.to_markdown(table.build(one))) == marked


def test_features_of_another_number_of_tokens_are_refused(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run()
    pretrain(one, 0)
    whole = Transformer.token_features
    monkeypatch.setattr(Transformer, "token_features", lambda self, inputs: whole(self, inputs)[:, 1:])
    with pytest.raises(EncoderError, match="none gives features of 63 tokens per example, and the targets are of 64"):
        transfer(one, 0)


def test_padding_that_counts_needs_an_output(run: Callable[..., Run]) -> None:
    one = run("protocol.structure_padding=class", "transfer.probe=adamw")
    pretrain(one, 0)
    with pytest.raises(OptionError, match=r"padding counts in the loss as class 3.*give protocol\.unused_outputs=true"):
        transfer(one, 0)


def test_features_of_tokens_and_of_examples_are_kept_apart(run: Callable[..., Run]) -> None:
    from dabs_rq.transfer import features

    encoder = checkpoint.load_encoder(pretrain_file(run()))
    ids = torch.zeros(2, 64, dtype=torch.int32).numpy()

    class Column:
        key = "x"

        def __len__(self) -> int:
            return 2

        def take(self, rows: np.ndarray) -> np.ndarray:
            return ids[rows]

    examples = Examples(["a", "b"], (Column(),))  # type: ignore[arg-type]
    keys = {features.key(encoder, "w", examples, of_tokens=kind) for kind in (False, True)}
    assert len(keys) == 2
    assert features.extract(encoder, examples, of_tokens=True).shape == (2, 64, 16)
    assert features.extract(encoder, examples).shape == (2, 16)


def pretrain_file(one: Run) -> Path:
    pretrain(one, 0)
    return one.checkpoint_file(0)


def test_a_network_without_features_of_tokens_leaves_the_task_out(
    tmp_path: Path, miniature: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    class Counts(nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return nn.functional.one_hot(ids, 27).float().mean(1)

    def evaluate(tasks: list[str]) -> Any:
        options = {"transfer.max_examples": 100, "transfer.also": []}
        given: dict[str, Any] = {"name": "counts", "key": "1", "device": "cpu", "progress": False, "options": options}
        root = miniature("proteins")
        return dabs_rq.evaluate(Counts(), domain="proteins", tasks=tasks, data=root, runs=tmp_path / "runs", **given)

    found = evaluate(["stability", "secondary_struct"])
    assert set(found["task"]) == {"stability"}
    assert "left out: secondary_struct needs a feature of each token" in capsys.readouterr().out
    with pytest.raises(EncoderError, match=r"secondary_struct needs .* counts gives one feature"):
        evaluate(["secondary_struct"])
