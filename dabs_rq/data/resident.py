"""Batches of a source that stays whole on the device, as bytes, and is gathered there: no process reads, nothing is
copied at a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dabs_rq.data.batches import SINGLE_RANK, Endless, Shuffled, Streamed
from dabs_rq.data.columns import Column, Decoded, Shared
from dabs_rq.data.examples import Examples
from dabs_rq.ranks import Ranks

Choice = Literal["auto", "always", "never"]
SHARE = 0.5  # of the device's free memory that a source may take; training needs the rest
_ROWS = 1024  # copied at a time


class Resident:
    """The batches that `Shuffled.loader` gives, in its order, gathered on `device` from copies of whole columns."""

    def __init__(self, batches: Shuffled, device: torch.device, start: int = 0, ranks: Ranks = SINGLE_RANK) -> None:
        examples = batches.examples
        self.columns = tuple(_copied(column, device) for column in examples.inputs)
        self.targets = None if examples.targets is None else torch.from_numpy(examples.targets).to(device)
        self.keys, self.device = Endless(batches.order, start, ranks), device

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor | None, Tensor]]:
        for keys in self.keys:
            rows = torch.tensor([row for _, row in keys])
            there = rows.to(self.device, non_blocking=True)
            targets = None if self.targets is None else self.targets[there]
            yield tuple(column[there] for column in self.columns), targets, rows


def resident(
    batches: Shuffled | Streamed, choice: Choice, device: torch.device, start: int = 0, ranks: Ranks = SINGLE_RANK
) -> Resident | None:
    """Make the batches of a source that stays on the device; None if it does not.

    choice: "auto": on a GPU, if the source fits in `SHARE` of its free memory. A source stays nowhere if it is a
    stream, is decoded on the fly, or differs between epochs.
    """
    if choice == "never" or not isinstance(batches, Shuffled) or not _can_stay(batches.examples):
        return None
    needed, free = _bytes(batches.examples), _free_memory(device)
    if choice == "auto" and needed > free * SHARE:
        return None
    print(f"loader.resident={choice}: {needed / 1e9:.1f} GB stay on {device}, {free / 1e9:.1f} GB are free", flush=True)
    return Resident(batches, device, start, ranks)


def _can_stay(examples: Examples) -> bool:
    return len(examples) > 0 and not examples.varies and not any(_is_decoded(column) for column in examples.inputs)


def _is_decoded(column: Column) -> bool:
    return isinstance(column.column if isinstance(column, Shared) else column, Decoded)


def _bytes(examples: Examples) -> int:
    return len(examples) * sum(column.take(np.arange(1)).nbytes for column in examples.inputs)


def _free_memory(device: torch.device) -> int:
    """Return the free bytes of a GPU; 0 for a processor, on which the files of the prepared cache are mapped anyway."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _copied(column: Column, device: torch.device) -> Tensor:
    first = torch.from_numpy(column.take(np.arange(1)))
    whole = torch.empty((len(column), *first.shape[1:]), dtype=first.dtype, device=device)
    for start in range(0, len(column), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(column)))
        whole[start : start + len(rows)] = torch.from_numpy(column.take(rows))
    return whole
