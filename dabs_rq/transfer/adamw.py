"""The linear probe of DABS: a linear layer trained with AdamW."""

from __future__ import annotations

import torch
from torch import nn

from dabs_rq.errors import TrainingError
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Target
from dabs_rq.transfer.features import CachedFeatures, ReencodedFeatures
from dabs_rq.transfer.fitted import Fitted
from dabs_rq.transfer.linear import Linear, train_epoch


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
        taken, loss = train_epoch(head, optimizer, target, batches.epoch(epoch))
        steps += taken
        if not torch.isfinite(loss):
            raise TrainingError(f"the probe's loss is not finite in epoch {epoch}")
    return Linear(head.cpu(), {"probe": "adamw", "steps": steps, "last_loss": float(loss.detach())})
