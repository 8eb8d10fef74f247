"""Raw inputs to token embeddings: one module per input, chosen by its declaration."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.spec import Grid, Input, Series, Tokens


def to_model_input(raw: Tensor) -> Tensor:
    """Stored arrays to what embedding modules take: uint8 to [0, 1], half and double precision to float32, ids to
    int64. Done after the copy to the device, where it is cheap."""
    if raw.dtype == torch.uint8:
        return raw.float() / 255
    return raw.float() if raw.is_floating_point() else raw.long()


class PatchEmbedding(nn.Module):
    """Patches of a 2-D input, each flattened (row, column, channel), channel fastest, then projected.

    Shape: (B, channels, height, width) -> (B, S, width of the encoder), patches in raster order.
    """

    def __init__(self, spec: Grid, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.projection = nn.Linear(spec.patch_values, width)

    def forward(self, x: Tensor) -> Tensor:
        down, across = self.spec.patch_size
        patches = x.unflatten(3, (-1, across)).unflatten(2, (-1, down))  # (B, C, rows, down, columns, across)
        return self.projection(patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2))


class SegmentEmbedding(nn.Module):
    """Segments of consecutive steps of a 1-D input, each flattened (step, channel), then projected.

    Shape: (B, length, channels) -> (B, S, width of the encoder).
    """

    def __init__(self, spec: Series, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.projection = nn.Linear(spec.patch_values, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(x.unflatten(1, (-1, self.spec.segment)).flatten(2))


class TokenEmbedding(nn.Module):
    """A table of token embeddings. Shape: (B, length) ids -> (B, length, width of the encoder)."""

    def __init__(self, spec: Tokens, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.table = nn.Parameter(torch.randn(spec.vocabulary, width))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table)


def build(spec: Input, width: int) -> PatchEmbedding | SegmentEmbedding | TokenEmbedding:
    if isinstance(spec, Grid):
        return PatchEmbedding(spec, width)
    if isinstance(spec, Series):
        return SegmentEmbedding(spec, width)
    return TokenEmbedding(spec, width)


def check(inputs: tuple[Tensor, ...], specs: tuple[Input, ...]) -> None:
    """Raise ValueError unless `inputs` are one batch of what `specs` declare."""
    if len(inputs) != len(specs):
        raise ValueError(f"{len(specs)} inputs expected ({', '.join(spec.name for spec in specs)}); got {len(inputs)}")
    for spec, given in zip(specs, inputs, strict=True):
        if tuple(given.shape[1:]) != spec.shape:
            raise ValueError(f"input {spec.name!r}: shape (B, {_text(spec.shape)}) expected; got {tuple(given.shape)}")


def padding_mask(inputs: tuple[Tensor, ...], specs: tuple[Input, ...]) -> Tensor | None:
    """bool (B, S), True = real token; None where no input knows padding."""
    if not any(isinstance(spec, Tokens) and spec.pad is not None for spec in specs):
        return None
    parts = []
    for spec, given in zip(specs, inputs, strict=True):
        if isinstance(spec, Tokens) and spec.pad is not None:
            parts.append(given != spec.pad)
        else:
            parts.append(given.new_ones((given.shape[0], spec.sequence_length), dtype=torch.bool))
    return torch.cat(parts, dim=1)


def _text(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
