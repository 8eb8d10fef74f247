"""Randomized quantization: every value is replaced by one value drawn from its randomly drawn bin.

Usable on its own:

    from dabs_rq.quantize import randomized_quantization
    view = randomized_quantization(images, bins=8)                     # (B, C, H, W)
    view = randomized_quantization(tokens, bins=8, channel_dim=-1)     # (B, S, D)

Source: Wu et al., "Randomized Quantization: A Generic Augmentation for Data Agnostic Self-supervised Learning",
arXiv:2212.08663, section 3.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

SPACINGS = ("random", "uniform")
COLLAPSES = ("inside_random", "middle", "all_zeros")
GRANULARITIES = ("channel", "instance")
GRADIENTS = ("extremes", "straight_through", "detach")
# The reference ends the last bin this far above the maximum, whatever the unit of the values.
MARGIN = 1e-6


class Draws(NamedTuple):
    """The random numbers of one call, uniform in [0, 1); None where a call needs none. `draw` makes them.

    Shape: for K channels per example (1 if the granularity is instance): edges (B, K, bins - 1), unsorted; values
        (B, K, bins), lowest bin first; apply (B,). Without a batch dimension: (K, bins - 1), (K, bins), (K,).
    """

    edges: Tensor | None
    values: Tensor | None
    apply: Tensor | None


def draw(
    shape: tuple[int, ...],
    bins: int = 8,
    *,
    channel_dim: int = 1,
    spacing: str = "random",
    collapse: str = "inside_random",
    granularity: str = "channel",
    p: float = 1.0,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    part: tuple[int, int] = (0, 1),
) -> Draws:
    """Draw what `randomized_quantization` needs for an x of this shape: edges, values, apply, in that order, in
    float32, on the generator's device (without one, on `device`), and move it to `device`. The other parameters are
    its own; with `draws=` it then computes what it would have computed with `generator=`."""
    source, (own, parts) = device if generator is None else generator.device, part
    drawn = (
        None if one is None else torch.rand((parts * one[0], *one[1:]), generator=generator, device=source)
        for one in _draw_shapes(shape, bins, channel_dim, spacing, collapse, granularity, p)
    )
    return Draws(*(None if whole is None else whole.chunk(parts)[own].to(device) for whole in drawn))


def randomized_quantization(
    x: Tensor,
    bins: int = 8,
    *,
    channel_dim: int = 1,
    spacing: str = "random",
    collapse: str = "inside_random",
    granularity: str = "channel",
    p: float = 1.0,
    gradient: str = "extremes",
    generator: torch.Generator | None = None,
    mask: Tensor | None = None,
    draws: tuple[Tensor | None, Tensor | None, Tensor | None] | None = None,
    part: tuple[int, int] = (0, 1),
    return_regions: bool = False,
) -> Any:
    """Quantize each channel of each example with its own bins.

    Shape: x of any rank and memory layout -> like x. Dimension 0 is the batch, unless channel_dim is 0: then x is one
        example, and p acts per channel. All other dimensions are pooled: a channel's range is taken over them.
    Units: those of x. Floating point; half precisions are computed in float32. A channel with NaN or infinity, or
        whose range is not representable, becomes NaN; nothing raises. A constant channel changes by at most 1e-6.
    bins: number of bins per channel, at least 2. spacing: "random" or "uniform" bin edges.
    collapse: what replaces the values of a bin: one random value inside the bin ("inside_random"), its "middle", or
        zero ("all_zeros").
    granularity: "channel" (bins per channel) or "instance" (one set of bins for all channels of an example).
    p: probability that an example is quantized.
    gradient: "extremes" (through each channel's minimum and maximum only, as in the reference; tied entries share it
        evenly), "straight_through" (identity) or "detach" (none).
    mask: bool, x's shape without the channel dimension; only entries with True are quantized, the others are returned
        unchanged.
    draws: random numbers to use, see `Draws`; by default they are drawn in that order from `generator`.
    part: (i, n): x is the i-th of n equal parts of a batch. Numbers are drawn for the whole batch, and x gets its part.
    return_regions: also return the bin of each value, uint8 (int32 above 256 bins); 0 is the lowest bin.
    Raises: ValueError for an illegal option or shape, TypeError for values that are not floating point.
    Source: arXiv:2212.08663, section 3. torch.compile makes one graph of everything after the draws.
    """
    _check(x, bins, channel_dim, spacing, collapse, granularity, gradient, p, mask)
    channel_dim %= x.dim()
    single = channel_dim == 0
    batch = 1 if single else x.shape[0]
    channels = x.shape[channel_dim] if granularity == "channel" else 1
    if draws is None:
        how: dict[str, Any] = {"spacing": spacing, "collapse": collapse, "granularity": granularity, "p": p}
        draws = draw(x.shape, bins, channel_dim=channel_dim, generator=generator, device=x.device, part=part, **how)
    draws = _check_draws(draws, _draw_shapes(x.shape, bins, channel_dim, spacing, collapse, granularity, p))
    if x.numel() == 0:
        return (x, torch.zeros_like(x, dtype=_regions_dtype(bins))) if return_regions else x

    # Reshape to (batch, before, channel, after): a view for both layouts in use, (B, C, H, W) and (B, S, D).
    before = 1 if single else math.prod(x.shape[1:channel_dim])
    work = x.reshape(batch, before, x.shape[channel_dim], math.prod(x.shape[channel_dim + 1 :]))
    work = work.float() if x.dtype in (torch.float16, torch.bfloat16) else work
    real = None if mask is None else mask.reshape(batch, before, 1, work.shape[3])
    pooled = (1, 3) if granularity == "channel" else (1, 2, 3)

    u_edges, u_values, u_apply = draws
    left, right = _fractions(u_edges, bins, work, batch, channels)  # (bins, batch, 1, channels, 1), in [0, 1]
    blend = None if u_values is None else u_values.to(work).reshape(batch, 1, channels, 1, bins).movedim(-1, 0)
    apply = None
    if u_apply is not None:
        apply = (u_apply < p).reshape(1, 1, -1, 1) if single else (u_apply < p).reshape(-1, 1, 1, 1)
    out, edges = _Quantize.apply(work, left, right, blend, real, apply, pooled, collapse, gradient)
    out = out.to(x.dtype).reshape(x.shape)
    return (out, _regions(work.detach(), edges).reshape(x.shape)) if return_regions else out


Shape = tuple[int, ...]


def _draw_shapes(
    shape: Shape, bins: int, channel_dim: int, spacing: str, collapse: str, granularity: str, p: float
) -> tuple[Shape | None, Shape | None, Shape | None]:
    """Return the shapes of the `Draws` that one call for an x of `shape` needs."""
    channels = shape[channel_dim] if granularity == "channel" else 1
    lead = (channels,) if channel_dim % len(shape) == 0 else (shape[0], channels)
    return (
        (*lead, bins - 1) if spacing == "random" else None,
        (*lead, bins) if collapse == "inside_random" else None,
        lead[:1] if p < 1 else None,
    )


def _check_draws(draws: tuple[Tensor | None, ...], shapes: tuple[Shape | None, ...]) -> Draws:
    """Return the `draws` that are needed. Raises ValueError if one is missing or has another shape."""
    for name, shape, draw in zip(Draws._fields, shapes, draws, strict=True):
        actual = None if draw is None else tuple(draw.shape)
        if shape is not None and actual != shape:
            raise ValueError(f"draws: {name} of shape {shape} expected; got {actual}")
    return Draws(*(draw if shape is not None else None for shape, draw in zip(shapes, draws, strict=True)))


def _fractions(u_edges: Tensor | None, bins: int, work: Tensor, batch: int, channels: int) -> tuple[Tensor, Tensor]:
    """Return the lower and upper edge of each bin, as fractions of the channel's range."""
    if u_edges is None:
        inner = torch.arange(1, bins, dtype=torch.float32, device=work.device) / bins
        inner = inner.expand(batch, channels, bins - 1)
    else:
        inner = u_edges.reshape(batch, channels, bins - 1).sort(-1).values
    inner = inner.to(work).reshape(batch, 1, channels, 1, bins - 1).movedim(-1, 0)
    return torch.cat([torch.zeros_like(inner[:1]), inner]), torch.cat([inner, torch.ones_like(inner[:1])])


class _Quantize(torch.autograd.Function):
    """Quantizes with few passes over memory: the forward pass compares values with one edge at a time, so it never
    allocates bins x values. The backward pass follows `gradient`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        left: Tensor,
        right: Tensor,
        blend: Tensor | None,
        real: Tensor | None,
        apply: Tensor | None,
        pooled: tuple[int, ...],
        collapse: str,
        gradient: str,
    ) -> tuple[Tensor, Tensor]:
        low = (x if real is None else torch.where(real, x, torch.inf)).amin(pooled, keepdim=True)
        high = (x if real is None else torch.where(real, x, -torch.inf)).amax(pooled, keepdim=True)
        span = high - low
        edges = left * span + low
        ends = right * span + low
        ends = torch.cat([ends[:-1], (high + MARGIN)[None]])
        if collapse == "all_zeros":
            values, share = torch.zeros_like(edges), torch.zeros_like(edges)
        elif blend is None:
            values, share = edges / 2 + ends / 2, (left + right) / 2  # the sum alone may overflow
        else:
            values, share = edges + blend * (ends - edges), left + blend * (right - left)
        values = torch.where(torch.isfinite(span), values, torch.nan)

        regions = None if torch.compiler.is_compiling() else _regions(x, edges)
        out = _look_up(x, edges, values, regions)
        unquantized = _unquantized(real, apply)
        if unquantized is not None:
            out = torch.where(unquantized, x, out)
        ctx.gradient, ctx.pooled, ctx.zeros = gradient, pooled, collapse == "all_zeros"
        ctx.save_for_backward(x, edges, regions, share, low, high, unquantized, real)
        ctx.mark_non_differentiable(edges)
        return out, edges

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, edges, regions, share, low, high, unquantized, real = ctx.saved_tensors
        no_gradients = (None,) * 8
        if ctx.gradient == "straight_through":
            return grad, *no_gradients
        if ctx.gradient == "detach":
            return None, *no_gradients
        grad_x = torch.zeros_like(grad) if unquantized is None else torch.where(unquantized, grad, 0.0)
        if ctx.zeros:
            return grad_x, *no_gradients
        through = grad if unquantized is None else torch.where(unquantized, 0.0, grad)
        to_high = (_look_up(x, edges, share, regions) * through).sum(ctx.pooled, keepdim=True)
        to_low = through.sum(ctx.pooled, keepdim=True) - to_high
        for extreme, amount in ((low, to_low), (high, to_high)):
            at = x == extreme if real is None else (x == extreme) & real
            count = at.sum(ctx.pooled, keepdim=True).clamp(min=1)
            grad_x = torch.where(at, grad_x + amount / count, grad_x)
        return grad_x, *no_gradients


def _unquantized(real: Tensor | None, apply: Tensor | None) -> Tensor | None:
    """Mark the values that stay unchanged: padding, and examples (or channels) that `p` excludes."""
    if real is None:
        return None if apply is None else ~apply
    return ~real if apply is None else ~(real & apply)


def _regions(x: Tensor, edges: Tensor) -> Tensor:
    """Return the bin of each value: the number of edges, without the lowest, at or below it."""
    regions = torch.zeros_like(x, dtype=_regions_dtype(len(edges)))
    for edge in edges[1:]:
        regions += (x >= edge).view(torch.uint8)  # as bytes: adding bool converts first
    return regions


def _regions_dtype(bins: int) -> torch.dtype:
    return torch.uint8 if bins <= 256 else torch.int32


def _look_up(x: Tensor, edges: Tensor, values: Tensor, regions: Tensor | None) -> Tensor:
    """Return values[k], where k is the last bin whose edge is at or below x. regions: k, if it is known already."""
    if regions is None:  # torch.compile fuses this loop into one pass over memory
        out = values[0].expand_as(x)
        for edge, value in zip(edges[1:], values[1:], strict=True):
            out = torch.where(x >= edge, value, out)
        return out.contiguous()
    expanded = values.movedim(0, -1).expand(*x.shape, -1)
    return expanded.gather(-1, regions.long().unsqueeze(-1)).squeeze(-1)


def _check(
    x: Tensor,
    bins: int,
    channel_dim: int,
    spacing: str,
    collapse: str,
    granularity: str,
    gradient: str,
    p: float,
    mask: Tensor | None,
) -> None:
    for name, value, known in (
        ("spacing", spacing, SPACINGS),
        ("collapse", collapse, COLLAPSES),
        ("granularity", granularity, GRANULARITIES),
        ("gradient", gradient, GRADIENTS),
    ):
        if value not in known:
            raise ValueError(f"{name} is one of {', '.join(known)}; got {value!r}")
    if bins < 2:
        raise ValueError(f"bins is at least 2; got {bins}")
    if not 0 <= p <= 1:
        raise ValueError(f"p is a probability; got {p}")
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point; got {x.dtype}. Scale integers first, for example x.float() / 255.")
    if not -x.dim() <= channel_dim < x.dim():
        raise ValueError(f"channel_dim {channel_dim} does not exist in shape {tuple(x.shape)}")
    if mask is not None:
        channel = channel_dim % x.dim()
        expected = (*x.shape[:channel], *x.shape[channel + 1 :])
        if mask.dtype != torch.bool or mask.shape != expected:
            raise ValueError(f"mask must be bool {expected}; got {mask.dtype} {tuple(mask.shape)}")


class RandomizedQuantization(nn.Module):
    """`randomized_quantization` with its options fixed; acts in train and eval mode alike.

    Example: `nn.Sequential(RandomizedQuantization(bins=8, p=0.5), backbone)`.
    """

    def __init__(self, bins: int = 8, **options: Any) -> None:
        super().__init__()
        self.bins, self.options = bins, options

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None, mask: Tensor | None = None) -> Any:
        return randomized_quantization(x, self.bins, generator=generator, mask=mask, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in {"bins": self.bins, **self.options}.items())
