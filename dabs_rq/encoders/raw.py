"""No network: a feature is the raw input itself, so that a table shows whether an encoder beats none at all.

Numbers are flattened; an input of more than `LIMIT` numbers is averaged over neighbours first. Token ids become the
share of each id in the text (a bag of ids), without padding. The feature of a single token is its id alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dabs_rq.encoders.base import Encoder, EncoderSpec
from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens

LIMIT = 4096  # features of one input


@dataclass(frozen=True)
class Options:
    pass


class Raw(Encoder):
    """Flattened raw inputs, all inputs of an example side by side."""

    def __init__(self, inputs: tuple[Input, ...], mask_padding: bool) -> None:
        super().__init__()
        self.inputs, self.mask_padding = inputs, mask_padding

    @property
    def width(self) -> int:
        return sum(map(_width, self.inputs))

    @property
    def architecture(self) -> dict[str, Any]:
        return {"limit": LIMIT, "mask_padding": self.mask_padding}

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        parts = [self._flat(spec, raw) for spec, raw in zip(self.inputs, inputs, strict=True)]
        return torch.cat(parts, dim=1)

    @property
    def gives_token_features(self) -> bool:  # type: ignore[override]
        return len(self.inputs) == 1 and isinstance(self.inputs[0], Tokens)

    def token_features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return F.one_hot(inputs[0] % self.width, self.width).float()

    def _flat(self, spec: Input, raw: Tensor) -> Tensor:
        if isinstance(spec, Tokens):
            return self._bag(spec, raw)
        if isinstance(spec, Tabular):
            return F.adaptive_avg_pool1d(raw.movedim(2, 1), _width(spec)).flatten(1)
        if isinstance(spec, Series):
            return F.adaptive_avg_pool1d(raw.movedim(2, 1), _length(spec)).flatten(1)
        return F.adaptive_avg_pool2d(raw, _sides(spec)).flatten(1)

    def _bag(self, spec: Tokens, ids: Tensor) -> Tensor:
        """Compute the share of each id. Ids that are equal modulo `LIMIT` share a feature."""
        real = torch.ones_like(ids, dtype=torch.float32)
        if self.mask_padding and spec.pad is not None:
            real = (ids != spec.pad).float()
        width = _width(spec)
        counts = real.new_zeros(len(ids), width).scatter_add_(1, ids % width, real)
        return counts / real.sum(1, keepdim=True).clamp_min(1)


def _width(spec: Input) -> int:
    if isinstance(spec, Tokens):
        return min(spec.vocabulary, LIMIT)
    if isinstance(spec, Tabular):
        return min(spec.features, LIMIT)
    return spec.channels * (_length(spec) if isinstance(spec, Series) else math.prod(_sides(spec)))


def _length(spec: Series) -> int:
    """Return how many steps are left of a series after averaging."""
    return min(spec.length, max(1, LIMIT // spec.channels))


def _sides(spec: Grid) -> tuple[int, int]:
    """Return height and width after averaging, in the proportion of the input where that leaves at least one row."""
    shrink = min(1.0, math.sqrt(LIMIT / math.prod(spec.shape)))
    height = min(max(1, int(spec.height * shrink)), max(1, LIMIT // spec.channels))
    width = min(max(1, int(spec.width * shrink)), max(1, LIMIT // (spec.channels * height)))
    return height, width


def build(options: Options, inputs: tuple[Input, ...], mask_padding: bool) -> Raw:
    return Raw(inputs, mask_padding)


ENCODER = EncoderSpec(name="raw", title="Raw inputs", options=Options, build=build)
