"""CAPRI, contrastive masked prediction: mask some tokens; the encoder's output at a masked token has to single out its
embedding among the embeddings of the others.

Source: Tamkin et al., DABS 2.0 (2022) and its code, where it is called ContpredSystem.
Differs from DABS's code: the softmax is over the candidates (softmax), only masked tokens are predicted (positions),
the targets are constants (detach_targets), similarities are cosines (normalise), padding is no candidate (protocol
option padding_mask), each input has its own masked tokens and candidates (within_inputs), and `symmetric` averages both
directions; in DABS it has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.methods.base import Batch, Method, MethodSpec, choice, number
from dabs_rq.methods.corruption import CorruptionRate, choose, count, draw, flagged, flags, lengths, mean_over, take
from dabs_rq.methods.losses import Temperature
from dabs_rq.protocol import Protocol, option
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Input

Softmax = Literal["predictions", "targets"]
Positions = Literal["all", "masked"]


@dataclass(frozen=True, kw_only=True)
class CAPRIProtocol(Protocol):
    # Normalise over the predictions of a sequence for each target, an axis mixed up, or over the targets.
    capri_softmax: Softmax = option("pretraining", published="predictions", corrected="targets", methods=("capri",))
    # Predict all tokens, also those that the encoder sees, or the masked ones.
    capri_positions: Positions = option("pretraining", published="all", corrected="masked", methods=("capri",))
    # Train the embeddings as targets too, which rewards spreading or shrinking them, or keep targets constant.
    capri_detach_targets: bool = option("pretraining", published=False, corrected=True, methods=("capri",))
    # Compare by dot products, which have no bound, or by cosines.
    capri_normalise: bool = option("pretraining", published=False, corrected=True, methods=("capri",))
    # Draw masked tokens and candidates from all inputs together, or from each input separately.
    capri_within_inputs: bool = option(
        "pretraining", published=False, corrected=True, moves=("vqa",), methods=("capri",)
    )


@dataclass(frozen=True)
class Options:
    """Options of CAPRI.

    corruption_rate: the share of real tokens to mask, rounded up. negatives: the other tokens of the "sequence", or the
    masked tokens of the whole "batch". softmax, positions: with negatives=sequence, normalise over "predictions" or
    "targets", and predict "all" or "masked" tokens; negatives=batch compares masked tokens and normalises over targets.
    detach_targets: keep the targets constant. normalise: compare cosines instead of dot products. symmetric: average
    the losses normalised over targets and over predictions. within_inputs: mask and compare the tokens of each input
    separately. temperature: divides the similarities.
    """

    corruption_rate: CorruptionRate = number(0.15, 0.15, 0.5, 0.75)
    negatives: Literal["sequence", "batch"] = "sequence"
    softmax: Softmax = choice("targets", protocol="capri_softmax")
    positions: Positions = choice("masked", protocol="capri_positions")
    detach_targets: bool = choice(True, protocol="capri_detach_targets")
    normalise: bool = choice(True, protocol="capri_normalise")
    symmetric: bool = False
    within_inputs: bool = choice(True, protocol="capri_within_inputs")
    temperature: Temperature = number(0.07, 0.07, 0.2)


def note(options: Options) -> str:
    """Return the footnote of the column for these options."""
    among = {"sequence": "the same example", "batch": "the batch"}[options.negatives]
    return (
        f"{options.corruption_rate:.0%} of the tokens of an example are masked; their embeddings are told apart from "
        f"those of other tokens of {among}, temperature {options.temperature:g}. No published number of this method is "
        "known."
    )


class CAPRI(Method):
    options: Options
    encoder: Transformer

    def __init__(self, options: Options, encoder: Transformer, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        self.predictor = nn.Linear(encoder.width, encoder.width)
        encoder.head.requires_grad_(False)  # the projection head is not used

    def prepare(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return draw(batch, self.inputs, generator)

    def loss_of(self, batch: Batch, drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tokens, mask = batch.tokens, batch.mask
        parts = lengths(self.inputs, self.options.within_inputs)
        chosen = choose(drawn, self.options.corruption_rate, mask, parts)
        masked = flags(chosen, tokens.shape[1])
        encoded = self.encoder.encode(tokens.masked_fill(masked.unsqueeze(2), 0), mask).tokens
        return self.prediction_loss(encoded, tokens, masked, mask, batch.ranks)

    def prediction_loss(
        self, encoded: Tensor, targets: Tensor, masked: Tensor, mask: Tensor | None = None, ranks: Ranks | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross entropy and the accuracy of telling targets apart by the predictions.

        Shape: encoded (B, 1 + S, D), class token first; targets (B, S, D); masked, mask bool (B, S).
        """
        predictions = self.predictor(encoded[:, 1:])
        targets = targets.detach() if self.options.detach_targets else targets
        if self.options.normalise:
            predictions, targets = F.normalize(predictions, dim=2), F.normalize(targets, dim=2)
        ranks = ranks or Ranks()
        if self.options.negatives == "batch":
            return self._of_batch(predictions, targets, masked, ranks)
        part = self._parts(masked.device)
        candidates = (part[:, None] == part)[None]  # (1 or B, S, S)
        real = torch.ones_like(masked) if mask is None else mask
        if mask is not None:
            candidates = candidates & real[:, None] & real[:, :, None]
        counted = real if self.options.positions == "all" else masked
        axes = (1,) if self.options.softmax == "predictions" else (2,)
        return self._contrast(predictions, targets, candidates, counted, axes, ranks)

    def _of_batch(
        self, predictions: Tensor, targets: Tensor, masked: Tensor, ranks: Ranks
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare the masked tokens of all examples, also of other ranks, as one long sequence."""
        parts = lengths(self.inputs, self.options.within_inputs)
        positions, valid = flagged(masked, sum(count(length, self.options.corruption_rate) for length in parts))
        part = self._parts(masked.device)[positions]
        gathered = ranks.gather(take(predictions, positions), take(targets, positions), valid, part)
        predictions, targets, valid, part = (rows.flatten(0, 1)[None] for rows in gathered)
        candidates = (part[:, None] == part[:, :, None]) & valid[:, None] & valid[:, :, None]
        # Gathered rows are those of all ranks: the mean over them needs no other rank.
        return self._contrast(predictions, targets, candidates, valid, (2,), Ranks())

    def _parts(self, device: torch.device) -> Tensor:
        """Return the number of the part of the sequence in which each token is compared: (S,)."""
        parts = lengths(self.inputs, self.options.within_inputs)
        return torch.cat([torch.full((length,), number, device=device) for number, length in enumerate(parts)])

    def _contrast(
        self,
        predictions: Tensor,
        targets: Tensor,
        candidates: Tensor,
        counted: Tensor,
        axes: tuple[int, ...],
        ranks: Ranks,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Shape: predictions, targets (B, S, D); candidates bool (1 or B, S, S): which targets (last axis) a prediction
        is compared with; counted bool (B, S). axes: those of the softmax, 1 over predictions, 2 over targets."""
        own = torch.eye(counted.shape[1], dtype=torch.bool, device=counted.device)  # so that no row is empty
        similarity = predictions @ targets.transpose(1, 2) / self.options.temperature
        similarity = similarity.masked_fill(~(candidates | own), -torch.inf)
        axes = (1, 2) if self.options.symmetric else axes
        errors = [-similarity.log_softmax(axis).diagonal(dim1=1, dim2=2) for axis in axes]
        index = torch.arange(counted.shape[1], device=counted.device)
        right = (similarity.detach().argmax(2) == index).float()
        return mean_over(torch.stack(errors).mean(0), counted, ranks), {"accuracy": mean_over(right, counted, ranks)}


METHOD = MethodSpec(
    name="capri",
    title="CAPRI",
    order=7,
    options=Options,
    build=CAPRI,
    note=note,
    encoder=Transformer,
    protocol=CAPRIProtocol,
)
