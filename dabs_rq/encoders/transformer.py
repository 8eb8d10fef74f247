"""The transformer that all domains share: pre-norm blocks without a final norm, a class token, learned positions, the
mean over all tokens as pooled feature, and a projection head of LayerNorm and Linear.

Source: DABS (arXiv:2111.12062) and its code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders import embed
from dabs_rq.encoders.base import Encoded, EncoderSpec, TokenEncoder
from dabs_rq.spec import Input

Size = Annotated[int, Interval(ge=1, le=65_536)]


@dataclass(frozen=True)
class Options:
    """Options of the transformer.

    width: embedding dimension D, also of features. depth: number of blocks. heads: attention heads per block.
    head_width: dimension of a head. mlp_width: hidden width of a block. out_width: dimension of the projection. pool:
    the pooled feature is the "mean" over class token and real tokens, or the "class" token. dropout: rate after the
    embeddings and in every block.
    """

    width: Size = 256
    depth: Annotated[int, Interval(ge=1, le=1000)] = 12
    heads: Annotated[int, Interval(ge=1, le=1024)] = 8
    head_width: Size = 64
    mlp_width: Size = 512
    out_width: Size = 128
    pool: Literal["mean", "class"] = "mean"
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1


class Attention(nn.Module):
    """Multi-head self-attention. No dropout on attention weights, no bias on queries, keys and values.

    Shape: (B, N, D) -> (B, N, D); mask: bool (B, N), True may be attended to.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        # A single head of the full width needs no output projection; the dropout after it is left out too.
        trivial = heads == 1 and head_width == width
        self.to_out = nn.Identity() if trivial else nn.Linear(heads * head_width, width)
        self.dropout = nn.Identity() if trivial else nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.to_qkv(self.norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = _attend(q, k, v, None if mask is None else mask[:, None, None, :])
        return self.dropout(self.to_out(attended.transpose(1, 2).flatten(2)))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Compute attention, on CPUs in float32: its backward pass in bfloat16 takes several times as long there."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask).to(q.dtype)


class FeedForward(nn.Module):
    """Two linear layers with GELU between. Shape: (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, mlp_width)
        self.contract = nn.Linear(mlp_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.contract(self.dropout(F.gelu(self.expand(self.norm(x))))))


def with_class_token(mask: Tensor) -> Tensor:
    """Put the class token, which is always real, before a mask: bool (B, S) -> (B, 1 + S)."""
    return torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, head_width: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, head_width, dropout)
        self.feed_forward = FeedForward(width, mlp_width, dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(x, mask)
        return x + self.feed_forward(x)


class Transformer(TokenEncoder):
    """Embeds the inputs of a domain and encodes the embeddings.

    inputs: the domain's declared inputs; the tokens of several inputs are concatenated in order. mask_padding: False
    includes padding in attention and pooling, as DABS does. The other parameters are those of `Options`.

    Example: `encoder(inputs)` is the projection (B, out_width), `encoder.features(inputs)` the feature (B, width).
    """

    embeddings: nn.ModuleList

    def __init__(
        self,
        inputs: Sequence[Input],
        width: int = 256,
        depth: int = 12,
        heads: int = 8,
        head_width: int = 64,
        mlp_width: int = 512,
        out_width: int = 128,
        pool: str = "mean",
        dropout: float = 0.1,
        mask_padding: bool = True,
    ) -> None:
        super().__init__()
        if pool not in ("mean", "class"):
            raise ValueError(f"pool is one of mean, class; got {pool!r}")
        sizes = {"width": width, "depth": depth, "heads": heads, "head_width": head_width}
        for name, size in (sizes | {"mlp_width": mlp_width, "out_width": out_width}).items():
            if size < 1:
                raise ValueError(f"{name} is at least 1; got {size!r}")
        self.inputs = tuple(inputs)
        self.heads, self.head_width = heads, head_width
        self.pool, self.mask_padding = pool, mask_padding
        sequence = sum(spec.sequence_length for spec in self.inputs)
        # Modules are built in DABS's order, so that a seed gives the same initial weights.
        self.embeddings = nn.ModuleList(embed.build(spec, width) for spec in self.inputs)
        self.positions = nn.Parameter(torch.randn(1, 1 + sequence, width))
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, head_width, mlp_width, dropout) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out_width))

    @property
    def width(self) -> int:
        return self.class_token.shape[2]

    @property
    def architecture(self) -> dict[str, Any]:
        return {
            "network": "pre-norm transformer, class token, learned positions, GELU",
            "heads": self.heads,
            "head_width": self.head_width,
            "pool": self.pool,
            "mask_padding": self.mask_padding,
            "dropout": self.dropout.p,
        }

    def embed(self, inputs: tuple[Tensor, ...]) -> Tensor:
        embed.check(inputs, self.inputs)
        return torch.cat(
            [module(raw).to(self.positions.dtype) for module, raw in zip(self.embeddings, inputs, strict=True)],
            dim=1,
        )

    def mask(self, inputs: tuple[Tensor, ...]) -> Tensor | None:
        return embed.padding_mask(inputs, self.inputs) if self.mask_padding else None

    def encode(self, tokens: Tensor, mask: Tensor | None = None, kept: Tensor | None = None) -> Encoded:
        expected = self.positions.shape[1] - 1, self.positions.shape[2]
        if tuple(tokens.shape[1:]) != expected:
            raise ValueError(f"tokens of shape (B, {expected[0]}, {expected[1]}) expected; got {tuple(tokens.shape)}")
        positions: Tensor = self.positions
        if kept is not None:
            if kept.ndim != 2 or len(kept) != len(tokens):
                raise ValueError(f"kept of shape ({len(tokens)}, K) expected; got {tuple(kept.shape)}")
            indices = kept.unsqueeze(2).expand(-1, -1, tokens.shape[2])
            position_embeddings = positions[:, 1:].expand_as(tokens).gather(1, indices)
            positions = torch.cat([positions[:, :1].expand(len(tokens), -1, -1), position_embeddings], dim=1)
            tokens = tokens.gather(1, indices)
            mask = None if mask is None else mask.gather(1, kept)
        x = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        x = self.dropout(x + positions)
        if mask is not None:
            mask = with_class_token(mask)
        for block in self.blocks:
            x = block(x, mask)
        return Encoded(x, self._pooled(x, mask))

    def project(self, pooled: Tensor) -> Tensor:
        return self.head(pooled)

    def compile_parts(self) -> None:
        for block in self.blocks:
            block.compile()

    def _pooled(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.pool == "class":
            return x[:, 0]
        if mask is None:
            return x.mean(1)
        real = mask.unsqueeze(2).to(x.dtype)
        return (x * real).sum(1) / real.sum(1)


def build(options: Options, inputs: tuple[Input, ...], mask_padding: bool) -> Transformer:
    return Transformer(inputs, **dataclasses.asdict(options), mask_padding=mask_padding)


ENCODER = EncoderSpec(name="transformer", title="Transformer", options=Options, build=build)
