"""A linear layer as a probe, and one epoch of its training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dabs_rq.spec import Target
from dabs_rq.transfer.fitted import probe_loss


@dataclass
class Linear:
    """A linear layer as a fitted probe."""

    head: nn.Linear
    about: dict[str, Any]

    @torch.no_grad()
    def outputs(self, features: np.ndarray) -> np.ndarray:
        outputs = self.head(torch.from_numpy(np.array(features))).numpy()
        return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def train_epoch(
    head: nn.Linear, optimizer: torch.optim.Optimizer, target: Target, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[int, Tensor]:
    """Take an optimizer step for each batch of (features, targets). Returns the number of steps and the last loss."""
    steps, loss = 0, torch.zeros(())
    for features, targets in batches:
        loss = probe_loss(target, head(features), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return steps, loss
