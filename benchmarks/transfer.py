"""Compares probes on features computed once with encoding again in every epoch, or for every task."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Line, Spread, Target, interleaved
from dabs_rq import registry
from dabs_rq.checkpoint import weights_hash
from dabs_rq.data.batches import Order
from dabs_rq.data.columns import Windows
from dabs_rq.data.examples import Examples
from dabs_rq.data.prepared import Store
from dabs_rq.data.requests import Request
from dabs_rq.encoders.transformer import Transformer
from dabs_rq.run.compose import load_protocol
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Multiclass, Series
from dabs_rq.transfer import adamw, features
from dabs_rq.transfer.features import CachedFeatures
from dabs_rq.transfer.fitted import Fitted

SERIES = Series(name="sensor", length=320, channels=52, segment=5)  # 64 tokens
CLASSES = 11
OPTIONS = TransferOptions(epochs=100, batch_size=64, probe="adamw", features="cached")


class EveryEpoch:
    """Training features that are encoded again in every epoch. (In eval mode, so that the features are the same; DABS's
    dropout would cost a little more.)"""

    def __init__(self, encoder: Transformer, examples: Examples, batch_size: int, seed: int) -> None:
        self.encoder, self.examples, self.device = encoder.eval(), examples, torch.device("cpu")
        self.order = Order(len(examples), batch_size, seed)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        assert self.examples.targets is not None
        for batch in self.order.epoch(epoch):
            rows = np.array([row for _, row in batch])
            inputs = tuple(torch.from_numpy(column.take(rows)) for column in self.examples.inputs)
            yield features.encode(self.encoder, inputs), torch.from_numpy(self.examples.targets[rows])


def made_up(count: int, series: Series = SERIES, seed: int = 0) -> Examples:
    """Make labelled windows of one long recording, in memory."""
    generator = np.random.default_rng(seed)
    recording = generator.standard_normal((20 * series.length, series.channels), np.float32)
    start = generator.integers(len(recording) - series.length, size=count)
    windows = Windows([recording], np.zeros(count, np.int64), start, series.length, series_key=f"made up {seed}")
    return Examples([str(row) for row in range(count)], (windows,), targets=generator.integers(CLASSES, size=count))


def one_task(
    folder: Path,
    *,
    sizes: tuple[int, int] = (2000, 500),
    width: int = 256,
    depth: int = 6,
    epochs: int = 100,
    measured: int = 1,
    repeats: int = 3,
) -> Line:
    """Measure a task from its inputs to its test outputs. The baseline's epochs cost the same: `measured` of them are
    measured, the others extrapolated."""
    train, test = made_up(sizes[0]), made_up(sizes[1], seed=1)
    encoder = Transformer((SERIES,), width=width, depth=depth).eval().requires_grad_(False)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(_cached(encoder, train, test, epochs))
        started = time.perf_counter()
        fitted = _fit(EveryEpoch(encoder, train, OPTIONS.batch_size or 64, 0), measured)
        trained = time.perf_counter()
        fitted.outputs(features.extract(encoder, test))
        theirs.append((trained - started) * epochs / measured + time.perf_counter() - trained)
    return Line(
        what=f"one transfer task, {sizes[0]:,} + {sizes[1]:,} examples of {SERIES.sequence_length} tokens, encoder "
        f"{depth} x {width}, AdamW probe of {epochs} epochs, features computed once",
        baseline="the same features encoded again in every epoch",
        ours=Spread.of(ours),
        theirs=Spread.of(theirs),
        target=Target("ratio", 50),
        extrapolated=measured < epochs,
        note=f"the baseline's training was measured for {measured} of {epochs} epochs and scaled up linearly",
    )


def _cached(encoder: Transformer, train: Examples, test: Examples, epochs: int) -> float:
    assert train.targets is not None
    started = time.perf_counter()
    kept = CachedFeatures(features.extract(encoder, train), train.targets, OPTIONS.batch_size or 64, 0)
    _fit(kept, epochs).outputs(features.extract(encoder, test))
    return time.perf_counter() - started


def _fit(batches: CachedFeatures | EveryEpoch, epochs: int) -> Fitted:
    options = TransferOptions(epochs=epochs)
    width = batches.encoder.width if isinstance(batches, EveryEpoch) else batches.features.shape[1]
    return adamw.fit_adamw(batches, width, Multiclass(CLASSES), CLASSES, options, seed=0)  # type: ignore[arg-type]


def shared_inputs(folder: Path, *, depth: int = 6, width: int = 256, limit: int = 512, repeats: int = 3) -> Line:
    """Measure the three tasks of Fluent Speech Commands, which share their recordings."""
    registry.miniature("speech").write(folder / "data", seed=0)
    tasks = fluent(folder, limit)
    encoder = Transformer(registry.domain("speech").inputs["mini"], width=width, depth=depth)
    encoder.eval().requires_grad_(False)
    weights = weights_hash(encoder)

    def together() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as kept:
            for train, test, classes in tasks:
                both = [features.cached(encoder, weights, split, Path(kept)) for split in (train, test)]
                _probe(both, train, classes)

    def one_by_one() -> None:
        for train, test, classes in tasks:
            _probe([features.extract(encoder, split) for split in (train, test)], train, classes)

    seconds = interleaved(together, one_by_one, repeats=repeats, warm_up=False)
    train, test, _ = tasks[0]
    return Line(
        what=f"three tasks on the same {len(train):,} + {len(test):,} prepared spectrograms (miniature Fluent Speech "
        f"Commands), encoder {depth} x {width}, one pass over the inputs and three AdamW probes of 100 epochs",
        baseline="the same with a separate pass for each task",
        ours=seconds[0],
        theirs=seconds[1],
        target=Target("ratio", 2),
    )


def fluent(folder: Path, limit: int | None = None) -> list[tuple[Examples, Examples, int]]:
    """Return train and test examples, prepared in `folder`, and the number of classes of each of the three tasks."""
    domain = registry.domain("speech")
    store = Store(folder / "prepared", policy="always")
    tasks = []
    for task in domain.tasks:
        if not task.name.startswith("fluent_speech_"):
            continue
        assert isinstance(task.target, Multiclass)
        splits = []
        for split in ("train", "test"):
            request = Request(
                root=folder / "data",
                split=split,
                inputs=domain.inputs["mini"],
                protocol=load_protocol("corrected"),
                prepare=store.prepare,
                made_up=True,
            )
            splits.append(task.load(request).sample(limit).prepared(store.prepare))
        tasks.append((splits[0], splits[1], task.target.classes))
    return tasks


def _probe(splits: Sequence[np.ndarray], train: Examples, classes: int) -> None:
    assert train.targets is not None
    kept = CachedFeatures(splits[0], train.targets, OPTIONS.batch_size or 64, 0)
    adamw.fit_adamw(kept, splits[0].shape[1], Multiclass(classes), classes, OPTIONS, seed=0).outputs(splits[1])
