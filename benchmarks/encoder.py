"""Compares the shared transformer with one that computes explicit attention weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import Line, Target, interleaved
from dabs_rq.encoders.transformer import Attention, Transformer
from dabs_rq.spec import Grid

IMAGE = Grid(name="image", height=224, width=224, channels=3, patch=16)  # 196 patches and the class token
EINSUM = "the same encoder with attention as two einsums around an explicit softmax, eager, float32"


class EinsumAttention(Attention):
    """Multi-head self-attention as in the formula: it computes all weights (B, heads, N, N)."""

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (part.unflatten(2, (self.heads, -1)) for part in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        logits = torch.einsum("bihd,bjhd->bhij", q, k) * q.shape[-1] ** -0.5
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None, :], float("-inf"))
        attended = torch.einsum("bhij,bjhd->bihd", logits.softmax(-1), v)
        return self.dropout(self.to_out(attended.flatten(2)))


def with_einsum(encoder: Transformer) -> Transformer:
    """Return a copy of `encoder` with the same weights and with `EinsumAttention`."""
    twin = copy.deepcopy(encoder)
    for block in twin.blocks:
        block.attention.__class__ = EinsumAttention
    return twin


def step(
    folder: Path,
    *,
    image: Grid = IMAGE,
    width: int = 256,
    depth: int = 12,
    batch: int = 16,
    dropout: float = 0.1,
    half: bool = False,
    repeats: int = 5,
    device: str = "cpu",
) -> Line:
    """Measure forward and backward of a batch. `half`: ours runs under bfloat16 autocast."""
    what = (
        f"encoder forward and backward on {device}, {depth} x {width}, {1 + image.sequence_length} tokens, "
        f"batch {batch}, dropout {dropout:g}, {'bfloat16 autocast' if half else 'float32'}, eager"
    )
    if half and device == "cpu" and not half_precision_cpu():
        return Line(what=what, baseline=EINSUM, skipped="this processor has neither avx512_bf16 nor amx_bf16")
    ours = Transformer((image,), width=width, depth=depth, dropout=dropout).to(device).train()
    x = torch.rand(batch, *image.shape, device=device)
    seconds = interleaved(
        _both_ways(ours, x, half), _both_ways(with_einsum(ours), x, False), repeats=repeats, device=device
    )
    target = Target("ratio", 1.4 if half else 1.0) if device == "cpu" else None
    return Line(what=what, baseline=EINSUM, ours=seconds[0], theirs=seconds[1], target=target)


def half_precision_cpu() -> bool:
    """Return whether this processor multiplies bfloat16 natively."""
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and any(flag in cpu.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def _both_ways(encoder: Transformer, x: Tensor, half: bool) -> Callable[[], None]:
    def run() -> None:
        encoder.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            loss = encoder((x,)).float().square().mean()
        loss.backward()

    return run
