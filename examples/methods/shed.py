"""ShED, shuffled embedding detection: some token embeddings change places; every token is to say whether it did.

Source: Tamkin et al., DABS, arXiv:2111.12062.
Differs from DABS's code: where padding is kept out (protocol option padding_mask) it neither moves nor counts, tokens
stay within their input, and a token that was chosen alone, and so stayed where it was, is not called moved.
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
    """corruption_rate: the share of tokens that is chosen to change places. within_inputs: a token moves to places of
    its own input only (DABS lets patches and words change places)."""

    corruption_rate: Annotated[float, Interval(gt=0, le=1)] = number(0.15, 0.15, 0.3, 0.5)
    within_inputs: bool = choice(True, protocol="padding_mask")


def shuffle(tokens: Tensor, u: Tensor, corruption_rate: float, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Chosen tokens move on by one place, in a circle through all of the example that are chosen.

    Shape: tokens (B, S, D); u (B, S) uniform draws in [0, 1), of which the largest are chosen, at their rate of the
        real tokens, rounded up; mask bool (B, S), True = real token, None where all are.
    Returns the tokens (B, S, D) in their new places, and bool (B, S), True where a token was chosen; with a mask, where
        another one came.
    """
    sequence = tokens.shape[1]
    counts = torch.tensor([math.ceil(real * corruption_rate) for real in range(sequence + 1)], device=tokens.device)
    if mask is None:
        count = counts[-1]
    else:
        u = u.masked_fill(~mask, -1.0)
        count = counts[mask.sum(1, keepdim=True)]
    order = u.argsort(dim=1, descending=True, stable=True)  # (B, S): the places, those that are chosen first
    rank = torch.arange(sequence, device=tokens.device).expand_as(order)
    chosen = rank < count
    before = torch.where(chosen, torch.where(rank == 0, count - 1, rank - 1), rank)
    comes_from = torch.empty_like(order).scatter_(1, order, order.gather(1, before))
    shuffled = tokens.gather(1, comes_from.unsqueeze(2).expand_as(tokens))
    if mask is not None:
        return shuffled, comes_from != rank
    return shuffled, torch.empty_like(chosen).scatter_(1, order, chosen)


class Shed(Method):
    options: Options

    def __init__(self, options: Options, encoder: Transformer, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        self.predictor = nn.Linear(encoder.width, 2)
        encoder.head.requires_grad_(False)  # the projection head takes no part

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        tokens, mask = batch.tokens, batch.mask
        u = batch.ranks.rand(tokens.shape[0] * tokens.shape[1], generator).view(tokens.shape[:2]).to(tokens.device)
        lengths = [spec.sequence_length for spec in self.inputs] if self.options.within_inputs else [tokens.shape[1]]
        masks = [None] * len(lengths) if mask is None else mask.split(lengths, dim=1)
        parts = zip(tokens.split(lengths, dim=1), u.split(lengths, dim=1), masks, strict=True)
        moved = [shuffle(part, draws, self.options.corruption_rate, real) for part, draws, real in parts]
        shuffled, is_moved = (torch.cat(part, dim=1) for part in zip(*moved, strict=True))
        return self.detection_loss(self.encoder.encode(shuffled, mask).tokens, is_moved, mask)

    def detection_loss(
        self, encoded: Tensor, is_moved: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross entropy and accuracy of "moved or not" over all real tokens. encoded: (B, 1 + S, D), class token
        first; is_moved, mask: (B, S)."""
        logits, target = self.predictor(encoded[:, 1:]), is_moved.long()
        if mask is not None:
            logits, target = logits[mask], target[mask]
        logits, target = logits.reshape(-1, 2), target.flatten()
        return F.cross_entropy(logits, target), {"accuracy": (logits.detach().argmax(1) == target).float().mean()}


METHOD = MethodSpec(name="shed", title="ShED", options=Options, build=Shed, encoder=Transformer)
