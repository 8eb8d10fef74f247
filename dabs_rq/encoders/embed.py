"""Token embeddings of raw inputs: one module per input, chosen by the input's declaration."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue, in [0, 1]


def to_model_input(raw: Tensor) -> Tensor:
    """Convert raw inputs for the embedding modules: uint8 to [0, 1], half and double to float32, ids to int64.

    Call it after the copy to the device, where it is cheap.
    """
    if raw.dtype == torch.uint8:
        return raw.float() / 255
    return raw.float() if raw.is_floating_point() else raw.long()


def patches(x: Tensor, spec: Grid | Series | Tabular) -> Tensor:
    """Cut a 2-D input into patches, in raster order, a 1-D input into segments of consecutive steps, and a row of a
    table into its numbers.

    Shape: (B, channels, height, width), (B, length, channels) or (B, features, 1) -> (B, S, values). Each patch is
        flattened (row, column, channel), each segment (step, channel), channel fastest.
    """
    if isinstance(spec, Tabular):
        return x
    if isinstance(spec, Series):
        return x.unflatten(1, (-1, spec.segment)).flatten(2)
    down, across = spec.patch_size
    cut = x.unflatten(3, (-1, across)).unflatten(2, (-1, down))  # (B, C, rows, down, columns, across)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


class PatchEmbedding(nn.Module):
    """Patches of a 2-D input, see `patches`, then projected.

    Shape: (B, channels, height, width) -> (B, S, D), patches in raster order.
    """

    def __init__(self, spec: Grid, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.projection = nn.Linear(spec.patch_values, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(patches(x, self.spec))


class SegmentEmbedding(nn.Module):
    """Segments of a 1-D input, see `patches`, then projected.

    Shape: (B, length, channels) -> (B, S, D).
    """

    def __init__(self, spec: Series, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.projection = nn.Linear(spec.patch_values, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(patches(x, self.spec))


class TokenEmbedding(nn.Module):
    """A table of token embeddings. Shape: ids (B, S) -> (B, S, D)."""

    def __init__(self, spec: Tokens, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.table = nn.Parameter(torch.randn(spec.vocabulary, width))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table)


class FeatureEmbedding(nn.Module):
    """The numbers of a row of a table, each projected by the same weights. Shape: (B, features, 1) -> (B, S, D)."""

    def __init__(self, spec: Tabular, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.shared = nn.Linear(1, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(x)


def build(spec: Input, width: int) -> PatchEmbedding | SegmentEmbedding | TokenEmbedding | FeatureEmbedding:
    if isinstance(spec, Grid):
        return PatchEmbedding(spec, width)
    if isinstance(spec, Series):
        return SegmentEmbedding(spec, width)
    if isinstance(spec, Tabular):
        return FeatureEmbedding(spec, width)
    return TokenEmbedding(spec, width)


def check(inputs: tuple[Tensor, ...], specs: tuple[Input, ...]) -> None:
    """Raise ValueError unless `inputs` are a batch of the inputs that `specs` declare."""
    if len(inputs) != len(specs):
        raise ValueError(f"{len(specs)} inputs expected ({', '.join(spec.name for spec in specs)}); got {len(inputs)}")
    for spec, raw in zip(specs, inputs, strict=True):
        if tuple(raw.shape[1:]) != spec.shape:
            raise ValueError(f"input {spec.name!r}: shape (B, {_text(spec.shape)}) expected; got {tuple(raw.shape)}")


def padding_mask(inputs: tuple[Tensor, ...], specs: tuple[Input, ...]) -> Tensor | None:
    """Return the mask, bool (B, S), True = real token; None if no input has padding."""
    if not any(isinstance(spec, Tokens) and spec.pad is not None for spec in specs):
        return None
    parts = []
    for spec, raw in zip(specs, inputs, strict=True):
        if isinstance(spec, Tokens) and spec.pad is not None:
            parts.append(raw != spec.pad)
        else:
            parts.append(raw.new_ones((raw.shape[0], spec.sequence_length), dtype=torch.bool))
    return torch.cat(parts, dim=1)


def _text(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
