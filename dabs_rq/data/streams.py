"""Sources too large to index: read in passing, in an order that depends on the seed alone.

A stream has a fixed number of shards. Batch k comes from shard k mod (number of shards), so that loader workers can
share the shards without changing the order, and its number alone says where it starts. Inside a shard, examples are
shuffled in blocks, by (seed, shard, epoch, block): no more than one block per shard is ever held.
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
    """A part of a source, in a fixed order. `length`: how many examples it has, None where that is not known."""

    @property
    def length(self) -> int | None: ...

    def read(self, start: int) -> Iterator[tuple[str, Any]]:
        """(id, raw example) from number `start` on, to the end of the shard."""


@dataclass(frozen=True)
class Limited:
    """The first `length` examples of a shard."""

    shard: Shard
    length: int

    def read(self, start: int) -> Iterator[tuple[str, Any]]:
        return islice(self.shard.read(start), max(0, self.length - start))


@dataclass(frozen=True)
class Stream:
    """An unlabelled source without index.

    encode: raw examples -> one array (n, ...) per input of the domain. block: how many examples of a shard are shuffled
    together; 1 leaves them in order. repeat: how often each batch comes in a row. key: identity of what is read.
    """

    shards: tuple[Shard, ...]
    encode: Callable[[Sequence[Any]], tuple[np.ndarray, ...]]
    key: str
    block: int = 1
    repeat: int = 1

    def sample(self, limit: int | None) -> Stream:
        """At most `limit` examples: the first of every shard."""
        if limit is None:
            return self
        each = max(1, limit // len(self.shards))
        shards = tuple(Limited(shard, min(each, shard.length or each)) for shard in self.shards)
        return replace(self, shards=shards, key=f"{self.key}:{limit}")

    def readers(self, workers: int) -> int:
        """How many of `workers` can share the shards: one that divides their number (0 where one is enough)."""
        fitting = [n for n in range(1, workers + 1) if len(self.shards) % n == 0]
        return max(fitting, default=0)

    def batches(
        self, size: int, seed: int, start: int = 0, step: int = 1, part: slice = slice(None)
    ) -> Iterator[Batch]:
        """Batches start, start + step, start + 2 step, ... without end; only `part` of each is encoded and given."""
        own: dict[int, Iterator[Batch]] = {}
        place: dict[int, int] = {}
        last: tuple[int, Batch] | None = None
        number = start
        while True:
            unique = number // self.repeat
            if last is None or last[0] != unique:
                shard, within = unique % len(self.shards), unique // len(self.shards)
                if place.get(shard) != within:
                    own[shard] = self._of_shard(shard, size, seed, within, part)
                last = unique, next(own[shard])
                place[shard] = within + 1
            yield last[1]
            number += step

    def _of_shard(self, shard: int, size: int, seed: int, first: int, part: slice) -> Iterator[Batch]:
        """The batches of one shard from its number `first` on; epoch follows on epoch."""
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
            while held := list(islice(examples, self.block)):
                empty = False
                order = np.random.default_rng([seed, shard, epoch, block]).permutation(len(held))
                yield from (held[i] for i in order[skip:])
                block, skip = block + 1, 0
            if source.length is None or (empty and start == 0):
                raise DataError(f"shard {shard} of {len(self.shards)} ended after {start} examples or more")
            epoch, start = epoch + 1, 0
