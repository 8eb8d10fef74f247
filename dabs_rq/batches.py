"""Batches in an order that depends on the seed alone, not on workers, and that can start at any step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dabs_rq.examples import Examples

Key = tuple[int, int]  # (epoch, index of the example in that epoch)


@dataclass(frozen=True)
class Order:
    """Shuffled batches of `size` out of `examples`, without end: every epoch is a permutation by (seed, epoch), and
    its last, smaller batch is left out, as DABS does. A batch is never larger than the split."""

    examples: int
    size: int
    seed: int

    @property
    def per_epoch(self) -> int:
        return self.examples // min(self.size, self.examples)

    def batch(self, number: int) -> list[Key]:
        epoch, place = divmod(number, self.per_epoch)
        return self._of_epoch(epoch, place, 1)[0]

    def epoch(self, epoch: int) -> list[list[Key]]:
        return self._of_epoch(epoch, 0, self.per_epoch)

    def _of_epoch(self, epoch: int, first: int, count: int) -> list[list[Key]]:
        order = np.random.default_rng([self.seed, epoch]).permutation(self.examples)
        size = min(self.size, self.examples)
        chosen = order[first * size : (first + count) * size].reshape(count, size)
        return [[(epoch, int(index)) for index in batch] for batch in chosen]


class Endless(Sampler[list[Key]]):
    """All batches of an order from `start` on."""

    def __init__(self, order: Order, start: int = 0) -> None:
        self.order, self.start = order, start

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, place = divmod(self.start, self.order.per_epoch)
        while True:
            yield from self.order.epoch(epoch)[place:]
            epoch, place = epoch + 1, 0


class Gather(Dataset[Any]):
    """Takes whole batches out of examples: (raw inputs, targets or None, rows)."""

    def __init__(self, examples: Examples, seed: int = 0) -> None:
        self.examples, self.seed = examples, seed
        self._epoch, self._redrawn = -1, examples

    def __getitems__(self, keys: list[Key]) -> tuple[tuple[Tensor, ...], Tensor | None, Tensor]:
        examples = self.at(keys[0][0])
        rows = np.array([row for _, row in keys])
        inputs = tuple(torch.from_numpy(column.take(rows)) for column in examples.inputs)
        targets = None if examples.targets is None else torch.from_numpy(examples.targets[rows])
        return inputs, targets, torch.from_numpy(rows)

    def at(self, epoch: int) -> Examples:
        if epoch != self._epoch:
            self._epoch, self._redrawn = epoch, self.examples.of_epoch(self.seed, epoch)
        return self._redrawn


def loader(examples: Examples, batches: Any, *, seed: int = 0, workers: int = 0, pin: bool = False) -> DataLoader[Any]:
    """A DataLoader over lists of keys; its batches are what `Gather` gives. At most a worker per processor."""
    workers = min(workers, os.cpu_count() or 1)
    return DataLoader(
        Gather(examples, seed),
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )


def in_order(examples: Examples, size: int) -> list[list[Key]]:
    """All examples once, in their own order; the last batch may be smaller."""
    return [[(0, row) for row in range(i, min(i + size, len(examples)))] for i in range(0, len(examples), size)]


def _as_it_is(batch: Any) -> Any:
    return batch
