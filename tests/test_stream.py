"""Streams: the order depends on the seed alone, any batch can be the first, and little is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dabs_rq.data.batches import Shuffled, Streamed, training_batches
from dabs_rq.data.examples import Examples
from dabs_rq.data.streams import Stream
from dabs_rq.errors import DataError


@dataclass
class Numbers:
    """A shard of the numbers first, first + 1, ..., that remembers how far it was read."""

    first: int
    length: int | None
    really: int
    read_from: list[int] = field(default_factory=list)
    furthest: int = 0

    def read(self, start: int) -> Iterator[tuple[str, int]]:
        self.read_from.append(start)
        for number in range(self.first + start, self.first + self.really):
            self.furthest = max(self.furthest, number - self.first + 1)
            yield str(number), number


def as_array(numbers: Sequence[int]) -> tuple[np.ndarray, ...]:
    return (np.array(numbers)[:, None],)


def stream(shards: int = 4, length: int = 100, block: int = 16, repeat: int = 1) -> Stream:
    parts = tuple(Numbers(1000 * i, length, length) for i in range(shards))
    return Stream(parts, as_array, "numbers", block, repeat)


def numbers(batches: Iterator[tuple[tuple[np.ndarray, ...], list[str]]], count: int) -> list[list[int]]:
    found = []
    for (array,), ids in islice(batches, count):
        assert list(map(str, array[:, 0])) == ids
        found.append(array[:, 0].tolist())
    return found


def test_batch_k_comes_from_shard_k_and_an_epoch_has_every_example_once() -> None:
    found = numbers(stream().batches(10, seed=0), 40)
    for number, batch in enumerate(found):
        assert {value // 1000 for value in batch} == {number % 4}
    for shard in range(4):
        seen = [value for batch in found[shard::4] for value in batch]
        assert sorted(seen) == list(range(1000 * shard, 1000 * shard + 100)) and seen != sorted(seen)
    again = numbers(stream().batches(10, seed=0), 80)
    assert again[:40] == found
    assert again[40:] != found and sorted(chain(*again[40:])) == sorted(chain(*found))
    assert numbers(stream().batches(10, seed=1), 40) != found


@given(
    start=st.integers(0, 90),
    step=st.integers(1, 4),
    size=st.integers(1, 23),
    block=st.integers(1, 40),
    repeat=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_any_batch_can_be_the_first_of_any_share(start: int, step: int, size: int, block: int, repeat: int) -> None:
    one = stream(shards=3, length=37, block=block, repeat=repeat)
    whole = numbers(one.batches(size, seed=5), start + 5 * step)
    assert numbers(one.batches(size, 5, start, step), 5) == whole[start::step]


def test_no_more_than_a_block_is_read_ahead_and_what_lies_before_is_skipped() -> None:
    shard = Numbers(0, 10_000, 10_000)
    one = Stream((shard,), as_array, "numbers", block=100)
    numbers(one.batches(10, 0), 12)
    assert shard.furthest == 200
    numbers(one.batches(10, 0, start=505), 1)
    assert shard.read_from[-1] == 5000


def test_repeated_batches_come_in_a_row_and_a_block_of_one_keeps_the_order() -> None:
    found = numbers(stream(shards=1, block=1, repeat=4).batches(5, seed=0), 8)
    assert found == [list(range(5))] * 4 + [list(range(5, 10))] * 4


def test_a_sample_is_the_first_of_every_shard() -> None:
    few = stream().sample(40)
    assert sorted(chain(*numbers(few.batches(10, 0), 4))) == [1000 * s + i for s in range(4) for i in range(10)]
    assert few.key != stream().key
    assert stream().sample(None).key == stream().key


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_loader_workers_do_not_change_the_order(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    batches = training_batches(stream(), size=10, seed=3)
    assert isinstance(batches, Streamed)
    loaded = [batch[0][0] for batch in islice(batches.loader(start=3, workers=workers), 9)]
    expected = [torch.from_numpy(inputs[0]) for inputs, _ in islice(stream().batches(10, 3), 3, 12)]
    assert all(torch.equal(a, b) for a, b in zip(loaded, expected, strict=True))
    assert torch.equal(batches.batch(4)[0][0], expected[1])


def test_only_a_number_of_workers_that_divides_the_shards_reads() -> None:
    assert [stream(shards=8).readers(workers) for workers in (0, 1, 2, 3, 5, 16)] == [0, 1, 2, 2, 4, 8]


@pytest.mark.parametrize(("length", "really"), [(0, 0), (10, 0), (None, 25)])
def test_a_shard_that_ends_though_it_should_not_is_an_error(length: int | None, really: int) -> None:
    one = Stream((Numbers(0, length, really),), as_array, "numbers", block=4)
    with pytest.raises(DataError, match="shard 0 of 1 ended"):
        numbers(one.batches(10, 0), 5)


def test_indexed_examples_are_shuffled_instead() -> None:
    assert isinstance(training_batches(Examples(["a", "b"], ()), 1, 0), Shuffled)
