"""Corruption of tokens: which positions of a batch a method shuffles or masks, and means over such positions.

Source: DABS draws one number per token and takes the largest of each example, as many as its rate says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from annotated_types import Interval
from torch import Tensor

from dabs_rq.methods.base import Batch
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Input

CorruptionRate = Annotated[float, Interval(gt=0, lt=1)]


class Chosen(NamedTuple):
    """The chosen positions of a batch.

    Shape: positions (B, K) int64 in [0, S), those with the largest draws first; valid (B, K) bool, False beyond the
        number of positions that an example has.
    """

    positions: Tensor
    valid: Tensor


def lengths(inputs: Sequence[Input], within_inputs: bool) -> list[int]:
    """Return the lengths of the parts of the sequence in which positions are chosen separately: of each input, or of
    all together."""
    each = [spec.sequence_length for spec in inputs]
    return each if within_inputs else [sum(each)]


def count(real: int, rate: float, minimum: int = 1) -> int:
    """Return how many of `real` tokens are chosen: their share, rounded up, at least `minimum` if there are so many."""
    return min(real, max(minimum, math.ceil(real * rate)))


def _counts(real: Tensor, rate: float, minimum: int) -> Tensor:
    """Compute `count` of each of `real`, int64, without a table, which would have to be copied to the device."""
    exact = torch.float32 if real.device.type == "mps" else torch.float64  # as `count`; that device has no double
    return torch.minimum(real, (real.to(exact) * rate).ceil().long().clamp(min=minimum))


def draw(batch: Batch, inputs: Sequence[Input], generator: torch.Generator) -> Tensor:
    """Draw a number in [0, 1) for every token of this rank: (B, S), on the device of the batch."""
    rows, (sequence,) = len(batch), lengths(inputs, within_inputs=False)
    return batch.ranks.rand(rows * sequence, generator).view(rows, sequence).to(batch.device)


def choose(
    u: Tensor, rate: float, mask: Tensor | None = None, parts: Sequence[int] | None = None, minimum: int = 1
) -> tuple[Chosen, ...]:
    """Choose the real tokens with the largest draws, see `count`, in each part of the sequence.

    Shape: u (B, S), uniform draws in [0, 1); mask bool (B, S), True = real token, None if all are real; parts: lengths
        that sum to S, None for one part.
    """
    parts = [u.shape[1]] if parts is None else parts
    masks = [None] * len(parts) if mask is None else mask.split(list(parts), dim=1)
    chosen, start = [], 0
    for draws, real, length in zip(u.split(list(parts), dim=1), masks, parts, strict=True):
        most = count(length, rate, minimum)
        order = (draws if real is None else draws.masked_fill(~real, -1.0)).argsort(dim=1, descending=True, stable=True)
        places = torch.arange(most, device=u.device).expand(len(u), -1)
        valid = places < (most if real is None else _counts(real.sum(1, keepdim=True), rate, minimum))
        chosen.append(Chosen(start + order[:, :most], valid))
        start += length
    return tuple(chosen)


def flags(chosen: Sequence[Chosen], sequence: int) -> Tensor:
    """Return bool (B, S): True at the chosen positions."""
    positions = torch.cat([part.positions for part in chosen], dim=1)
    valid = torch.cat([part.valid for part in chosen], dim=1)
    return valid.new_zeros(len(valid), sequence).scatter_(1, positions, valid)


def flagged(where: Tensor, most: int) -> Chosen:
    """Return the positions at which `where`, bool (B, S), is True, in ascending order: (B, K) with K = `most`, which no
    example exceeds."""
    positions = where.long().argsort(dim=1, descending=True, stable=True)[:, :most]
    return Chosen(positions, where.gather(1, positions))


def take(x: Tensor, positions: Tensor) -> Tensor:
    """Return the entries of x (B, S) or (B, S, D) at positions (B, K)."""
    return x.gather(1, positions if x.ndim == 2 else positions.unsqueeze(2).expand(-1, -1, x.shape[2]))


def mean_over(values: Tensor, counted: Tensor, ranks: Ranks) -> Tensor:
    """Return the mean of the counted values over the examples of all ranks, 0 if none is counted.

    Ranks count different numbers, so each divides its sum by the mean number of a rank; the average over ranks, which
    DDP takes, is the mean over all.

    Shape: values, counted (bool) alike.
    """
    (numbers,) = ranks.gather(counted.sum().reshape(1))
    return torch.where(counted, values, 0).sum() * len(numbers) / numbers.sum().clamp(min=1)
