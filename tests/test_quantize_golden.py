"""The quantizer against the reference implementation's outputs, bins and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dabs_rq.quantize import randomized_quantization
from tests import quick
from tests.golden_cases import Case, names


def _options(case: Case) -> dict[str, Any]:
    settings = case.settings
    return {
        "bins": settings["region_num"],
        "channel_dim": _channel(case),
        "spacing": settings["spacing"],
        "collapse": settings["collapse_to_val"],
        "p": settings["p_random_apply"],
    }


def _channel(case: Case) -> int:
    return 0 if case.settings["transforms_like"] else 2 if case.settings["file"] == "rq/embedding.npz" else 1


def _draws(case: Case) -> tuple[torch.Tensor | None, ...]:
    return case.get("u_edges"), case.get("u_values"), case.get("u_apply")


@pytest.mark.parametrize("name", names("rq"))
def test_outputs_bins_and_gradients_equal_the_reference_given_its_draws(name: str) -> None:
    case = Case(name)
    x = case["input/x"].requires_grad_()
    out, regions = randomized_quantization(x, **_options(case), draws=_draws(case), return_regions=True)
    torch.testing.assert_close(out, case["out"], atol=1e-6, rtol=1e-6)
    assert torch.equal(regions, case["region_id"])
    (out * case["input/w"]).sum().backward()
    assert x.grad is not None
    _assert_same_gradient(x.grad, case["grad"], x.detach(), case)


@pytest.mark.parametrize("name", names("rq"))
def test_equals_the_reference_given_its_generator_stream(name: str) -> None:
    case = Case(name)
    generator = torch.Generator().manual_seed(case.settings["torch_seed"])
    out = randomized_quantization(case["input/x"], **_options(case), generator=generator)
    torch.testing.assert_close(out, case["out"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", quick.others_slow(names("rq")[::4], names("rq")[::16]))
def test_what_follows_the_draws_compiles_to_one_graph(name: str) -> None:
    case = Case(name)
    torch._dynamo.reset()
    compiled = torch.compile(randomized_quantization, fullgraph=True, backend="aot_eager")
    out = compiled(case["input/x"], **_options(case), draws=_draws(case))
    torch.testing.assert_close(out, case["out"], atol=1e-6, rtol=1e-6)


def _assert_same_gradient(found: torch.Tensor, expected: torch.Tensor, x: torch.Tensor, case: Case) -> None:
    """Equal entries, except that tied extremes may share what the reference gives to the first of them."""
    channel = _channel(case)
    batch = 0 if case.settings["transforms_like"] else 1

    def rows(tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.movedim(channel, batch)
        return moved.reshape(-1, moved[0].numel() if batch == 0 else moved[0, 0].numel())

    scale = expected.abs().max()
    for values, ours, theirs in zip(rows(x), rows(found), rows(expected), strict=True):
        for value in values.unique():
            tied = values == value
            torch.testing.assert_close(ours[tied].sum() / scale, theirs[tied].sum() / scale, atol=1e-4, rtol=0)
