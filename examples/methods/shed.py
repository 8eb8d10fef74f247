"""ShED, shuffled embedding detection: shuffle some token embeddings, and classify for every token whether it moved.

Source: Tamkin et al., DABS, arXiv:2111.12062.
Differs from DABS's code under the protocol option padding_mask=true: padding never moves and does not count, tokens
stay within their input, and a token that was selected alone, and therefore did not move, is not labelled as moved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.methods.base import Batch, Method, MethodSpec, choice, number
from dabs_rq.spec import Input


@dataclass(frozen=True)
class Options:
    """corruption_rate: the share of tokens to shuffle. within_inputs: shuffle the tokens of each input separately (DABS
    also exchanges patches with words)."""

    corruption_rate: Annotated[float, Interval(gt=0, le=1)] = number(0.15, 0.15, 0.3, 0.5)
    within_inputs: bool = choice(True, protocol="padding_mask")


def shuffle(tokens: Tensor, u: Tensor, corruption_rate: float, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Move each selected token of an example to the position of the next selected one, cyclically.

    Shape: tokens (B, S, D); u (B, S), uniform draws in [0, 1): the tokens with the largest draws are selected, as many
        as corruption_rate times the number of real tokens, rounded up; mask bool (B, S), True = real token, None if all
        are real.
    Returns the shuffled tokens (B, S, D), and bool (B, S): True where a token was selected or, with a mask, where the
        token changed.
    """
    sequence = tokens.shape[1]
    counts = torch.tensor([math.ceil(real * corruption_rate) for real in range(sequence + 1)], device=tokens.device)
    if mask is None:
        count = counts[-1]
    else:
        u = u.masked_fill(~mask, -1.0)
        count = counts[mask.sum(1, keepdim=True)]
    order = u.argsort(dim=1, descending=True, stable=True)  # (B, S): positions, the selected ones first
    rank = torch.arange(sequence, device=tokens.device).expand_as(order)
    selected = rank < count
    previous = torch.where(selected, torch.where(rank == 0, count - 1, rank - 1), rank)
    source = torch.empty_like(order).scatter_(1, order, order.gather(1, previous))  # where each position's token was
    shuffled = tokens.gather(1, source.unsqueeze(2).expand_as(tokens))
    if mask is not None:
        return shuffled, source != rank
    return shuffled, torch.empty_like(selected).scatter_(1, order, selected)


class Shed(Method):
    options: Options

    def __init__(self, options: Options, encoder: Transformer, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        self.predictor = nn.Linear(encoder.width, 2)
        encoder.head.requires_grad_(False)  # the projection head is not used

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        tokens, mask = batch.tokens, batch.mask
        u = batch.ranks.rand(tokens.shape[0] * tokens.shape[1], generator).view(tokens.shape[:2]).to(tokens.device)
        lengths = [spec.sequence_length for spec in self.inputs] if self.options.within_inputs else [tokens.shape[1]]
        masks = [None] * len(lengths) if mask is None else mask.split(lengths, dim=1)
        inputs = zip(tokens.split(lengths, dim=1), u.split(lengths, dim=1), masks, strict=True)
        rate = self.options.corruption_rate
        pairs = [shuffle(part, draws, rate, part_mask) for part, draws, part_mask in inputs]
        shuffled, is_moved = (torch.cat(parts, dim=1) for parts in zip(*pairs, strict=True))
        return self.detection_loss(self.encoder.encode(shuffled, mask).tokens, is_moved, mask)

    def detection_loss(
        self, encoded: Tensor, is_moved: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross entropy and the accuracy of classifying whether each real token moved.

        Shape: encoded (B, 1 + S, D), class token first; is_moved, mask (B, S)."""
        logits, target = self.predictor(encoded[:, 1:]), is_moved.long()
        if mask is not None:
            logits, target = logits[mask], target[mask]
        logits, target = logits.reshape(-1, 2), target.flatten()
        return F.cross_entropy(logits, target), {"accuracy": (logits.detach().argmax(1) == target).float().mean()}


METHOD = MethodSpec(name="shed", title="ShED", options=Options, build=Shed, encoder=Transformer)
