"""e-Mix against the reference's full steps and objectives, and against a slow hand-written loss."""

from __future__ import annotations

import pytest
import torch

from dabs_rq.checkpoint.dabs import dabs_name
from dabs_rq.methods.emix import emix_loss
from tests.golden_cases import Case, names
from tests.test_encoder import reference_encoder

STEPS = [name for name in names("emix") if "step" in name or "tabular" in name]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_reproduces_the_reference(name: str) -> None:
    case = Case(name)
    encoder = reference_encoder(case, "param/model.")
    inputs = tuple(case[f"input/{i}"] for i in range(len(encoder.inputs)))
    tokens = encoder.embed(inputs)
    torch.testing.assert_close(tokens, case["embed"], atol=1e-5, rtol=1e-5)
    share, partner = case["mix_coeff"], case["randidx"]
    mixed = share * tokens + (1 - share) * tokens.detach()[partner]
    z_mix, z = (encoder.project(encoder.encode(one).pooled) for one in (mixed, tokens))
    torch.testing.assert_close(z_mix, case["z_mix"], atol=1e-5, rtol=1e-5)
    loss = emix_loss(z_mix, z, share, partner, weighting="batch_mean")
    torch.testing.assert_close(loss, case["loss"].reshape(()), atol=1e-5, rtol=1e-5)
    loss.backward()
    stored = case.below("grad/model.")
    found = {dabs_name(ours): parameter.grad for ours, parameter in encoder.named_parameters()}
    assert stored
    for key, expected in stored.items():
        torch.testing.assert_close(found[key], expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "weighting"),
    [("vector", "per_example"), ("broadcast", "batch_mean"), ("scalar", "per_example"), ("scalar", "batch_mean")],
)
def test_both_weightings_reproduce_the_reference(name: str, weighting: str) -> None:
    case = Case(f"emix/objective/{name}")
    z_mix, z = case["z_mix"].requires_grad_(), case["z"].requires_grad_()
    loss = emix_loss(z_mix, z, case["mix_coeff"], case["randidx"], case.settings["temperature"], weighting)
    torch.testing.assert_close(loss, case["loss"].reshape(()), atol=1e-5, rtol=1e-5)


def test_per_example_weighting_is_what_its_definition_says() -> None:
    torch.manual_seed(0)
    z_mix, z = torch.randn(5, 4), torch.randn(5, 4)
    share, partner = torch.rand(5) / 2 + 0.5, torch.tensor([1, 0, 2, 4, 3])
    expected = 0.0
    for i in range(5):
        scores = [float(torch.cosine_similarity(z_mix[i], z[j], dim=0)) / 0.2 for j in range(5)]
        log_sum = float(torch.logsumexp(torch.tensor(scores), 0))
        own, other = log_sum - scores[i], log_sum - scores[int(partner[i])]
        expected += float(share[i]) * own + (1 - float(share[i])) * other
    assert float(emix_loss(z_mix, z, share, partner)) == pytest.approx(expected / 5, abs=1e-5)


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(ValueError, match="per_example, batch_mean"):
        emix_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2), torch.tensor([1, 0]), weighting="mean")
