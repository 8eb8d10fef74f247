"""Any torch module or callable as an encoder, which transfer scores as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dabs_rq.data.readers.tokenizer import decode
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import DabsRqError, EncoderError, OptionError, first_line, is_out_of_memory
from dabs_rq.files import digest
from dabs_rq.networks import identity
from dabs_rq.networks.checks import EXAMPLES, check_mode, check_output, check_repeatable
from dabs_rq.spec import Input, Tokens


class Network(Encoder):
    """A torch module, a method of one, or any callable, as an encoder. It keeps the mode (train or eval) that it has.

    model: called with one tensor (B, *shape) per input of `inputs`: pictures in [0, 1], other numbers as float32, in
    the module's own precision if that is lower; ids as int64, or with `texts` a list of B texts, each a tuple of one or
    two strings. Returns features (B, D). pool: makes (B, D) of what the model returns. key: what identifies the
    network beside its weights and settings; without weights and without a key its features are not cached.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        inputs: tuple[Input, ...],
        *,
        name: str = "the model",
        pool: Callable[[Any], Tensor] | None = None,
        texts: bool = False,
        key: str | None = None,
    ) -> None:
        super().__init__()
        if not callable(model):
            raise OptionError(f"{name}: a torch module or a function expected; got {type(model).__name__}")
        if texts and not any(isinstance(spec, Tokens) and spec.tokenizer for spec in inputs):
            raise OptionError(f"{name}: texts=True needs a domain with texts; its inputs are {_listed(inputs)}")
        module = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
        self.inputs, self.name, self.pool, self.texts, self.key = inputs, name, pool, texts, key
        self.module = module if isinstance(module, nn.Module) else None
        self.call = None if model is module else model
        self.root: Path | None = None  # of the data, where the tokenizers of the texts are
        self.register_buffer("place", torch.zeros(0), persistent=False)  # says on which device a function computes
        self.identified = key is not None or (self.module is not None and bool(self.module.state_dict()))
        self._width: int | None = None
        self._repeats = False  # the first batch shows it
        if self.module is not None:
            check_mode(name, self.module)

    def train(self, mode: bool = True) -> Network:
        """Do nothing: the network was given in the mode in which it is to be scored."""
        return self

    @property
    def width(self) -> int:
        """The dimension of a feature: of the last batch, or found by a batch of one example of zeros."""
        if self._width is None:
            kinds = [torch.int64 if isinstance(spec, Tokens) else torch.float32 for spec in self.inputs]
            zeros = [
                torch.zeros((1, *spec.shape), dtype=kind, device=self.device)
                for spec, kind in zip(self.inputs, kinds, strict=True)
            ]
            with torch.no_grad():
                self._width = self._encode(tuple(zeros)).shape[1]
        return self._width

    @property
    def architecture(self) -> dict[str, Any]:
        described: dict[str, Any] = {} if self.module is None else identity.architecture(self.module)
        if self.call is not None:
            described["function"] = identity.function(self.call)
        if self.pool is not None:
            described["pool"] = identity.function(self.pool)
        return described | {"texts": self.texts, "key": self.key}

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        features = self._encode(inputs)
        self._width = features.shape[1]
        if not self._repeats:
            alone = tuple(one[: max(1, min(EXAMPLES, len(one) // 2))] for one in inputs)
            check_repeatable(self.name, features, self._encode(inputs), self._encode(alone))
            self._repeats = True
        return features

    def _encode(self, inputs: tuple[Tensor, ...]) -> Tensor:
        given = [self._argument(spec, raw) for spec, raw in zip(self.inputs, inputs, strict=True)]
        called = self.call or self.module
        assert called is not None
        try:
            output = called(*given)
            if self.pool is not None:
                output = self.pool(output)
        except Exception as error:
            if isinstance(error, DabsRqError) or is_out_of_memory(error):
                raise
            shapes = ", ".join(
                f"{spec.name} {f'{len(raw)} texts' if self._as_text(spec) else tuple(raw.shape)}"
                for spec, raw in zip(self.inputs, inputs, strict=True)
            )
            raise EncoderError(
                f"{self.name} fails on a batch of {shapes}: {type(error).__name__}: {first_line(error)}. Pictures have "
                "the size of the scale unless size= asks for another; what else the model needs, it has to do itself"
            ) from error
        return check_output(self.name, output, len(inputs[0]))

    def _as_text(self, spec: Input) -> bool:
        return self.texts and isinstance(spec, Tokens) and spec.tokenizer is not None

    def _argument(self, spec: Input, raw: Tensor) -> Any:
        if isinstance(spec, Tokens) and self._as_text(spec):
            if self.root is None:
                raise OptionError(f"{self.name} reads texts: set its `root`, the data root with the tokenizers")
            return decode(raw.cpu().numpy(), spec, self.root)
        own = next((one.dtype for one in self.parameters() if one.is_floating_point()), torch.float32)
        return raw.to(own) if raw.is_floating_point() and own.itemsize < 4 else raw


def network_hash(encoder: Encoder) -> str:
    """Hash all that changes the features of a network beside its weights."""
    return digest(type(encoder).__module__, encoder.architecture, repr(encoder.inputs))


def _listed(inputs: tuple[Input, ...]) -> str:
    return ", ".join(spec.name for spec in inputs)
