"""Full steps of the reference's objectives, from inputs to gradients, and the tolerances of their vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dabs_rq.checkpoint.dabs import dabs_name
from dabs_rq.methods.base import Batch, Method
from tests.golden_cases import Case


def check_step(case: Case, method: Method, names: dict[str, str]) -> None:
    """A step of `method` gives the loss, accuracy and gradients of `case`. names: the reference's names of the method's
    own parameters, by ours."""
    inputs = tuple(case[f"input/{index}"] for index in range(len(method.inputs)))
    generator = torch.Generator().manual_seed(case.settings["torch_seed"])
    loss, logs = method.loss(Batch(inputs, method.encoder), generator)
    close(loss, case["loss"].reshape(()))
    if (accuracy := case.get("acc")) is not None:
        close(logs["accuracy"], accuracy.reshape(()))
    loss.backward()
    found = {f"model.{dabs_name(ours)}": one.grad for ours, one in method.encoder.named_parameters()}
    found |= {theirs: method.get_parameter(ours).grad for ours, theirs in names.items()}
    assert case.below("grad/") and not names.values() - found.keys()
    for key, expected in case.below("grad/").items():
        close_gradient(found[key], expected)
    norms = case.settings["grad_norms"]
    assert norms.keys() == found.keys()
    for key, norm in norms.items():
        gradient = found[key]
        assert (gradient is None) == (norm is None), key
        if gradient is not None:
            assert float(gradient.norm()) == pytest.approx(norm, rel=1e-4, abs=1e-4 * max(filter(None, norms.values())))


def load(module: nn.Module, case: Case, start: str) -> None:
    """Give the module the parameters of the case that begin with `start`."""
    module.load_state_dict(case.below(f"param/{start}"), strict=True)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.detach(), expected, atol=1e-5, rtol=1e-5)


def close_gradient(found: Tensor | None, expected: Tensor) -> None:
    # What is 0 in exact arithmetic, as of a bias that a softmax cancels, is stored as rounding noise.
    torch.testing.assert_close(found, expected, atol=max(1e-6, 1e-4 * float(expected.abs().max())), rtol=1e-4)
