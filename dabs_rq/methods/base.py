"""What a pretraining method is: a module that turns a batch into a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dabs_rq.encoders.transformer import Encoder
from dabs_rq.errors import OptionError
from dabs_rq.protocol import Protocol
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Input


def choice(default: Any, *values: Any) -> Any:
    """An option of a method that takes one of `values` only (by default perhaps what a protocol says)."""
    return field(default=default, metadata={"values": values, "legal": True})


def number(default: float, *values: float) -> Any:
    """An option that takes any number; `values` are those that an ablation compares."""
    return field(default=default, metadata={"values": values})


def check_choices(options: Any) -> None:
    """Raise OptionError for an option whose value is none of its choices."""
    for one in fields(options):
        value = getattr(options, one.name)
        if one.metadata.get("legal") and value not in one.metadata["values"]:
            known = ", ".join(map(str, one.metadata["values"]))
            raise OptionError(f"method.{one.name} is one of {known}; got {value!r}")


class Batch:
    """One batch as a method sees it: raw `inputs`; their token embeddings and padding mask, made when first asked.
    Where several `ranks` share the work, it is this rank's part of a batch."""

    def __init__(self, inputs: tuple[Tensor, ...], encoder: Encoder, ranks: Ranks | None = None) -> None:
        self.inputs, self.ranks = inputs, ranks or Ranks()
        self._encoder = encoder

    def __len__(self) -> int:
        return len(self.inputs[0])

    @cached_property
    def tokens(self) -> Tensor:
        """(B, S, D), before class token and positions."""
        return self._encoder.embed(self.inputs)

    @cached_property
    def mask(self) -> Tensor | None:
        """bool (B, S), True = real token; None where there is no padding."""
        return self._encoder.mask(self.inputs)


def projections(
    encoder: Encoder, views: Sequence[Tensor], masks: Sequence[Tensor | None], together: bool
) -> list[Tensor]:
    """The projection (B, P) of each of `views` (B, S, D): in one call of the encoder, or one after the other, which
    needs less memory at a time. `masks`: bool (B, S) each, or None for all."""
    if not together:
        return [encoder.project(encoder.encode(*pair).pooled) for pair in zip(views, masks, strict=True)]
    real = [mask for mask in masks if mask is not None]
    pooled = encoder.encode(torch.cat(list(views)), torch.cat(real) if real else None).pooled
    return list(encoder.project(pooled).chunk(len(views)))


class Method(nn.Module):
    """Base of all methods. Modules of its own (predictors, decoders) are trained with the encoder, saved beside it and
    ignored by transfer.

    options: an instance of the method's options. encoder: the encoder to train. inputs: the domain's inputs.
    """

    def __init__(self, options: Any, encoder: Encoder, inputs: tuple[Input, ...]) -> None:
        super().__init__()
        self.options, self.encoder, self.inputs = options, encoder, inputs

    @property
    def trains_embeddings(self) -> bool:
        """Whether the encoder's embedding modules get gradient. All other parameters have to, in every step."""
        return True

    def compile_parts(self) -> None:
        """Compile what takes the time (trainer.compile). Names of tensors stay as they are."""
        for block in self.encoder.blocks:
            block.compile()

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and scalars to log. Every random number comes from `generator` (or is dropout).

        The generator is the same on all ranks: draw through `batch.ranks`, or its examples have the numbers of those on
        other ranks. The loss is the mean over this rank's examples, or over those of all ranks (`batch.ranks.gather`).
        """
        raise NotImplementedError

    def own_state(self) -> dict[str, Tensor]:
        """Tensors of the method that are not the encoder's."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}


def around(spec: MethodSpec, options: Any, encoder: Encoder) -> Method:
    """A method built around the encoder to train; embedding modules that it does not train ask for no gradient."""
    method: Method = spec.build(options, encoder, encoder.inputs)
    if not method.trains_embeddings:
        encoder.embeddings.requires_grad_(False)
    return method


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """One pretraining method: `options` is a dataclass (each field an option `method.<field>`), `build` makes the
    module from (options, encoder, inputs). `trains` is False for a method that only writes the initial encoder."""

    name: str
    title: str
    options: type[Any]
    build: Callable[..., Any]
    trains: bool = True
    protocol: type[Protocol] = Protocol
