"""What a suite costs: steps, examples, operations, GPU hours and disk, from the declarations alone.

Operations are those of matrix products, counted by torch on tensors without data: forward and backward of a method's
loss, forward of the frozen encoder. Reading, probing and everything elementwise are not counted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from dabs_rq import checkpoint, registry
from dabs_rq.domain import Domain, Task
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import CheckpointError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.run import Run
from dabs_rq.spec import Input, Tokens
from dabs_rq.suite import plan

COUNTED = 2  # examples in the batch whose operations are counted
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """One domain's cost for one seed.

    pretraining: operations by method, of those that train. encoding: operations of all features of one checkpoint,
    tasks with the same inputs counted apart. prepared: bytes of all decoded examples, once for all seeds. kept: bytes
    of checkpoints and features of all methods. unknown: whose number of examples is not declared, and not counted.
    """

    domain: str
    steps: int
    batch_size: int
    pretraining: Mapping[str, float]
    encoding: float
    prepared: int
    kept: int
    unknown: tuple[str, ...]


def costs(run: Run) -> list[Cost]:
    """Of the run's domains, methods and tasks, at its scale."""
    operations = Operations(run)
    return [_cost(run, registry.domain(name), tasks, operations) for name, tasks in plan.chosen(run).items()]


def _cost(run: Run, domain: Domain, tasks: Sequence[Task], operations: Operations) -> Cost:
    options = run.options
    inputs: tuple[Input, ...] = run.inputs_of(domain)
    source = domain.pretraining
    unlabelled = _examples(source.sizes, ("train",), options.pretrain.max_examples)
    labelled = {task.row: _examples(task.sizes, ("train", "test"), options.transfer.max_examples) for task in tasks}
    counts = {f"{source.source.title} (pretraining)": unlabelled, **labelled}
    size = options.pretrain.batch_size or domain.batch_size
    encoded = sum(count or 0 for count in labelled.values())
    epochs = options.transfer.epochs if options.transfer.features == "reencode" else 1
    example = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in inputs)
    trained = [name for name in run.methods if registry.method(name).trains]
    return Cost(
        domain=domain.name,
        steps=options.pretrain.steps,
        batch_size=size,
        pretraining={name: options.pretrain.steps * size * operations.training(inputs, name) for name in trained},
        encoding=epochs * encoded * operations.encoding(inputs),
        prepared=example * sum(count or 0 for count in counts.values()),
        kept=FLOAT * len(run.methods) * (operations.weights(inputs) + encoded * operations.width(inputs)),
        unknown=tuple(name for name, count in counts.items() if count is None),
    )


def _examples(sizes: Mapping[str, int], splits: tuple[str, ...], limit: int | None) -> int | None:
    """How many examples `splits` have together, at most `limit` each; None where that is not declared."""
    if all(split in sizes for split in splits):
        return sum(min(sizes[split], limit or sizes[split]) for split in splits)
    most = len(splits) * limit if limit else None
    if "all" in sizes:
        return min(sizes["all"], most or sizes["all"])
    return most


class Operations:
    """Of one example, by inputs and method. All blocks of the transformer cost the same, so the costs of one and of two
    blocks give that of any number; another encoder is counted whole."""

    def __init__(self, run: Run) -> None:
        chosen = run.options.encoder
        self.spec, self.options = registry.encoder(chosen.name), chosen.options
        self.blocks: int | None = self.options.depth if self.spec.name == "transformer" else None
        self.mask_padding = run.options.protocol.padding_mask
        self.methods = {method.name: method.options for method in run.options.methods}
        self.known: dict[Any, float] = {}

    def training(self, inputs: tuple[Input, ...], method: str) -> float:
        """Forward and backward of the method's loss."""
        return self._of_all_blocks((inputs, method), lambda blocks: self._training(inputs, method, blocks))

    def encoding(self, inputs: tuple[Input, ...]) -> float:
        """Forward of the frozen encoder."""
        return self._of_all_blocks((inputs, "encoding"), lambda blocks: self._encoding(inputs, blocks))

    def weights(self, inputs: tuple[Input, ...]) -> int:
        """How many numbers the encoder has."""
        return sum(parameter.numel() for parameter in self._empty(inputs, self.blocks)[0].parameters())

    def width(self, inputs: tuple[Input, ...]) -> int:
        """The width of a feature."""
        return self._empty(inputs, self.blocks)[0].width

    def _of_all_blocks(self, key: Any, count: Callable[[int | None], float]) -> float:
        if key not in self.known:
            first = count(None if self.blocks is None else 1)
            self.known[key] = first + (0 if self.blocks is None else (self.blocks - 1) * (count(2) - first))
        return self.known[key]

    def _training(self, inputs: tuple[Input, ...], name: str, blocks: int | None) -> float:
        encoder, batch = self._empty(inputs, blocks)
        with torch.device("meta"):
            method = build_method(registry.method(name), self.methods[name], encoder)
            targets = torch.zeros(COUNTED) if method.reads_targets else None
        with FlopCounterMode(display=False) as counter:
            loss, _ = method.loss(Batch(batch, encoder, targets=targets), torch.Generator())
            loss.backward()
        return counter.get_total_flops() / COUNTED

    def _encoding(self, inputs: tuple[Input, ...], blocks: int | None) -> float:
        encoder, batch = self._empty(inputs, blocks)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder.features(batch)
        return counter.get_total_flops() / COUNTED

    def _empty(self, inputs: tuple[Input, ...], blocks: int | None) -> tuple[Encoder, tuple[torch.Tensor, ...]]:
        """An encoder and a batch without data; `blocks`: of the transformer."""
        with torch.device("meta"):
            options = self.options if blocks is None else dataclasses.replace(self.options, depth=blocks)
            encoder = self.spec.build(options, inputs, self.mask_padding)
            batch = tuple(
                torch.zeros((COUNTED, *spec.shape), dtype=torch.int64 if isinstance(spec, Tokens) else torch.float32)
                for spec in inputs
            )
        return encoder, batch


def describe(run: Run) -> str:
    """The costs as a table with totals, what they assume, and what finished pretrainings of this run took."""
    options, found = run.options, costs(run)
    seeds, methods = len(options.seeds), len(options.methods)
    lines = [(one.domain, *_line(one, seeds, methods, options.suite.gpu_tflops)) for one in found]
    total = [sum(column) for column in list(zip(*lines, strict=True))[2:]]
    shown = [(name, budget, *map(_short, numbers)) for name, budget, *numbers in lines]
    shown.append(("all", "", *map(_short, total)))
    text = [
        f"estimated cost of {methods} methods and {seeds} seeds, from nothing, at scale={options.scale.name}:",
        tabulate(shown, headers=HEADERS, colalign=("left", "left", *["right"] * len(total)), disable_numparse=True),
        f"GPU hours at {options.suite.gpu_tflops:g} TFLOP/s sustained (suite.gpu_tflops; assumed, not measured), "
        "reading and probes not counted.",
        "Decoded examples are kept on disk as loader.prepare and loader.cache_gb say, else decoded on the fly.",
    ]
    unknown = [name for one in found for name in one.unknown]
    if unknown:
        text.append(f"Not counted, since their number of examples is not declared: {', '.join(unknown)}.")
    if rates := list(_measured(run, found)):
        median = statistics.median(rates)
        hours = seeds * sum(sum(one.pretraining.values()) for one in found) / median / 3600
        text.append(
            f"{len(rates)} finished pretrainings here ran at {min(rates) / 1e9:.1f} to {max(rates) / 1e9:.1f} GFLOP/s "
            f"(median {median / 1e9:.1f}); at the median all pretraining takes {_short(hours)} hours one by one."
        )
    return "\n".join(text)


HEADERS = ("domain", "steps x batch", "examples", "PFLOP", "GPU hours", "features PFLOP", "decoded GB", "kept GB")


def _line(one: Cost, seeds: int, methods: int, tflops: float) -> tuple[Any, ...]:
    pretraining, encoding = seeds * sum(one.pretraining.values()), seeds * methods * one.encoding
    examples = seeds * len(one.pretraining) * one.steps * one.batch_size
    hours = (pretraining + encoding) / (tflops * 1e12) / 3600
    budget = f"{one.steps:,} x {one.batch_size}"
    return budget, examples, pretraining / 1e15, hours, encoding / 1e15, one.prepared / 1e9, seeds * one.kept / 1e9


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == 0 else f"{number:.2g}"


def _measured(run: Run, found: list[Cost]) -> Iterator[float]:
    """Operations per second of the pretrainings that are finished."""
    for one in found:
        for method, operations in one.pretraining.items():
            chosen = run.replace(domain=one.domain, method=method)
            for seed in run.options.seeds:
                with contextlib.suppress(CheckpointError):
                    seconds = checkpoint.describe(chosen.checkpoint_file(seed))["about"]["seconds"]
                    yield operations / seconds
