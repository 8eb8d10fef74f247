"""ShED against the reference's permutations, objective and full steps; and what it does otherwise when corrected."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import OptionError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.methods.corruption import choose, flags
from dabs_rq.methods.shed import METHOD, Options, ShED, shuffle
from dabs_rq.run import Run
from dabs_rq.spec import Grid, Input, Tokens
from dabs_rq.typed import checked
from tests.golden_cases import Case, names
from tests.golden_steps import check_step, close, close_gradient, load
from tests.test_encoder import SMALL, reference_encoder

PUBLISHED: dict[str, Any] = {"minimum": 1, "labels": "chosen", "within_inputs": False}


def reference_method(case: Case, **options: Any) -> ShED:
    encoder = reference_encoder(case, "param/model.")
    method = ShED(Options(**PUBLISHED | options), encoder, encoder.inputs).eval()
    load(method.predictor, case, "predictor.")
    return method


@pytest.mark.parametrize("name", [name for name in names("shed") if "permute/" in name])
def test_it_moves_what_the_reference_moves(name: str) -> None:
    case = Case(name)
    chosen = choose(case["u"], case.settings["corruption_rate"])
    assert torch.equal(shuffle(case["embs"], chosen), case["permuted_embs"])
    assert torch.equal(flags(chosen, case["u"].shape[1]).long(), case["is_permuted"])


def test_the_objective_is_the_references() -> None:
    case = Case("shed/objective")
    method = reference_method(Case("shed/step_image"))
    load(method.predictor, case, "predictor.")
    encoded = case["embs"].requires_grad_()
    loss, logs = method.detection_loss(encoded, case["is_permuted"].bool())
    close(loss, case["loss"].reshape(()))
    close(logs["accuracy"], case["acc"].reshape(()))
    loss.backward()
    close_gradient(encoded.grad, case["grad_embs"])
    for key, expected in case.below("grad/predictor.").items():
        close_gradient(method.predictor.get_parameter(key).grad, expected)


@pytest.mark.parametrize("name", [name for name in names("shed") if "step" in name or "tabular" in name])
def test_a_step_is_the_references(name: str) -> None:
    case = Case(name)
    method = reference_method(case, corruption_rate=case.settings["corruption_rate"])
    check_step(case, method, {f"predictor.{key}": f"predictor.{key}" for key in ("weight", "bias")})


# ---- what is corrected ---------------------------------------------------------------------------------------------


def labels_of(inputs: tuple[Input, ...], raw: tuple[Tensor, ...], **options: Any) -> tuple[Tensor, Tensor, Batch]:
    """What the method gives to the encoder, and its labels."""
    encoder = Transformer(inputs, **SMALL).eval()
    method = build_method(METHOD, Options(**options), encoder)
    batch = Batch(raw, encoder)
    seen: list[Tensor] = []
    encoder.encode, encode = lambda *given: seen.append(given[0]) or encode(*given), encoder.encode
    method.detection_loss, judge = lambda *given: seen.append(given[1]) or judge(*given), method.detection_loss  # type: ignore[method-assign]
    method.loss(batch, torch.Generator().manual_seed(0))
    return seen[0], seen[1], batch


def text(rows: int, length: int, vocabulary: int, lengths: list[int] | None = None) -> Tensor:
    ids = torch.randint(1, vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))
    return ids if lengths is None else torch.where(torch.arange(length) < torch.tensor(lengths)[:, None], ids, 0)


def test_padding_stays_and_two_tokens_move_at_least() -> None:
    spec = Tokens(name="text", length=20, vocabulary=1000, pad=0)
    shuffled, moved, batch = labels_of((spec,), (text(5, 20, 1000, [20, 13, 7, 2, 1]),))
    assert torch.equal(shuffled[~batch.mask], batch.tokens[~batch.mask])
    assert torch.equal(moved, (shuffled != batch.tokens).any(2))
    assert moved.sum(1).tolist() == [3, 2, 2, 2, 0]  # 15 % rounded up, at least two; one alone has nowhere to go
    assert torch.allclose(shuffled.sum(1), batch.tokens.sum(1))
    _, chosen, _ = labels_of((spec,), (text(5, 20, 1000, [20, 13, 7, 6, 1]),), **PUBLISHED)
    assert chosen.sum(1).tolist() == [3, 2, 2, 1, 1]


@pytest.mark.parametrize(("labels", "all_chosen"), [("changed", False), ("chosen", True)])
def test_equal_tokens_that_are_exchanged_count_as_moved_only_if_told_to(labels: str, all_chosen: bool) -> None:
    spec = Tokens(name="dna", length=40, vocabulary=4)
    shuffled, moved, batch = labels_of((spec,), (text(8, 40, 4),), corruption_rate=0.5, labels=labels)
    changed = (shuffled != batch.tokens).any(2)
    assert (moved.sum(1) == 20).all() == all_chosen
    assert torch.equal(moved, changed) != all_chosen and changed.any()


@pytest.mark.parametrize("within", [True, False])
def test_tokens_stay_within_their_input_if_told_to(within: bool) -> None:
    inputs = (Grid(name="image", height=8, width=8, channels=1, patch=2), Tokens(name="text", length=10, vocabulary=50))
    raw = (torch.rand(6, 1, 8, 8), torch.arange(60).view(6, 10) % 50)
    shuffled, _, batch = labels_of(inputs, raw, corruption_rate=0.5, within_inputs=within)
    origin = torch.cdist(shuffled, batch.tokens).argmin(2)  # (6, 26): where each token comes from
    assert (origin != torch.arange(26)).any()
    assert ((origin < 16) == (torch.arange(26) < 16)).all() == within


def test_options_follow_the_protocol_and_are_checked() -> None:
    corrected, published = (
        Run.of(["method=shed", "domain=sensor", f"protocol={name}"]).method.options
        for name in ("corrected", "published")
    )
    assert corrected == Options()
    assert published == Options(**PUBLISHED)
    for wrong, expected in ((0.0, "is above 0; got 0.0"), (1.0, "is below 1; got 1.0")):
        with pytest.raises(OptionError, match=rf"method\.corruption_rate {expected}"):
            checked(Options, vars(Options(corruption_rate=wrong)), "method.")
    with pytest.raises(OptionError, match=r"method\.minimum is one of 1, 2; got '3'"):
        Run.of(["method=shed", "domain=sensor", "method.minimum=3"])
