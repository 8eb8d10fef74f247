"""The interface of encoders: networks that compute one feature per example from the raw inputs of a domain.

An `Encoder` computes features, which is all that transfer needs. A `TokenEncoder` also exposes token embeddings, which
the methods of this project mix, quantize or drop. Each file `encoders/<name>.py` exports ENCODER.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dabs_rq.errors import OptionError
from dabs_rq.spec import Input
from dabs_rq.typed import check_declared


class Encoded(NamedTuple):
    """The output of `TokenEncoder.encode`.

    Shape: tokens (B, 1 + S, D), class token first; pooled (B, D), the feature that transfer uses.
    """

    tokens: Tensor
    pooled: Tensor


class Encoder(nn.Module, abc.ABC):
    """A network that computes features from raw inputs.

    inputs: the domain's inputs that the network takes. mask_padding: True ignores padding; False treats it as data, as
    DABS does. Encoders of inputs without padding ignore this attribute.
    """

    inputs: tuple[Input, ...]
    mask_padding: bool = True
    gives_token_features: bool = False  # True: it has `token_features` too
    identified: bool = True  # False: neither weights nor a key say whether it is the same network as before

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """The dimension of a feature."""

    @property
    @abc.abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Everything, JSON-able, that affects a feature besides the weights and the inputs: heads, pooling, masking,
        normalisation. It is part of the feature cache's key and of every checkpoint."""

    @abc.abstractmethod
    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Compute features (B, width) from raw inputs, one tensor (B, *shape) per input in `self.inputs`."""

    def token_features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Compute a feature of each token, (B, S, width), without a class token; only if `gives_token_features`."""
        raise NotImplementedError(f"{type(self).__name__} has no features of single tokens")

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.features(inputs)

    def compile_parts(self) -> None:
        """Compile the expensive modules in place (trainer.compile=true). Names of tensors must stay the same."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")


class TokenEncoder(Encoder):
    """An encoder whose token embeddings a method may change before they are encoded.

    embeddings: the modules that `embed` uses, one child per input in their order. Those that the method does not train
    are frozen.
    """

    embeddings: nn.Module
    gives_token_features = True

    @abc.abstractmethod
    def embed(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Compute token embeddings (B, S, D) of raw inputs, without class token and positions."""

    @abc.abstractmethod
    def mask(self, inputs: tuple[Tensor, ...]) -> Tensor | None:
        """Return the mask, bool (B, S), True = real token; None if there is no padding or padding counts as tokens."""

    @abc.abstractmethod
    def encode(self, tokens: Tensor, mask: Tensor | None = None, kept: Tensor | None = None) -> Encoded:
        """Encode token embeddings (B, S, D). The class token is always real.

        mask: bool (B, S), True = real token. kept: int64 (B, K), the positions in [0, S) of the tokens to encode; all
        other tokens are dropped, and the result has tokens (B, 1 + K, D), in the order of `kept`.
        """

    @abc.abstractmethod
    def project(self, pooled: Tensor) -> Tensor:
        """Project pooled features (B, D) to (B, P), for contrastive losses."""

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.encode(self.embed(inputs), self.mask(inputs)).pooled

    def token_features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.encode(self.embed(inputs), self.mask(inputs)).tokens[:, 1:]

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Compute the projection (B, P)."""
        return self.project(self.features(inputs))


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Declares an encoder.

    options: a frozen dataclass; each field is an option `encoder.<field>`. build: makes the network from (options,
    inputs, mask_padding).
    pretrained: whether `build` returns a network with its final weights, which is scored as it is; no method trains it.
    domains: the names of the only domains that it serves; None for all. size: the height and width in pixels of the
    pictures that a pretrained network gets; None for those of the scale.
    """

    name: str
    title: str
    options: type[Any]
    build: Callable[[Any, tuple[Input, ...], bool], Encoder]
    pretrained: bool = False
    domains: tuple[str, ...] | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        check_declared(f"encoder {self.name!r}", self.options)
        if self.size is not None and not self.pretrained:
            raise OptionError(f"encoder {self.name!r}: only one that is pretrained can ask for a size of pictures")

    def check_serves(self, domain: str) -> None:
        """Raise OptionError if the network does not serve a domain."""
        if self.domains is not None and domain not in self.domains:
            raise OptionError(f"encoder={self.name} serves only {', '.join(self.domains)}, not domain={domain}")
