"""Streams: sources too large to index, read sequentially in an order that depends only on the seed.

A stream has a fixed number of shards. Batch k comes from shard k mod (number of shards), so loader workers can divide
the shards without changing the order, and a batch's number determines where it starts. Within a shard, examples are
shuffled in blocks, by (seed, shard, epoch, block): at most one block per shard is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from dabs_rq.errors import DataError

Batch = tuple[tuple[np.ndarray, ...], list[str]]  # inputs (B, ...) and the ids of the examples


class Shard(Protocol):
    """A part of a source, in a fixed order. length: the number of its examples, None if unknown."""

    @property
    def length(self) -> int | None: ...

    def read(self, start: int) -> Iterator[tuple[str, Any]]:
        """Yield (id, raw example) from number `start` to the end of the shard."""


@dataclass(frozen=True)
class Limited:
    """The first `length` examples of a shard."""

    shard: Shard
    length: int

    def read(self, start: int) -> Iterator[tuple[str, Any]]:
        return islice(self.shard.read(start), max(0, self.length - start))


@dataclass(frozen=True)
class Stream:
    """An unlabelled source without an index.

    encode: raw examples -> one array (n, ...) per input of the domain. key: identifies the content. block: the number
    of examples of a shard that are shuffled together; 1 keeps their order. repeat: how many times each batch is
    yielded in succession.
    """

    shards: tuple[Shard, ...]
    encode: Callable[[Sequence[Any]], tuple[np.ndarray, ...]]
    key: str
    block: int = 1
    repeat: int = 1

    def sample(self, limit: int | None) -> Stream:
        """Limit the stream to about `limit` examples: the first of every shard, at least one from each."""
        if limit is None:
            return self
        per_shard = max(1, limit // len(self.shards))
        shards = tuple(Limited(shard, min(per_shard, shard.length or per_shard)) for shard in self.shards)
        return replace(self, shards=shards, key=f"{self.key}:{limit}")

    def readers(self, workers: int) -> int:
        """Return the largest number of workers, up to `workers`, that divides the number of shards; 0 if workers=0."""
        fitting = [n for n in range(1, workers + 1) if len(self.shards) % n == 0]
        return max(fitting, default=0)

    def batches(
        self, size: int, seed: int, start: int = 0, step: int = 1, part: slice = slice(None)
    ) -> Iterator[Batch]:
        """Yield batches start, start + step, start + 2 step, ... without end; only `part` of each is encoded."""
        iterators: dict[int, Iterator[Batch]] = {}
        next_index: dict[int, int] = {}
        latest: tuple[int, Batch] | None = None
        number = start
        while True:
            distinct = number // self.repeat
            if latest is None or latest[0] != distinct:
                shard, index = distinct % len(self.shards), distinct // len(self.shards)
                if next_index.get(shard) != index:
                    iterators[shard] = self._shard_batches(shard, size, seed, index, part)
                latest = distinct, next(iterators[shard])
                next_index[shard] = index + 1
            yield latest[1]
            number += step

    def _shard_batches(self, shard: int, size: int, seed: int, first: int, part: slice) -> Iterator[Batch]:
        """Yield the batches of one shard from number `first`, epoch after epoch."""
        examples = self._shuffled(shard, seed, first * size)
        while True:
            chosen = list(islice(examples, size))[part]
            yield self.encode([raw for _, raw in chosen]), [name for name, _ in chosen]

    def _shuffled(self, shard: int, seed: int, start: int) -> Iterator[tuple[str, Any]]:
        source = self.shards[shard]
        epoch, start = divmod(start, source.length) if source.length else (0, start)
        while True:
            block, skip = divmod(start, self.block)
            examples = source.read(block * self.block)
            empty = True
            while block_examples := list(islice(examples, self.block)):
                empty = False
                order = np.random.default_rng([seed, shard, epoch, block]).permutation(len(block_examples))
                yield from (block_examples[i] for i in order[skip:])
                block, skip = block + 1, 0
            if source.length is None or (empty and start == 0):
                raise DataError(f"shard {shard} of {len(self.shards)} ended after {start} examples or more")
            epoch, start = epoch + 1, 0
