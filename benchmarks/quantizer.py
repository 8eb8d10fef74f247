"""Compares the randomized quantizer with a dense comparison of every value with every region."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import Line, Spread, Target, extra_bytes, interleaved
from dabs_rq.quantize import Draws, randomized_quantization

SHAPE = (64, 196, 256)  # a batch of images as token embeddings; a channel is one feature of one example
BINS = 8
DENSE = (
    "dense, eager: every value compared with the left and the right edge of every region, exactly one must hold it; "
    "gradient by autograd"
)


def dense(x: Tensor, draws: Draws) -> Tensor:
    """Quantize x (B, S, D) as the paper describes: random edges divide the channel's range into regions, one random
    value is drawn from each region, and every value of x is replaced by that of its region."""
    batch, length, features = x.shape
    assert draws.edges is not None and draws.values is not None
    channels = batch * features
    rows = x.transpose(1, 2).reshape(channels, 1, length)
    low, high = rows.amin(2, keepdim=True), rows.amax(2, keepdim=True)
    edges = draws.edges.reshape(channels, -1, 1) * (high - low) + low
    left = torch.cat([low, edges], 1).sort(1).values
    right = torch.cat([edges, high + 1e-6], 1).sort(1).values
    beyond = torch.cat([edges, high + 1], 1).sort(1).values  # the last region contains the maximum despite rounding
    inside = (rows >= left) & (rows < beyond)  # (channels, regions, S)
    assert (inside.sum(1) == 1).all()
    region = inside.int().argmax(1, keepdim=True)
    values = left + draws.values.reshape(channels, -1, 1) * (right - left)
    chosen = values.expand(-1, -1, length).gather(1, region)
    return chosen.reshape(batch, features, length).transpose(1, 2)


def quantized(x: Tensor, draws: Draws) -> Tensor:
    return randomized_quantization(x, BINS, channel_dim=-1, gradient="extremes", draws=draws)


def draw(shape: tuple[int, int, int], device: str = "cpu", seed: int = 0) -> tuple[Tensor, Draws]:
    """Draw values of `shape`, and the random numbers that quantize them."""
    generator = torch.Generator().manual_seed(seed)
    lead = (shape[0], shape[2])
    x, edges, values = (
        torch.randn(shape, generator=generator),
        *(torch.rand((*lead, n), generator=generator) for n in (BINS - 1, BINS)),
    )
    return x.to(device), Draws(edges.to(device), values.to(device), None)


def forward(
    folder: Path, *, shape: tuple[int, int, int] = SHAPE, compiled: bool = False, repeats: int = 10, device: str = "cpu"
) -> Line:
    x, draws = draw(shape, device)
    ours = _ours(compiled)
    seconds = interleaved(lambda: ours(x, draws), lambda: dense(x, draws), repeats=repeats, device=device)
    return Line(
        what=_what("forward", shape, compiled, device),
        baseline=DENSE,
        ours=seconds[0],
        theirs=seconds[1],
        target=_target(40 if compiled else 8, device),
    )


def backward(
    folder: Path, *, shape: tuple[int, int, int] = SHAPE, compiled: bool = False, repeats: int = 10, device: str = "cpu"
) -> Line:
    x, draws = draw(shape, device)
    seconds = interleaved(
        _both_ways(_ours(compiled), x, draws), _both_ways(dense, x, draws), repeats=repeats, device=device
    )
    return Line(
        what=_what("forward and backward (gradient=extremes)", shape, compiled, device),
        baseline=DENSE,
        ours=seconds[0],
        theirs=seconds[1],
        target=_target(8, device),
    )


def memory(folder: Path, *, shape: tuple[int, int, int] = SHAPE, compiled: bool = False, repeats: int = 3) -> Line:
    x, draws = draw(shape)
    ours = _ours(compiled)
    pairs = [(extra_bytes(lambda: ours(x, draws)), extra_bytes(lambda: dense(x, draws))) for _ in range(repeats)]
    ours_bytes, dense_bytes = ([count / x.numel() for count in counts] for counts in zip(*pairs, strict=True))
    return Line(
        what=_what("forward, peak memory beside input and output", shape, compiled, "cpu"),
        baseline=DENSE,
        unit="bytes per value",
        ours=Spread.of(ours_bytes),
        theirs=Spread.of(dense_bytes),
        target=Target("ours", 12, at_least=False),
        note="peak memory of torch's allocator, as its profiler records it",
    )


def _ours(compiled: bool) -> Callable[[Tensor, Draws], Tensor]:
    return torch.compile(quantized, fullgraph=True) if compiled else quantized


def _both_ways(function: Callable[[Tensor, Draws], Tensor], x: Tensor, draws: Draws) -> Callable[[], None]:
    x = x.clone().requires_grad_()
    upstream = torch.randn_like(x)

    def run() -> None:
        x.grad = None
        function(x, draws).backward(upstream)

    return run


def _what(part: str, shape: tuple[int, int, int], compiled: bool, device: str) -> str:
    how = "torch.compile(fullgraph=True)" if compiled else "eager"
    return f"quantizer {part}, {list(shape)} float32 on {device}, {BINS} bins, after the draws, {how}"


def _target(bound: float, device: str) -> Target | None:
    return Target("ratio", bound) if device == "cpu" else None
