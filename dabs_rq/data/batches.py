"""Batches in an order that depends only on the seed, not on the number of workers, and that can start at any step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from dabs_rq.data.examples import Examples
from dabs_rq.data.streams import Stream
from dabs_rq.ranks import Ranks

Key = tuple[int, int]  # (epoch, index of the example in that epoch)
SINGLE_RANK = Ranks()


def mix_seeds(*numbers: int) -> int:
    """Derive one 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class Order:
    """The order of shuffled batches: every epoch is a permutation of `examples` indices by (seed, epoch).

    An incomplete last batch is dropped, as in DABS, unless `keep_last`. A batch has `size` examples, or all of a
    smaller split.
    """

    examples: int
    size: int
    seed: int
    keep_last: bool = False

    @property
    def batch_size(self) -> int:
        return min(self.size, self.examples)

    @property
    def per_epoch(self) -> int:
        whole, rest = divmod(self.examples, self.batch_size)
        return whole + (self.keep_last and rest > 0)

    def batch(self, number: int) -> list[Key]:
        epoch, place = divmod(number, self.per_epoch)
        return next(self.batches(epoch, place))

    def epoch(self, epoch: int) -> list[list[Key]]:
        return list(self.batches(epoch))

    def batches(self, epoch: int, first: int = 0) -> Iterator[list[Key]]:
        """Yield the batches of an epoch from number `first`. One at a time: millions of keys take gigabytes."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.examples)
        size = self.batch_size
        for start in range(first * size, self.per_epoch * size, size):
            yield [(epoch, int(index)) for index in order[start : start + size]]


class Endless(Sampler[list[Key]]):
    """Yields this rank's part of every batch of an order, from batch `start`, without end."""

    def __init__(self, order: Order, start: int = 0, ranks: Ranks = SINGLE_RANK) -> None:
        self.order, self.start = order, start
        self.part = ranks.part(order.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, place = divmod(self.start, self.order.per_epoch)
        while True:
            yield from (keys[self.part] for keys in self.order.batches(epoch, place))
            epoch, place = epoch + 1, 0


class BatchDataset(Dataset[Any]):
    """Returns whole batches of examples: (raw inputs, targets or None, rows)."""

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
    """Make a DataLoader over lists of keys; it yields the batches of `BatchDataset`."""
    workers = _limit_workers(workers)
    return DataLoader(
        BatchDataset(examples, seed),
        batch_sampler=batches,
        collate_fn=_identity,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )


def _limit_workers(workers: int) -> int:
    """Limit the number of workers to the number of processors."""
    return min(workers, os.cpu_count() or 1)


class Shuffled:
    """Endless training batches of an indexed split."""

    def __init__(self, examples: Examples, size: int, seed: int) -> None:
        self.examples, self.seed = examples, seed
        self.order = Order(len(examples), size, seed)

    @property
    def key(self) -> str:
        return self.examples.key

    @property
    def size(self) -> int:
        return self.order.batch_size

    def loader(self, start: int, workers: int = 0, pin: bool = False, ranks: Ranks = SINGLE_RANK) -> DataLoader[Any]:
        """Make a DataLoader of this rank's part of the batches from number `start`; raw inputs come first in each."""
        return loader(self.examples, Endless(self.order, start, ranks), seed=self.seed, workers=workers, pin=pin)

    def batch(self, number: int) -> tuple[tuple[Tensor, ...], list[str]]:
        """Return the raw inputs of one whole batch, not cropped, and the ids of its examples."""
        keys = self.order.batch(number)
        dataset = BatchDataset(self.examples.uncropped(), self.seed)
        inputs, _, rows = dataset.__getitems__(keys)
        return inputs, dataset.at(keys[0][0]).ids.take(rows.numpy()).to_pylist()


class Streamed:
    """Endless training batches of a stream."""

    def __init__(self, stream: Stream, size: int, seed: int) -> None:
        self.stream, self.size, self.seed = stream, size, seed

    @property
    def key(self) -> str:
        return self.stream.key

    def loader(self, start: int, workers: int = 0, pin: bool = False, ranks: Ranks = SINGLE_RANK) -> DataLoader[Any]:
        workers = self.stream.readers(_limit_workers(workers))
        return DataLoader(
            _WorkerBatches(self, start, ranks.part(self.size)),
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
        )

    def batch(self, number: int) -> tuple[tuple[Tensor, ...], list[str]]:
        inputs, ids = next(self.stream.batches(self.size, self.seed, number))
        return tuple(map(torch.from_numpy, inputs)), ids


class _WorkerBatches(IterableDataset[Any]):
    """The batches that one loader worker reads from a stream: every batch number that falls to it, cut to `part`."""

    def __init__(self, batches: Streamed, start: int, part: slice) -> None:
        self.batches, self.start, self.part = batches, start, part

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], None]]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        source = self.batches
        for inputs, _ in source.stream.batches(source.size, source.seed, self.start + first, step, self.part):
            yield tuple(map(torch.from_numpy, inputs)), None


def training_batches(source: Examples | Stream, size: int, seed: int) -> Shuffled | Streamed:
    """Make endless training batches of `size` examples."""
    return Streamed(source, size, seed) if isinstance(source, Stream) else Shuffled(source, size, seed)


def in_order(examples: Examples, size: int) -> list[list[Key]]:
    """List all examples once, in their own order; the last batch may be smaller."""
    return [[(0, row) for row in range(i, min(i + size, len(examples)))] for i in range(0, len(examples), size)]


def _identity(batch: Any) -> Any:
    return batch
