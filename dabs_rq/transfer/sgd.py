"""The linear probe of MoCo-v3: a linear layer trained with SGD on features of the frozen encoder in eval mode.

Source: moco-v3's linear evaluation. The score is that of the last epoch; the best is noted beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dabs_rq.data.batches import Order, loader, mix_seeds
from dabs_rq.data.crops import Crops
from dabs_rq.data.examples import Examples
from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.errors import OptionError, TrainingError
from dabs_rq.methods.views import Recipe, pairs, view
from dabs_rq.metrics.accuracy import accuracy
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Grid, Multiclass, Target
from dabs_rq.transfer.fitted import Fitted
from dabs_rq.transfer.linear import Linear, train_epoch

SCALED_TO = 256  # transfer.lr is the rate of a batch of this size
LEAST = 0.08  # of a picture's area that a crop has
VIEW = Recipe(crop=LEAST, flip=0.5)


class Batches(Protocol):
    """Batches of (features, targets) by epoch; the last of an epoch may be smaller."""

    order: Order
    device: torch.device

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]: ...


class ViewedFeatures:
    """Features of views that are drawn anew in every epoch: random resized crops of at least 8 % of the area, flipped
    or not.

    side: of a view, in pixels; 0 for that of the input. whole: opens the whole picture of a file, which is cropped in
    place of the input.
    """

    def __init__(
        self,
        encoder: Encoder,
        examples: Examples,
        batch_size: int,
        seed: int,
        side: int,
        workers: int,
        device: torch.device,
        whole: Callable[[Path], Image.Image] | None = None,
    ) -> None:
        if len(encoder.inputs) != 1 or not isinstance(encoder.inputs[0], Grid):
            raise OptionError("transfer.views=crop_flip crops pictures, and this domain has other inputs: give none")
        self.encoder, self.device = encoder.to(device), device
        self.order = Order(len(examples), batch_size, seed, keep_last=True)
        self.side, self.seed, self.workers = side or encoder.inputs[0].height, seed, workers
        self.examples = examples if whole is None else examples.cropped(Crops(1, self.side, LEAST), whole)

    @torch.no_grad()
    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        self.encoder.eval()
        generator = torch.Generator(self.device).manual_seed(mix_seeds(self.seed, epoch))
        batches: Any = self.order.epoch(epoch)
        for inputs, targets, _ in loader(self.examples, batches, seed=self.seed, workers=self.workers):
            ((images, recipe),) = pairs(to_model_input(inputs[0].to(self.device)), (VIEW,))
            made = view(images, recipe, self.side, self._draw(len(images), generator))
            yield self.encoder.features((made,)), targets.to(self.device)

    def _draw(self, rows: int, generator: torch.Generator) -> Any:
        return lambda count: torch.rand(count, rows, generator=generator, device=self.device)


def rate(epoch: int, epochs: int) -> float:
    """The learning rate of an epoch as a share of the highest: half a cosine, constant within an epoch."""
    return (1 + math.cos(math.pi * epoch / epochs)) / 2


def fit_sgd(
    batches: Batches,
    width: int,
    target: Target,
    outputs: int,
    options: TransferOptions,
    seed: int,
    test: tuple[np.ndarray, np.ndarray],
) -> Fitted:
    """Train a linear layer with SGD for `options.epochs` epochs. test: features and targets of the test split, to note
    the best epoch; it changes nothing.

    Raises TrainingError if the loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, outputs)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
    head = head.to(batches.device)
    highest = options.lr * batches.order.batch_size / SCALED_TO
    optimizer = torch.optim.SGD(head.parameters(), lr=highest, momentum=0.9, weight_decay=options.weight_decay)
    steps, loss, scores = 0, torch.zeros(()), []
    for epoch in range(options.epochs):
        for group in optimizer.param_groups:
            group["lr"] = highest * rate(epoch, options.epochs)
        taken, loss = train_epoch(head, optimizer, target, batches.epoch(epoch))
        steps += taken
        if not torch.isfinite(loss):
            raise TrainingError(f"the probe's loss is not finite in epoch {epoch}: try a lower transfer.lr")
        if isinstance(target, Multiclass):
            scores.append(_accuracy(head, test, batches.device))
    about: dict[str, Any] = {"probe": "sgd", "steps": steps, "last_loss": float(loss.detach())}
    if scores:
        best = int(np.argmax(scores))
        about |= {"last_accuracy": scores[-1], "best_accuracy": scores[best], "best_epoch": best + 1}
    return Linear(head.cpu(), about)


@torch.no_grad()
def _accuracy(head: nn.Linear, test: tuple[np.ndarray, np.ndarray], device: torch.device) -> float:
    features, targets = test
    return accuracy(head(torch.from_numpy(np.array(features)).to(device)).cpu().numpy(), targets)
