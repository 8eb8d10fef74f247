"""The linear probe of DABS: a linear layer trained with AdamW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from dabs_rq.errors import TrainingError
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Target
from dabs_rq.transfer.features import CachedFeatures, ReencodedFeatures
from dabs_rq.transfer.fitted import Fitted, probe_loss


def fit_adamw(
    batches: CachedFeatures | ReencodedFeatures,
    width: int,
    target: Target,
    outputs: int,
    options: TransferOptions,
    seed: int,
) -> Fitted:
    """Train a linear layer with AdamW for `options.epochs` epochs.

    Raises TrainingError if that makes no optimizer step, or if the loss is not finite.
    """
    if options.epochs * batches.order.per_epoch < 1:
        raise TrainingError(f"the probe would take no optimizer step: transfer.epochs={options.epochs}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, outputs)
    head = head.to(batches.device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    steps, loss = 0, torch.zeros(())
    for epoch in range(options.epochs):
        for features, targets in batches.epoch(epoch):
            loss = probe_loss(target, head(features), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
        if not torch.isfinite(loss):
            raise TrainingError(f"the probe's loss is not finite in epoch {epoch}")
    return Linear(head.cpu(), {"probe": "adamw", "steps": steps, "last_loss": float(loss.detach())})


@dataclass
class Linear:
    """A linear layer as a fitted probe."""

    head: nn.Linear
    about: dict[str, Any]

    @torch.no_grad()
    def outputs(self, features: np.ndarray) -> np.ndarray:
        outputs = self.head(torch.from_numpy(np.array(features))).numpy()
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
