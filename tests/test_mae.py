"""MAE against the reference's objectives and full steps, the visible-only form, and targets of every kind of input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dabs_rq.encoders.embed import patches
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import OptionError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.methods.mae import MAE, METHOD, Options
from dabs_rq.run import Run
from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens
from tests.golden_cases import Case, names
from tests.golden_steps import check_step, close, close_gradient, load
from tests.test_encoder import SMALL, reference_encoder

IMAGE = Grid(name="image", height=8, width=8, channels=2, patch=2)
SERIES = Series(name="sensor", length=30, channels=3, segment=3)
TEXT = Tokens(name="text", length=12, vocabulary=40, pad=0)
OF_HE: dict[str, Any] = {"encode": "visible", "corruption_rate": 0.75, "loss": "mse", "normalise_targets": True}
KINDS = pytest.mark.parametrize("inputs", [(IMAGE,), (SERIES,), (TEXT,), (IMAGE, TEXT)], ids=str)


def reference_method(case: Case, **options: Any) -> MAE:
    encoder = reference_encoder(case, "param/model.")
    return MAE(Options(within_inputs=False, **options), encoder, encoder.inputs).eval()


def own_names(method: MAE) -> dict[str, str]:
    return {f"predictors.0.{key}": f"predictor.{key}" for key in ("1.weight", "1.bias") if method.predictors}


@pytest.mark.parametrize("name", [name for name in names("mae") if "step" in name])
def test_a_step_is_the_references(name: str) -> None:
    case = Case(name)
    method = reference_method(case, corruption_rate=case.settings["corruption_rate"])
    if method.predictors:
        load(method.predictors["0"], case, "predictor.")
    check_step(case, method, own_names(method))


@pytest.mark.parametrize("kind", ["image", "tokens", "captioned"])
def test_the_objective_is_the_references(kind: str) -> None:
    case, step = Case(f"mae/objective/{kind}"), Case(f"mae/step_{kind}")
    encoder = reference_encoder(step, "param/model.")
    length = case["embs"].shape[1] - 1
    image = Grid(name="image", height=16, width=20, channels=3, patch=4)
    text = Tokens(name="text", length=length if kind == "tokens" else length - 20, vocabulary=61)
    inputs: tuple[Input, ...] = {"image": (image,), "tokens": (text,), "captioned": (image, text)}[kind]
    method = MAE(Options(within_inputs=False, corruption_rate=0.9), encoder, inputs)
    targets = [case[f"target/{index}"] for index in range(len(inputs))]
    if kind != "tokens":
        load(method.predictors["0"], case, "predictor.")
        targets[0] = unpatched(targets[0], image)
    encoded = case["embs"].requires_grad_()
    loss, _ = method.reconstruction_loss(encoded[:, 1:], case["is_masked"], targets)
    close(loss, case["loss"].reshape(()))
    loss.backward()
    close_gradient(encoded.grad, case["grad_embs"])
    for key, expected in case.below("grad/predictor.").items():
        close_gradient(method.predictors["0"].get_parameter(key).grad, expected)
    for key, expected in case.below("grad/model.embed_modules.").items():
        close_gradient(encoder.get_parameter(f"embeddings.{key[0]}.table").grad, expected)


def unpatched(targets: Tensor, spec: Grid) -> Tensor:
    """The images whose patches are `targets`."""
    down, across = spec.patch_size
    rows = targets.unflatten(1, (-1, spec.width // across)).unflatten(3, (down, across, spec.channels))
    images = rows.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
    assert torch.equal(patches(images, spec), targets)
    return images


# ---- every input, both forms ---------------------------------------------------------------------------------------


def raw(inputs: tuple[Input, ...], rows: int = 6) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    batch = []
    for spec in inputs:
        if isinstance(spec, Tokens):
            ids = torch.randint(1, spec.vocabulary, (rows, spec.length), generator=generator)
            lengths = torch.tensor([spec.length, 9, 7, 4, 2, 1])[:rows, None]
            batch.append(torch.where(torch.arange(spec.length) < lengths, ids, 0))
        else:
            batch.append(torch.rand((rows, *spec.shape), generator=generator))
    return tuple(batch)


def method_of(inputs: tuple[Input, ...], **options: Any) -> MAE:
    torch.manual_seed(0)
    encoder = Transformer(inputs, **SMALL, dropout=0.0)
    return build_method(METHOD, Options(**options), encoder).eval()  # type: ignore[return-value]


@KINDS
@pytest.mark.parametrize("options", [{}, {"encode": "visible"}, OF_HE], ids=str)
def test_every_kind_of_input_has_a_target_and_trains_every_parameter(
    inputs: tuple[Input, ...], options: dict[str, Any]
) -> None:
    method = method_of(inputs, **options)
    loss, logs = method.loss(Batch(raw(inputs), method.encoder), torch.Generator().manual_seed(2))
    loss.backward()
    assert loss.isfinite() and all(log.isfinite() for log in logs.values())
    for name, parameter in method.named_parameters():
        got = parameter.grad is not None and bool((parameter.grad != 0).any())
        assert got == parameter.requires_grad, name
    if len(inputs) > 1:
        assert set(logs) == {"loss_image", "loss_text", "accuracy_text"}
        assert float(loss.detach()) == pytest.approx(float(logs["loss_image"] + logs["loss_text"]) / 2)


@KINDS
def test_the_visible_form_encodes_visible_tokens_only_and_never_sees_the_others(inputs: tuple[Input, ...]) -> None:
    method = method_of(inputs, **OF_HE)
    encoder, seen = method.encoder, []
    encoder.encode, encode = lambda *given: seen.append(given) or encode(*given), encoder.encode
    judged: list[tuple[Tensor, ...]] = []
    method.reconstruction_loss, judge = lambda *given: judged.append(given) or judge(*given), method.reconstruction_loss  # type: ignore[method-assign]
    batch = Batch(raw(inputs), encoder)
    method.loss(batch, torch.Generator().manual_seed(2))
    (_, mask, kept), (predicted, masked, *_) = seen[0], judged[0]
    assert kept.shape[1] == sum(spec.sequence_length // 4 for spec in inputs)
    assert not masked.gather(1, kept).any()
    real = torch.ones_like(masked) if mask is None else mask
    visible = torch.zeros_like(masked).scatter_(1, kept, True) & real
    assert torch.equal(visible, real & ~masked)  # every visible real token is encoded
    again = Batch(batch.inputs, encoder)
    again._tokens = torch.where((masked | ~real).unsqueeze(2), torch.randn(batch.tokens.shape), batch.tokens)
    method.loss(again, torch.Generator().manual_seed(2))
    assert torch.allclose(judged[1][0][real], predicted[real], atol=1e-5)


@pytest.mark.slow
def test_it_learns_to_fill_in_what_a_constant_cannot() -> None:
    """Patches that repeat within an image can be filled in from the visible ones."""
    spec = Grid(name="image", height=8, width=8, channels=1, patch=2)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 1, 2, 2, generator=generator).repeat(1, 1, 4, 4)
    for options in ({"loss": "mse"}, OF_HE | {"normalise_targets": False}):
        torch.manual_seed(0)
        method = build_method(METHOD, Options(**options), Transformer((spec,), **SMALL | {"width": 32}, dropout=0.0))
        optimizer = torch.optim.AdamW([one for one in method.parameters() if one.requires_grad], lr=3e-3)
        for _ in range(200):
            loss, _ = method.loss(Batch((images,), method.encoder), generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert float(loss.detach()) < 0.5 * float(images.var())


def test_a_perfect_prediction_has_no_gradient_that_is_not_finite() -> None:
    method = method_of((IMAGE,))
    linear = method.predictors["0"][1]
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.fill_(0.5)
    loss, _ = method.loss(Batch((torch.full((2, 2, 8, 8), 0.5),), method.encoder), torch.Generator().manual_seed(0))
    loss.backward()
    assert float(loss) == 0 and all(one.grad.isfinite().all() for one in method.parameters() if one.grad is not None)


def test_normalised_targets_are_those_of_the_paper() -> None:
    method = method_of((SERIES,), loss="mse", normalise_targets=True)
    target = torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(0))
    expected = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True, correction=0) + 1e-6) ** 0.5
    assert float(method._error(expected, target).max()) < 1e-10


def test_half_precision_and_compiled_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    method = method_of((IMAGE, TEXT), encode="visible")
    compiled: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    method.compile_parts()
    assert method.decoder is not None and compiled == [*method.encoder.blocks, *method.decoder.blocks]
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = method.loss(Batch(raw((IMAGE, TEXT)), method.encoder), torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.isfinite()


def test_options_follow_the_protocol_and_are_checked() -> None:
    corrected, published = (
        Run.of(["method=mae", "domain=sensor", f"protocol={name}"]).method.options
        for name in ("corrected", "published")
    )
    assert corrected == Options() and published == Options(within_inputs=False)
    few = Series(name="few", length=3, channels=1, segment=1)
    with pytest.raises(OptionError, match=r"method\.corruption_rate=0\.9 masks all 3 tokens of few"):
        method_of((few,), encode="visible", corruption_rate=0.9)
    with pytest.raises(OptionError, match=r"method\.encode is one of all, visible; got 'some'"):
        Run.of(["method=mae", "domain=sensor", "method.encode=some"])


def test_a_number_of_a_row_is_predicted_as_it_is() -> None:
    """Its error is absolute, or squared with loss=mse. Without its own mean nothing is left of a number."""
    row = Tabular(name="row", features=7)
    values = torch.randn(3, 7, 1)
    for loss, error in (("norm", torch.abs), ("mse", torch.square)):
        method = method_of((row,), loss=loss)
        predicted, masked = torch.randn(3, 7, method.encoder.width), torch.rand(3, 7) < 0.2
        masked[:, 0], masked[:, 3:] = True, False
        found, _ = method.reconstruction_loss(predicted, masked[:, :7], (values,))
        of_all = error(method.predictors["0"](predicted) - values)[..., 0]
        assert float(found.detach()) == pytest.approx(float(of_all[masked].mean().detach()), rel=1e-5)
    with pytest.raises(OptionError, match=r"method\.normalise_targets=true leaves nothing to predict of row"):
        method_of((row,), normalise_targets=True)
