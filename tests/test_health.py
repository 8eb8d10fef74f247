"""The health of a pretraining: the spectrum of features, what is logged and warned of, and that training is equal."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dabs_rq import checkpoint
from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.errors import ResourceError, TrainingError
from dabs_rq.methods.base import Method
from dabs_rq.methods.emix import EMix
from dabs_rq.pretrain import health, logs
from dabs_rq.pretrain.loop import Pretraining
from dabs_rq.pretrain.pretrain import build, pretrain, source_batches
from dabs_rq.ranks import Ranks
from dabs_rq.records.spectrum import spectrum
from dabs_rq.report import curves
from dabs_rq.run import Run
from tests.test_pretrain import losses, run  # noqa: F401

MEASURES = ["effective_rank", "top_share", "norm", "spread"]


def log(run: Run) -> pd.DataFrame:  # noqa: F811
    found = logs.read(run.checkpoint_folder(0) / "log")
    assert found is not None
    return found.set_index("step")


# ---- the spectrum ----------------------------------------------------------------------------------------------------


def random_features(seed: int, n: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, (n, width))


def by_definition(features: np.ndarray) -> list[float]:
    """The measures, from the eigenvalues of the covariance instead of singular values."""
    variances = np.clip(np.linalg.eigvalsh(np.cov(features.T, bias=True).reshape([features.shape[1]] * 2)), 0, None)
    shares = np.sqrt(variances) / np.sqrt(variances).sum()
    entropy = -sum(share * np.log(share) for share in shares if share > 0)
    lengths = [np.sqrt((row**2).sum()) for row in features]
    return [
        np.exp(entropy),
        variances.max() / variances.sum(),
        np.mean(lengths),
        np.sqrt(features.var(0).mean() / (features**2).mean()),
    ]


@given(st.integers(0, 99), st.integers(2, 30), st.integers(1, 12))
def test_the_measures_are_as_defined(seed: int, n: int, width: int) -> None:
    features = random_features(seed, n, width)
    found = spectrum(features)
    assert list(found) == pytest.approx(by_definition(features), rel=1e-4)
    assert 1 <= found.effective_rank <= min(n - 1, width) + 1e-9
    assert spectrum(torch.from_numpy(features)) == found


@given(st.integers(0, 99), st.sampled_from([1e-200, 1e-3, 1.0, 1e200]))
def test_rank_share_and_spread_depend_neither_on_scale_nor_on_axes(seed: int, scale: float) -> None:
    features = random_features(seed, 20, 6)
    rotation, _ = np.linalg.qr(random_features(seed + 1, 6, 6))
    rank, share, norm, spread = spectrum(features)
    assert list(spectrum(features @ rotation * scale)) == pytest.approx([rank, share, norm * scale, spread])
    shifted = spectrum(features + 1000)
    assert [shifted.effective_rank, shifted.top_share] == pytest.approx([rank, share]) and shifted.spread < spread


@pytest.mark.parametrize(("n", "width"), [(9, 5), (4, 30), (2, 3), (64, 1)])
def test_known_spectra(n: int, width: int) -> None:
    direction = np.linspace(1, 2, width)
    line = np.linspace(-1, 1, n)[:, None] * direction + 3
    assert spectrum(line)[:2] == pytest.approx((1, 1))
    for constant in (0.1, 0.0, 1e30):
        equal = spectrum(np.full((n, width), constant, np.float32))
        assert (equal.effective_rank, equal.top_share, equal.spread) == (0, 0, 0)
        assert equal.norm == pytest.approx(constant * width**0.5)
    corners = np.concatenate([np.eye(width), -np.eye(width)])  # equal variance in every direction, mean 0
    assert list(spectrum(corners)) == pytest.approx([width, 1 / width, 1, 1])
    assert spectrum(line[:1]).effective_rank == 0
    assert all(np.isnan(spectrum(np.where(line == line.max(), np.inf, line))))


def test_half_precision_is_measured_in_double() -> None:
    features = torch.from_numpy(random_features(0, 20, 6)).to(torch.bfloat16).requires_grad_()
    assert spectrum(features) == spectrum(features.detach().double())


@pytest.mark.parametrize("shape", [(3,), (0, 4), (4, 0), (2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(n, D\).*got \("):
        spectrum(np.zeros(shape))


# ---- measuring during training ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("sensor", ("method=emix", "encoder.dropout=0.1", "protocol.pamap2_draws=cloned")),
        ("sensor", ("method=rq", "pretrain.accumulate=2")),
        ("multilingual", ("method=rq",)),  # a stream
    ],
)
def test_measuring_does_not_change_the_training(
    domain: str,
    words: tuple[str, ...],
    run: Callable[..., Run],  # noqa: F811
    tmp_path: Path,
) -> None:
    method, *rest = words
    steps = ("pretrain.steps=6", *rest)
    name = method.removeprefix("method=")
    without = run(domain, name, *steps, "trainer.health_every=0", f"runs={tmp_path / 'without'}")
    measured = run(domain, name, *steps, "trainer.health_every=2")
    files = [pretrain(one, 0) for one in (without, measured)]
    assert losses(without) == losses(measured) and len(losses(measured)) == 6
    described = [checkpoint.describe(file) for file in files]
    assert described[0]["weights"] == described[1]["weights"]
    assert not [name for name in log(without) if "/" in name]

    found = log(measured)[[f"health/{name}" for name in MEASURES]].dropna()
    assert found.index.tolist() == [0, 2, 4, 6]
    raw, _ = source_batches(measured, 0).batch(0)
    inputs = tuple(map(to_model_input, raw))
    with torch.no_grad():
        for step, encoder in ((0, build(measured, 0)[0].eval()), (6, checkpoint.load_encoder(files[1]))):
            assert found.loc[step].tolist() == pytest.approx(spectrum(encoder.features(inputs)), rel=1e-4)


class Noisy(Encoder):
    """Draws from the global generator in eval mode too, and has a part that is always in eval mode."""

    inputs, width, architecture = (), 6, {}  # type: ignore[assignment]

    def __init__(self, features: Iterator[Tensor] | None = None) -> None:
        super().__init__()
        self.frozen, self.trained = nn.Linear(1, 1).eval(), nn.Linear(1, 1)
        self.scripted = features

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        return next(self.scripted) if self.scripted else torch.rand(len(inputs[0]), 6)


def monitor(run: Run) -> health.Health:  # noqa: F811
    return health.Health(run.options, build(run, 0)[1], source_batches(run, 0), Ranks())


def test_modes_and_generators_are_restored(run: Callable[..., Run]) -> None:  # noqa: F811
    one = monitor(run("sensor", "emix", "trainer.health_every=2"))
    encoder, state = Noisy(), torch.get_rng_state()
    found = [one.measure(encoder, 0) for _ in range(2)]
    assert found[0] == found[1] and torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in (encoder, encoder.frozen, encoder.trained)] == [True, False, True]
    with pytest.raises(StopIteration):
        one.measure(Noisy(iter([])), 0)
    assert torch.is_grad_enabled()


# ---- warnings --------------------------------------------------------------------------------------------------------

VARIED = torch.from_numpy(random_features(0, 8, 6))
LINE = VARIED[:, :1] * torch.ones(6)  # of rank 1
EQUAL = 5 + VARIED / 1000


@pytest.mark.parametrize(
    ("features", "step", "text"),
    [
        ([VARIED, LINE, LINE, LINE], 4, "effective rank 1.00 .* the highest effective rank before is"),
        ([VARIED, EQUAL, EQUAL, EQUAL], 4, "spread 0.000"),
        ([VARIED, VARIED, VARIED, VARIED, VARIED, LINE], 10, "effective rank 1.00"),
        ([LINE] * 6, 10, r"spread [01][.\d]* \(collapsed: below 0.03\)\. Try"),
        ([VARIED, LINE, VARIED, LINE, VARIED, VARIED], None, ""),  # recovers
        ([LINE, LINE, VARIED, VARIED, VARIED, VARIED], None, ""),  # only at the beginning
        ([VARIED * float("nan")] * 6, None, ""),  # training itself stops
        ([LINE[:4]] * 6, None, ""),  # four examples cannot tell
    ],
)
def test_a_collapse_is_told_once(
    features: list[Tensor],
    step: int | None,
    text: str,
    run: Callable[..., Run],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = monitor(run("sensor", "emix", "trainer.health_every=2", "pretrain.steps=10"))
    told = {}
    capsys.readouterr()
    for number, value in enumerate(features):
        one.measure(Noisy(iter([value])), 2 * number)
        told[2 * number] = capsys.readouterr().out
    assert [number for number, printed in told.items() if printed] == ([] if step is None else [step])
    if step is not None:
        assert told[step] == f"warning: {one.warnings['collapsed']}\n" and f"at step {step}" in told[step]
        pd.testing.assert_index_equal(pd.Index(one.warnings), pd.Index(["collapsed"]))
        assert pd.Series(told[step]).str.contains(text).all()


@pytest.mark.parametrize(
    ("of_step", "steps", "every", "accumulate", "told_at"),
    [
        (lambda step: 1.0, 60, 10, 1, 50),  # 50 steps at least
        (lambda step: 1.0, 60, 10, 2, 50),
        (lambda step: 1.0, 40, 10, 1, None),  # too short to tell
        (lambda step: float(step >= 200), 1000, 50, 1, 400),  # over a fifth of the steps
        (lambda step: float(step % 50 > 0), 1000, 50, 1, None),  # 0.98
        (lambda step: float(step % 200 > 0), 1000, 50, 1, 200),  # 0.995
    ],
)
def test_a_solved_task_is_told_once(
    of_step: Callable[[int], float],
    steps: int,
    every: int,
    accumulate: int,
    told_at: int | None,
    run: Callable[..., Run],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (f"pretrain.steps={steps}", f"trainer.health_every={every}", f"pretrain.accumulate={accumulate}")
    given = run("sensor", "emix", *words)
    one, told = monitor(given), {}
    capsys.readouterr()
    for step in range(steps + 1):
        if one.due(step):
            if step % 20 == 0:  # as in a resumed run
                state, one = one.state(), monitor(given)
                one.load(state)
            one.measure(Noisy(iter([VARIED])), step)
            if printed := capsys.readouterr().out:
                told[step] = printed
        for _ in range(accumulate):
            one.add({"accuracy": torch.tensor(of_step(step))})
    assert list(told) == ([] if told_at is None else [told_at])
    assert list(one.warnings) == ([] if told_at is None else ["solved"])
    if told_at is not None:
        window = max(50, steps // 5)
        assert f"over the {window} steps before step {told_at}, the mean accuracy is" in told[told_at]


def test_a_resumed_run_has_the_measures_and_warnings_of_an_undisturbed_one(
    run: Callable[..., Run],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, calls = EMix.loss, []

    def solved(self: EMix, *rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 66:
            raise MemoryError("out of memory")
        loss, logs = real(self, *rest)
        return loss, {"accuracy": torch.ones_like(logs["accuracy"])}

    monkeypatch.setattr(EMix, "loss", solved)
    words = ("pretrain.steps=64", "pretrain.checkpoint_every=55", "trainer.health_every=10")
    undisturbed = run("sensor", "emix", *words, f"runs={tmp_path / 'undisturbed'}")
    pretrain(undisturbed, 0)
    calls[:] = [1] * 5  # fail at the 61st batch, after the warning at step 50
    disturbed = run("sensor", "emix", *words)
    capsys.readouterr()
    with pytest.raises(ResourceError):
        pretrain(disturbed, 0)
    pretrain(disturbed, 0)
    assert capsys.readouterr().out.count("the pretext task is solved") == 1
    about = [checkpoint.describe(one.checkpoint_file(0))["about"] for one in (undisturbed, disturbed)]
    assert about[0]["warnings"] == about[1]["warnings"] and "before step 50" in about[0]["warnings"][0]
    pd.testing.assert_frame_equal(log(disturbed), log(undisturbed))
    assert curves.warnings({"emix": disturbed}, disturbed.domain) == [
        f"{disturbed.domain.title}, e-Mix, seed 0: {about[0]['warnings'][0]}"
    ]


# ---- what a step waits for and moves ---------------------------------------------------------------------------------

WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::is_nonzero"}


class Waits(TorchDispatchMode):
    """Notes, by batch number, every operation for which a GPU's host would wait. Reading weights to measure them and to
    write files does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.batch, self.found = -1, {}  # type: ignore[var-annotated]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in WAITS:
            self.found.setdefault(self.batch, []).append("".join(traceback.format_stack(limit=6)[:-1]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize(
    ("domain", "method", "accumulate"),
    [("sensor", "emix", 1), ("images", "rq", 2), ("text", "rq", 1), ("text", "shed", 1), ("vqa", "capri", 1)],
)
def test_a_step_waits_for_the_host_only_where_it_is_logged(
    domain: str,
    method: str,
    accumulate: int,
    progress: bool,
    run: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = run(
        domain,
        method,
        *("pretrain.steps=12", f"pretrain.accumulate={accumulate}", "trainer.log_every=5", "trainer.health_every=0"),
        f"trainer.progress={str(progress).lower()}",
    )
    waits = Waits()
    real = Method.loss

    def counted(*arguments: Any) -> Any:
        waits.batch += 1
        return real(*arguments)

    monkeypatch.setattr(Method, "loss", counted)
    with waits:
        pretrain(one, 0)
    assert waits.batch == 12 * accumulate - 1
    # Before the first and after the last batch, there is no step that could wait.
    found = {number: texts for number, texts in waits.found.items() if 0 <= number < waits.batch}
    logged = [5 * accumulate - 1, 10 * accumulate - 1]
    assert sorted(found) == logged, "\n".join(
        text for number in found if number not in logged for text in found[number]
    )
    assert list(losses(one)) == [4, 9]


def test_a_bad_loss_between_two_logged_steps_leaves_no_file(
    run: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = EMix.loss, []

    def bad(self: EMix, *rest: Any) -> Any:
        calls.append(1)
        loss, logs = real(self, *rest)
        return loss * (float("nan") if len(calls) == 3 else 1), logs

    monkeypatch.setattr(EMix, "loss", bad)
    for words in (("pretrain.checkpoint_every=4", "pretrain.steps=9"), ("pretrain.steps=4",)):
        calls.clear()
        one = run("sensor", "emix", "trainer.log_every=50", *words)
        with pytest.raises(TrainingError, match="the loss is not finite at step 2:"):
            pretrain(one, 0)
        assert len(calls) == 4
        assert not list(one.checkpoint_folder(0).glob("*.ckpt")) and not one.checkpoint_file(0).exists()


def test_only_what_is_read_goes_to_the_device(run: Callable[..., Run]) -> None:  # noqa: F811
    one = run("sensor", "emix")
    batches = source_batches(one, 0)
    inputs, targets, rows = next(iter(batches.loader(0)))
    assert targets is None
    for reads in (False, True):
        _, method = build(one, 0)
        method.reads_targets = reads
        module = Pretraining(one, method, batches, 0, Ranks())
        moved = module.transfer_batch_to_device((inputs, rows, rows), torch.device("meta"), 0)
        assert [tensor.device.type for tensor in moved[0]] == ["meta"] * len(inputs)
        assert moved[1:] == (None,) if not reads else moved[1].device.type == "meta"
