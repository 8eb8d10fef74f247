"""ShED, shuffled embedding detection: shuffle some token embeddings, and classify for every token whether it moved.

Source: Tamkin et al., DABS, arXiv:2111.12062.
Differs from DABS's code: padding never moves and does not count (protocol option padding_mask); a token stays within
its input (within_inputs); at least two tokens move (minimum); a token counts as moved only if its embedding changed
(labels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.methods.base import Batch, Method, MethodSpec, choice, number
from dabs_rq.methods.corruption import Chosen, CorruptionRate, choose, draw, flags, lengths, mean_over, take
from dabs_rq.protocol import Protocol, option
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Input

Labels = Literal["chosen", "changed"]


@dataclass(frozen=True, kw_only=True)
class ShEDProtocol(Protocol):
    # Label every chosen token as moved, or only those whose embedding is another one afterwards.
    shed_labels: Labels = option("pretraining", published="chosen", corrected="changed", methods=("shed",))
    # The fewest tokens to shuffle: one alone has nowhere to go.
    shed_minimum: Literal[1, 2] = option("pretraining", published=1, corrected=2, methods=("shed",))
    # Exchange tokens of different inputs, patches with words, or not.
    shed_within_inputs: bool = option("pretraining", published=False, corrected=True, moves=("vqa",), methods=("shed",))


@dataclass(frozen=True)
class Options:
    """Options of ShED.

    corruption_rate: the share of real tokens to shuffle, rounded up. minimum: the fewest tokens to shuffle. labels: a
    token counts as moved if it was "chosen", or only if its embedding "changed" (equal tokens may be exchanged).
    within_inputs: shuffle the tokens of each input separately.
    """

    corruption_rate: CorruptionRate = number(0.15, 0.15, 0.3, 0.5)
    minimum: Literal[1, 2] = choice(2, protocol="shed_minimum")
    labels: Labels = choice("changed", protocol="shed_labels")
    within_inputs: bool = choice(True, protocol="shed_within_inputs")


def note(options: Options) -> str:
    """Return the footnote of the column for these options."""
    return (
        f"{options.corruption_rate:.0%} of the token embeddings of an example are shuffled; the encoder's output at "
        "every token says whether it moved. The rate behind the published numbers is not known."
    )


def shuffle(tokens: Tensor, chosen: Sequence[Chosen]) -> Tensor:
    """Move the token at each chosen position to the next one of the same part, and the last to the first.

    Shape: tokens (B, S, D) -> (B, S, D).
    """
    source = torch.arange(tokens.shape[1], device=tokens.device).repeat(len(tokens), 1)
    for positions, valid in chosen:
        rank = torch.arange(positions.shape[1], device=tokens.device)
        last = (valid.sum(1, keepdim=True) - 1).clamp(min=0)
        previous = take(positions, torch.where(rank == 0, last, rank - 1))
        source = source.scatter(1, positions, torch.where(valid, previous, positions))
    return take(tokens, source)


class ShED(Method):
    options: Options
    encoder: Transformer

    def __init__(self, options: Options, encoder: Transformer, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        self.predictor = nn.Linear(encoder.width, 2)
        encoder.head.requires_grad_(False)  # the projection head is not used

    def prepare(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return draw(batch, self.inputs, generator)

    def loss_of(self, batch: Batch, drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        options, tokens, mask = self.options, batch.tokens, batch.mask
        parts = lengths(self.inputs, options.within_inputs)
        chosen = choose(drawn, options.corruption_rate, mask, parts, options.minimum)
        shuffled = shuffle(tokens, chosen)
        moved = flags(chosen, tokens.shape[1]) if options.labels == "chosen" else (shuffled != tokens).any(2)
        return self.detection_loss(self.encoder.encode(shuffled, mask).tokens, moved, mask, batch.ranks)

    def detection_loss(
        self, encoded: Tensor, moved: Tensor, mask: Tensor | None = None, ranks: Ranks | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross entropy and the accuracy of classifying whether each real token moved.

        Shape: encoded (B, 1 + S, D), class token first; moved, mask bool (B, S).
        """
        logits, ranks = self.predictor(encoded[:, 1:]), ranks or Ranks()
        counted = torch.ones_like(moved) if mask is None else mask
        errors = F.cross_entropy(logits.transpose(1, 2), moved.long(), reduction="none")
        right = (logits.detach().argmax(2) == moved.long()).float()
        return mean_over(errors, counted, ranks), {"accuracy": mean_over(right, counted, ranks)}


METHOD = MethodSpec(
    name="shed",
    title="ShED",
    order=5,
    options=Options,
    build=ShED,
    note=note,
    encoder=Transformer,
    protocol=ShEDProtocol,
)
