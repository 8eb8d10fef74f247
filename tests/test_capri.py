"""CAPRI against the reference's objectives and full steps, and against a slow hand-written loss when corrected."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import OptionError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.methods.capri import CAPRI, METHOD, Options
from dabs_rq.ranks import Ranks
from dabs_rq.run import Run
from dabs_rq.spec import Grid, Input, Tokens
from tests.golden_cases import Case, names
from tests.golden_steps import check_step, close, close_gradient, load
from tests.test_encoder import SMALL, reference_encoder

PUBLISHED: dict[str, Any] = {
    "softmax": "predictions",
    "positions": "all",
    "detach_targets": False,
    "normalise": False,
    "within_inputs": False,
}
INPUTS: tuple[Input, ...] = (
    Grid(name="image", height=4, width=4, channels=1, patch=2),
    Tokens(name="text", length=8, vocabulary=30, pad=0),
)


def reference_method(case: Case, of: Case) -> CAPRI:
    encoder = reference_encoder(of, "param/model.")
    options = PUBLISHED | {
        "negatives": case.settings["negatives"],
        "normalise": bool(case.settings["normalize"]),
        "temperature": case.settings["temperature"],
        "corruption_rate": case.settings.get("corruption_rate", 0.9),
    }
    method = CAPRI(Options(**options), encoder, encoder.inputs).eval()
    load(method.predictor, case, "predictor.")
    return method


@pytest.mark.parametrize("name", [name for name in names("contpred") if "step" in name or "tabular" in name])
def test_a_step_is_the_references(name: str) -> None:
    case = Case(name)
    method = reference_method(case, case)
    check_step(case, method, {f"predictor.{key}": f"predictor.{key}" for key in ("weight", "bias")})


@pytest.mark.parametrize("name", [name for name in names("contpred") if "objective" in name])
def test_the_objective_is_the_references(name: str) -> None:
    case = Case(name)
    method = reference_method(case, Case("contpred/step_sequence_image"))
    method.inputs = (Tokens(name="text", length=case["is_masked"].shape[1], vocabulary=2),)
    encoded, targets = case["embs"].requires_grad_(), case["target_embs"].requires_grad_()
    loss, logs = method.prediction_loss(encoded, targets, case["is_masked"])
    close(loss, case["loss"].reshape(()))
    close(logs["accuracy"], case["acc"].reshape(()))
    loss.backward()
    close_gradient(encoded.grad, case["grad_embs"])
    close_gradient(targets.grad, case["grad_target_embs"])
    for key, expected in case.below("grad/predictor.").items():
        close_gradient(method.predictor.get_parameter(key).grad, expected)


# ---- what is corrected ---------------------------------------------------------------------------------------------


def made(**options: Any) -> tuple[CAPRI, Tensor, Tensor, Tensor, Tensor]:
    """A method, and encoded tokens, embeddings, masked positions and a padding mask to give it."""
    torch.manual_seed(0)
    method = build_method(METHOD, Options(**options), Transformer(INPUTS, **SMALL, dropout=0.0))
    encoded, targets = torch.randn(4, 13, 16), torch.randn(4, 12, 16)
    mask = torch.arange(12) < torch.tensor([12, 9, 7, 5])[:, None]
    masked = (torch.rand(4, 12) < 0.5) & mask
    assert isinstance(method, CAPRI) and masked.any(1).all()
    return method, encoded, targets, masked, mask


def by_hand(
    method: CAPRI, encoded: Tensor, targets: Tensor, masked: Tensor, mask: Tensor, over_predictions: bool = False
) -> float:
    """The corrected loss, one masked token after the other."""
    predictions, losses = method.predictor(encoded[:, 1:]), []
    for row in range(len(encoded)):
        for i in range(12):
            if masked[row, i]:
                others = [j for j in range(12) if mask[row, j] and (j < 4) == (i < 4)]
                pairs = [(j, i) if over_predictions else (i, j) for j in others]
                scores = [F.cosine_similarity(predictions[row, a], targets[row, b], dim=0) / 0.07 for a, b in pairs]
                losses.append(torch.logsumexp(torch.stack(scores), 0) - scores[others.index(i)])
    return float(torch.stack(losses).mean().detach())


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_corrected_loss_is_what_its_definition_says(symmetric: bool) -> None:
    method, *given = made(symmetric=symmetric)
    loss, _ = method.prediction_loss(*given)
    expected = by_hand(method, *given)
    if symmetric:
        expected = (expected + by_hand(method, *given, over_predictions=True)) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("detach", [True, False])
def test_targets_are_constants_if_told_to(detach: bool) -> None:
    method, encoded, targets, masked, mask = made(detach_targets=detach)
    method.prediction_loss(encoded, targets.requires_grad_(), masked, mask)[0].backward()
    assert (targets.grad is None) == detach


@pytest.mark.parametrize("options", [{}, {"negatives": "batch"}, PUBLISHED], ids=str)
def test_padding_and_unmasked_tokens_have_the_part_that_they_should(options: dict[str, Any]) -> None:
    method, encoded, targets, masked, mask = made(**options)
    expected, _ = method.prediction_loss(encoded, targets, masked, mask)
    for name, where, changes in (
        ("padding", ~mask, False),
        ("seen", mask & ~masked, options != {"negatives": "batch"}),
        ("masked", masked, True),
    ):
        other = torch.where(where.unsqueeze(2), torch.randn(targets.shape), targets)
        loss, _ = method.prediction_loss(encoded, other, masked, mask)
        assert (float(loss) != pytest.approx(float(expected), rel=1e-6)) == changes, name


def test_zeros_give_finite_gradients() -> None:
    method, encoded, targets, masked, mask = made()
    encoded = torch.zeros_like(encoded, requires_grad=True)
    with torch.no_grad():
        method.predictor.bias.zero_()
    loss, _ = method.prediction_loss(encoded, torch.zeros_like(targets), masked, mask)
    loss.backward()
    assert loss.isfinite() and encoded.grad is not None and encoded.grad.isfinite().all()


def test_with_negatives_of_the_batch_a_step_trains_every_parameter() -> None:
    method, *_ = made(negatives="batch", corruption_rate=0.4)
    ids = torch.randint(1, 30, (4, 8), generator=torch.Generator().manual_seed(0))
    batch = Batch((torch.rand(4, 1, 4, 4), ids), method.encoder, Ranks())
    loss, logs = method.loss(batch, torch.Generator().manual_seed(1))
    loss.backward()
    assert loss.isfinite() and 0 <= float(logs["accuracy"]) <= 1
    assert all((one.grad != 0).any() for one in method.parameters() if one.requires_grad)


def test_options_follow_the_protocol_and_are_checked() -> None:
    corrected, published = (
        Run.of(["method=capri", "domain=sensor", f"protocol={name}"]).method.options
        for name in ("corrected", "published")
    )
    assert corrected == Options() and published == Options(**PUBLISHED)
    for word, expected in (
        ("method.negatives=none", "method.negatives is one of sequence, batch"),
        ("method.temperature=0", "method.temperature is above 0"),
        ("protocol.capri_softmax=both", "protocol.capri_softmax is one of predictions, targets"),
    ):
        with pytest.raises(OptionError, match=expected):
            Run.of(["method=capri", "domain=sensor", word])
