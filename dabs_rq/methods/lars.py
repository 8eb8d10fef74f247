"""LARS, the optimizer of MoCo-v3.

timm's and lightly's differ from the reference where a gradient is zero: they skip the weight decay, so that behind
zero-initialised norms (`zero_init_residual`) weights move differently during the warm-up.
Source: You et al., arXiv:1708.03888; moco-v3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates with momentum: p -= lr * mu, where mu = momentum * mu + trust * |p| / |g| * g.

    g is the gradient plus weight decay. The ratio is 1 if either norm is 0. Options of a group: lr, weight_decay,
    momentum, and trust; a group whose trust is None has no ratio.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        trust: float | None = 0.001,
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        if group["trust"] is not None:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
            size, change = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(gradient)
            ratio = torch.where((size > 0) & (change > 0), group["trust"] * size / change, torch.ones_like(size))
            gradient = gradient * ratio
        elif group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].mul_(group["momentum"]).add_(gradient)
        parameter.sub_(state["momentum"] * group["lr"])


def groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Divide parameters as MoCo-v3: those of several dimensions, and the others (biases and norms), which have neither
    weight decay nor a ratio."""
    every = list(parameters)
    matrices = [parameter for parameter in every if parameter.ndim > 1]
    others = [parameter for parameter in every if parameter.ndim <= 1]
    parts = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0, "trust": None},
    ]
    return [part for part in parts if part["params"]]
