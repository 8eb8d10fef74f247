"""What an encoder is: a network that turns the raw inputs of a domain into one feature per example.

An `Encoder` has features, which is all that transfer needs. A `TokenEncoder` also has token embeddings, which the
methods of this project mix, quantize or drop. One file per encoder, `encoders/<name>.py`, exports ENCODER.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dabs_rq.spec import Input


class Encoded(NamedTuple):
    """tokens: (B, 1 + S, width), class token first. pooled: (B, width), the feature that transfer uses."""

    tokens: Tensor
    pooled: Tensor


class Encoder(nn.Module, abc.ABC):
    """Any network that turns raw inputs into features.

    inputs: the inputs of the domain that the network takes. mask_padding: whether padding is left out; False treats
    padding as data, as DABS does. An encoder without padding ignores it.
    """

    inputs: tuple[Input, ...]
    mask_padding: bool = True

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """The width of a feature."""

    @property
    @abc.abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Everything that changes a feature and that neither the weights nor the inputs say, as JSON can hold it:
        heads, pooling, masking, normalisation. It is part of the key of cached features and of every checkpoint."""

    @abc.abstractmethod
    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Features (B, width) of raw inputs, one tensor (B, *shape) for each of `self.inputs`."""

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.features(inputs)

    def compile_parts(self) -> None:
        """Compile the modules that take the time (trainer.compile), in place. Names of tensors must stay the same."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")


class TokenEncoder(Encoder):
    """An encoder of token embeddings, which a method may change before they are encoded.

    embeddings: the modules that `embed` uses. They are frozen for a method that does not train them.
    """

    embeddings: nn.Module

    @abc.abstractmethod
    def embed(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Token embeddings (B, S, D) of raw inputs, without class token and positions."""

    @abc.abstractmethod
    def mask(self, inputs: tuple[Tensor, ...]) -> Tensor | None:
        """bool (B, S), True = real token; None where there is no padding, or where padding counts as a token."""

    @abc.abstractmethod
    def encode(self, tokens: Tensor, mask: Tensor | None = None, kept: Tensor | None = None) -> Encoded:
        """Encode token embeddings (B, S, D). The class token is always real.

        mask: bool (B, S), True = real token. kept: int64 (B, K), the positions in [0, S) of the tokens to encode; the
        others are dropped. The result then has tokens (B, 1 + K, D), in the order of `kept`.
        """

    @abc.abstractmethod
    def project(self, pooled: Tensor) -> Tensor:
        """Projection (B, P) of pooled features (B, D), which contrastive losses compare."""

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.encode(self.embed(inputs), self.mask(inputs)).pooled

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The projection (B, P)."""
        return self.project(self.features(inputs))


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """One encoder. options: a frozen dataclass, each field an option `encoder.<field>`; build: makes the network from
    (options, inputs, mask_padding)."""

    name: str
    title: str
    options: type[Any]
    build: Callable[[Any, tuple[Input, ...], bool], Encoder]
