"""MAE, masked autoencoding: mask some tokens and predict what stood there, patches and numbers by their values, ids by
a softmax.

Source: Tamkin et al., DABS 2.0 (2022) and its code: masked embeddings are 0, every position is encoded, and there is no
decoder (encode="all"). encode="visible" is the form of He et al., arXiv:2111.06377: only visible tokens are encoded,
and a small decoder predicts the others.
Differs from DABS's code: padding is never masked (protocol option padding_mask); each input has its own masked tokens
(within_inputs) and predictor. DABS's code has no target for speech, sensors and tables; here every input has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders.embed import patches
from dabs_rq.encoders.transformer import Block, Transformer, with_class_token
from dabs_rq.errors import NotServedError, OptionError
from dabs_rq.methods.base import Batch, Method, MethodSpec, choice, number
from dabs_rq.methods.corruption import CorruptionRate, choose, count, draw, flagged, flags, lengths, mean_over, take
from dabs_rq.protocol import Protocol, option
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Input, Tokens


@dataclass(frozen=True, kw_only=True)
class MAEProtocol(Protocol):
    # Draw the masked tokens of all inputs together, or of each input separately.
    mae_within_inputs: bool = option("pretraining", published=False, corrected=True, moves=("vqa",), methods=("mae",))


@dataclass(frozen=True)
class Options:
    """Options of MAE. Those of He et al.: encode=visible, corruption_rate=0.75, loss=mse, normalise_targets=true.

    corruption_rate: the share of real tokens to mask, rounded up. encode: encode "all" positions, masked embeddings as
    0, or the "visible" tokens only, followed by a decoder of `decoder_depth` blocks. loss: of a patch, the "norm" of
    its error (of a single number the absolute error) or the mean square "mse"; ids have the cross entropy.
    normalise_targets: predict each patch with its own mean and standard deviation taken out. within_inputs: choose the
    masked tokens of each input separately.
    """

    corruption_rate: CorruptionRate = number(0.15, 0.15, 0.5, 0.75)
    encode: Literal["all", "visible"] = "all"
    decoder_depth: Annotated[int, Interval(ge=1, le=1000)] = 2
    loss: Literal["norm", "mse"] = "norm"
    normalise_targets: bool = False
    within_inputs: bool = choice(True, protocol="mae_within_inputs")


def note(options: Options) -> str:
    """Return the footnote of the column for these options."""
    form = {
        "all": "they are 0 and all positions are encoded, without a decoder, as in DABS 2.0",
        "visible": f"the others alone are encoded, and a decoder of {options.decoder_depth} blocks predicts these",
    }
    return (
        f"{options.corruption_rate:.0%} of the tokens of an example are masked: {form[options.encode]}. DABS's own "
        "code has no target for speech, sensors and tables; no published number of this method is known."
    )


class Decoder(nn.Module):
    """Predicts the outputs of all positions from the encoded visible tokens; mask tokens stand for the others.

    Shape: encoded (B, 1 + K, D), class token first; kept (B, K), the positions of the visible tokens; mask bool (B, S),
        True = real token -> (B, S, D).
    """

    def __init__(self, encoder: Transformer, depth: int) -> None:
        super().__init__()
        width = encoder.width
        self.embedding = nn.Linear(width, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, encoder.positions.shape[1], width))
        sizes = (width, encoder.heads, encoder.head_width, 2 * width, encoder.dropout.p)
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, encoded: Tensor, kept: Tensor, mask: Tensor | None) -> Tensor:
        x = self.embedding(encoded).to(self.positions.dtype)
        sequence, width = self.positions.shape[1] - 1, x.shape[2]
        visible = kept.unsqueeze(2).expand(-1, -1, width)
        tokens = self.mask_token.expand(len(x), sequence, width).scatter(1, visible, x[:, 1:])
        x = torch.cat([x[:, :1], tokens], dim=1) + self.positions
        if mask is not None:
            mask = with_class_token(mask)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)[:, 1:]


class MAE(Method):
    options: Options
    encoder: Transformer

    def __init__(self, options: Options, encoder: Transformer, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        visible = options.encode == "visible"
        # One per real-valued input, by its number; ids are predicted with their own embeddings.
        self.predictors = nn.ModuleDict(
            {
                str(index): nn.Sequential(
                    nn.Identity() if visible else nn.ReLU(), nn.Linear(encoder.width, spec.patch_values)
                )
                for index, spec in enumerate(inputs)
                if not isinstance(spec, Tokens)
            }
        )
        self.decoder = Decoder(encoder, options.decoder_depth) if visible else None
        encoder.head.requires_grad_(False)  # the projection head is not used

    def compile_parts(self) -> None:
        super().compile_parts()
        for block in self.decoder.blocks if self.decoder else ():
            block.compile()

    def prepare(self, batch: Batch, generator: torch.Generator) -> Tensor:
        return draw(batch, self.inputs, generator)

    def loss_of(self, batch: Batch, drawn: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tokens, mask = batch.tokens, batch.mask
        parts = lengths(self.inputs, self.options.within_inputs)
        chosen = choose(drawn, self.options.corruption_rate, mask, parts)
        masked = flags(chosen, tokens.shape[1])
        if self.decoder is None:
            corrupted = tokens.masked_fill(masked.unsqueeze(2), 0)
            predicted = self.encoder.encode(corrupted, mask).tokens[:, 1:]
        else:
            kept = self._visible(masked, mask)
            predicted = self.decoder(self.encoder.encode(tokens, mask, kept).tokens, kept, mask)
        return self.reconstruction_loss(predicted, masked, batch.inputs, batch.ranks)

    def _visible(self, masked: Tensor, mask: Tensor | None) -> Tensor:
        """Return the positions (B, K) of the visible tokens, of short texts filled up with padding."""
        order = 2 * masked.long() if mask is None else 2 * masked.long() + (~mask).long()
        return order.argsort(dim=1, stable=True)[:, : visible_count(self.options, self.inputs)]

    def reconstruction_loss(
        self, predicted: Tensor, masked: Tensor, inputs: Sequence[Tensor], ranks: Ranks | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean over inputs of the mean error of their masked tokens, and the accuracy of masked ids.

        Shape: predicted (B, S, D); masked bool (B, S); inputs: raw, each (B, *shape).
        """
        each = [spec.sequence_length for spec in self.inputs]
        options, ranks = self.options, ranks or Ranks()
        losses, logs = [], {}
        outputs, flags_of_inputs = predicted.split(each, dim=1), masked.split(each, dim=1)
        for index, (spec, raw) in enumerate(zip(self.inputs, inputs, strict=True)):
            length, suffix = spec.sequence_length, f"_{spec.name}" if len(each) > 1 else ""
            most = count(length if options.within_inputs else sum(each), options.corruption_rate)
            positions, valid = flagged(flags_of_inputs[index], min(most, length))
            output = take(outputs[index], positions)
            if isinstance(spec, Tokens):
                logits, ids = output @ self._table(index).T, take(raw, positions)
                errors = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view_as(ids)
                logs[f"accuracy{suffix}"] = mean_over((logits.detach().argmax(2) == ids).float(), valid, ranks)
            else:
                errors = self._error(self.predictors[str(index)](output), take(patches(raw, spec), positions))
            losses.append(mean_over(errors, valid, ranks))
            if suffix:
                logs[f"loss{suffix}"] = losses[-1].detach()
        return torch.stack(losses).mean(), logs

    def _table(self, index: int) -> Tensor:
        """Return the embeddings (vocabulary, D) of the ids of an input."""
        return self.encoder.get_parameter(f"embeddings.{index}.table")

    def _error(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the error (B, K) of patches (B, K, values)."""
        if self.options.normalise_targets:
            variance, mean = torch.var_mean(target, dim=2, keepdim=True, correction=0)
            target = (target - mean) / (variance + 1e-6).sqrt()
        difference = predicted - target
        if self.options.loss == "mse":
            return difference.square().mean(2)
        return torch.linalg.vector_norm(difference, dim=2)


def visible_count(options: Options, inputs: Sequence[Input]) -> int:
    """Return the number of tokens that are visible in an example without padding; with padding, no more are."""
    parts = lengths(inputs, options.within_inputs)
    return sum(length - count(length, options.corruption_rate) for length in parts)


def _single_values(spec: Input) -> bool:
    return not isinstance(spec, Tokens) and spec.patch_values == 1


def build(options: Options, encoder: Transformer, inputs: tuple[Input, ...]) -> MAE:
    if options.normalise_targets and (single := [spec.name for spec in inputs if _single_values(spec)]):
        raise NotServedError(
            f"method.normalise_targets=true leaves nothing to predict of {', '.join(single)}, whose tokens are single "
            "numbers: without their mean they are 0"
        )
    if options.encode == "visible" and not visible_count(options, inputs):
        sequence = sum(spec.sequence_length for spec in inputs)
        raise OptionError(
            f"method.encode=visible needs a visible token, but method.corruption_rate={options.corruption_rate:g} "
            f"masks all {sequence} tokens of {', '.join(spec.name for spec in inputs)}. Lower the rate"
        )
    return MAE(options, encoder, inputs)


METHOD = MethodSpec(
    name="mae",
    title="MAE",
    order=6,
    options=Options,
    build=build,
    note=note,
    encoder=Transformer,
    protocol=MAEProtocol,
)
