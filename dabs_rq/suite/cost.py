"""Estimates the cost of a suite from the declarations alone: steps, examples, operations, GPU hours and disk.

torch counts the operations on tensors without data: the matrix products of forward and backward of a method's loss, and
of forward of the frozen encoder. Reading, probes and elementwise operations are not counted.
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
from dabs_rq.errors import CheckpointError, NotServedError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.pretrain.precision import precision
from dabs_rq.run import Run
from dabs_rq.run.options import SuiteOptions
from dabs_rq.spec import Input, Tokens
from dabs_rq.suite import plan
from dabs_rq.suite.calibrate import calibrates, device_name, seconds_per_example

COUNTED_EXAMPLES = 2  # size of the batch whose operations are counted
FLOAT_BYTES = 4
# Peaks of dense matrix products in half precision with float32 sums, TFLOP/s, from NVIDIA's data sheets.
GPU_PEAKS = {"V100": 125, "A100": 312, "RTX 4090": 165, "L40S": 362, "H100": 989, "H200": 989}
UTILISATION = 0.2


@dataclass(frozen=True)
class Cost:
    """The cost of one domain for one seed.

    pretraining: method that trains -> operations. encoding: operations for all features of one checkpoint; tasks that
    share inputs are counted separately. prepared: bytes of all decoded examples, once for all seeds;
    pictures that are cropped from their files take none. stored: bytes of checkpoints and features of all methods.
    unknown: sources whose number of examples is not declared, which are not counted.
    """

    domain: str
    steps: int
    batch_size: int
    pretraining: Mapping[str, float]
    encoding: float
    prepared: int
    stored: int
    unknown: tuple[str, ...]


def costs(run: Run) -> list[Cost]:
    """Estimate the cost of each selected domain, for the run's methods and tasks at its scale."""
    operations = Operations(run)
    return [_cost(run, run.domain_called(name), tasks, operations) for name, tasks in plan.selected_tasks(run).items()]


def _cost(run: Run, domain: Domain, tasks: Sequence[Task], operations: Operations) -> Cost:
    options = run.options
    inputs: tuple[Input, ...] = run.inputs_of(domain)
    source = domain.pretraining
    unlabelled = _examples(source.sizes, ("train",), options.pretrain.max_examples)
    labelled = {task.row: _examples(task.sizes, ("train", "test"), options.transfer.max_examples) for task in tasks}
    counts = {f"{source.source.title} (pretraining)": unlabelled, **labelled}
    batch_size = options.pretrain.batch_size or domain.batch_size
    encoded = sum(count or 0 for count in labelled.values())
    epochs = options.transfer.epochs if options.transfer.features == "reencode" else 1
    example_bytes = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in inputs)
    methods = [method for method in options.methods if registry.method(method.name).trains]
    trained = [method.name for method in methods]
    crops_all = bool(methods) and all(run.whole_crops(method, domain) for method in methods)
    decoded = [*labelled.values(), 0 if crops_all else unlabelled]
    return Cost(
        domain=domain.name,
        steps=options.pretrain.steps,
        batch_size=batch_size,
        pretraining={name: options.pretrain.steps * batch_size * operations.training(inputs, name) for name in trained},
        encoding=epochs * encoded * operations.encoding(inputs),
        prepared=example_bytes * sum(count or 0 for count in decoded),
        stored=FLOAT_BYTES * len(run.methods) * (operations.weights(inputs) + encoded * operations.width(inputs)),
        unknown=tuple(name for name, count in counts.items() if count is None),
    )


def _examples(sizes: Mapping[str, int], splits: tuple[str, ...], limit: int | None) -> int | None:
    """Return how many examples `splits` have together, at most `limit` each; None if that is not declared."""
    if all(split in sizes for split in splits):
        return sum(min(sizes[split], limit or sizes[split]) for split in splits)
    upper_bound = len(splits) * limit if limit else None
    if "all" in sizes:
        return min(sizes["all"], upper_bound or sizes["all"])
    return upper_bound


class Operations:
    """Counts operations per example, by inputs and method. All blocks of a transformer cost the same, so counting one
    and two blocks gives the cost of any depth; any other encoder is counted whole."""

    def __init__(self, run: Run) -> None:
        encoder = run.options.encoder
        self.spec, self.options = registry.encoder(encoder.name), encoder.options
        self.blocks: int | None = self.options.depth if self.spec.name == "transformer" else None
        self.mask_padding = run.options.protocol.padding_mask
        self.methods = {method.name: method.options for method in run.options.methods}
        self.counted: dict[Any, float] = {}

    def training(self, inputs: tuple[Input, ...], method: str) -> float:
        """Count forward and backward of the method's loss."""
        return self._of_all_blocks((inputs, method), lambda blocks: self._training(inputs, method, blocks))

    def encoding(self, inputs: tuple[Input, ...]) -> float:
        """Count forward of the frozen encoder."""
        return self._of_all_blocks((inputs, "encoding"), lambda blocks: self._encoding(inputs, blocks))

    def weights(self, inputs: tuple[Input, ...]) -> int:
        """Return the number of the encoder's parameters."""
        return sum(parameter.numel() for parameter in self._empty(inputs, self.blocks)[0].parameters())

    def width(self, inputs: tuple[Input, ...]) -> int:
        """Return the width of a pooled feature."""
        return self._empty(inputs, self.blocks)[0].width

    def _of_all_blocks(self, key: Any, count: Callable[[int | None], float]) -> float:
        if key not in self.counted:
            self.counted[key] = self._counted(count)
        return self.counted[key]

    def _counted(self, count: Callable[[int | None], float]) -> float:
        if self.blocks is None:
            return count(None)
        try:
            first, second = count(1), count(2)
        except NotServedError:  # the method needs more blocks
            return count(self.blocks)
        return first + (self.blocks - 1) * (second - first)

    def _training(self, inputs: tuple[Input, ...], name: str, blocks: int | None) -> float:
        encoder, batch = self._empty(inputs, blocks)
        with torch.device("meta"):
            method = build_method(registry.method(name), self.methods[name], encoder)
            targets = torch.zeros(COUNTED_EXAMPLES) if method.reads_targets else None
        with FlopCounterMode(display=False) as counter:
            loss, _ = method.loss(Batch(batch, encoder, targets=targets), torch.Generator())
            loss.backward()
        return counter.get_total_flops() / COUNTED_EXAMPLES

    def _encoding(self, inputs: tuple[Input, ...], blocks: int | None) -> float:
        encoder, batch = self._empty(inputs, blocks)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder.features(batch)
        return counter.get_total_flops() / COUNTED_EXAMPLES

    def _empty(self, inputs: tuple[Input, ...], blocks: int | None) -> tuple[Encoder, tuple[torch.Tensor, ...]]:
        """Build an encoder and a batch on the meta device. `blocks`: the transformer's depth, None for another
        encoder."""
        with torch.device("meta"):
            options = self.options if blocks is None else dataclasses.replace(self.options, depth=blocks)
            encoder = self.spec.build(options, inputs, self.mask_padding)
            batch = tuple(
                torch.zeros(
                    (COUNTED_EXAMPLES, *spec.shape), dtype=torch.int64 if isinstance(spec, Tokens) else torch.float32
                )
                for spec in inputs
            )
        return encoder, batch


def describe(run: Run) -> str:
    """Describe the costs: a table with totals, what it assumes, and how fast finished pretrainings of this run were."""
    options, domain_costs = run.options, costs(run)
    seeds, methods = len(options.seeds), len(options.methods)
    lines = [(cost.domain, *_line(cost, seeds, methods, options.suite)) for cost in domain_costs]
    total = [sum(column) for column in list(zip(*lines, strict=True))[2:]]
    rows = [(name, budget, *map(_short, numbers)) for name, budget, *numbers in lines]
    rows.append(("all", "", *map(_short, total)))
    text = [
        f"estimated cost of {methods} methods and {seeds} seeds, from nothing, at scale={options.scale.name}:",
        tabulate(rows, headers=HEADERS, colalign=("left", "left", *["right"] * len(total)), disable_numparse=True),
        _assumed(options.suite),
        "loader.prepare and loader.cache_gb decide which decoded examples are cached; others are decoded every time.",
    ]
    if options.encoders or options.scores_network:
        text.append("Not counted: the networks of encoder files, which are scored as they are.")
    text.append(_on_named_gpus(total[1] + total[3]))
    if calibrates(run):
        text.append(_calibrated(run, domain_costs))
    unknown = [name for cost in domain_costs for name in cost.unknown]
    if unknown:
        text.append(f"Not counted, because their number of examples is not declared: {', '.join(unknown)}.")
    if rates := list(_measured_rates(run, domain_costs)):
        median = statistics.median(rates)
        hours = seeds * sum(sum(cost.pretraining.values()) for cost in domain_costs) / median / 3600
        text.append(
            f"{len(rates)} finished pretrainings here ran at {min(rates) / 1e9:.1f} to {max(rates) / 1e9:.1f} GFLOP/s "
            f"(median {median / 1e9:.1f}); at the median pretraining takes {_short(hours)} hours in sequence."
        )
    return "\n".join(text)


def _on_named_gpus(petaflop: float) -> str:
    """Write the hours for all operations on GPUs by name."""
    hours = {name: petaflop * 1e15 / (UTILISATION * peak * 1e12) / 3600 for name, peak in GPU_PEAKS.items()}
    listed = ", ".join(f"{name} {_short(each)}" for name, each in hours.items())
    return f"GPU hours at {UTILISATION:.0%} of the half-precision peak (assumed): {listed}."


def _calibrated(run: Run, domain_costs: Sequence[Cost]) -> str:
    """Measure a training step of every domain and method here, and write the hours that follow."""
    rows, all_hours = [], 0.0
    options = {method.name: method.options for method in run.options.methods}
    for cost in domain_costs:
        inputs = run.inputs_of(run.domain_called(cost.domain))
        for method, work in cost.pretraining.items():
            seconds = seconds_per_example(run, inputs, method, options[method], cost.batch_size)
            trained = cost.steps * cost.batch_size
            hours = len(run.options.seeds) * trained * seconds / 3600
            rate = work / trained / seconds / 1e12
            rows.append((cost.domain, method, _short(1e3 * cost.batch_size * seconds), _short(rate), _short(hours)))
            all_hours += hours
    headers = ("domain", "method", "ms a step", "TFLOP/s", "hours")
    return (
        f"measured on {device_name(run)} in {precision(run.options)}, on made-up inputs, without reading:\n"
        f"{tabulate(rows, headers=headers, colalign=('left', 'left', *['right'] * 3), disable_numparse=True)}\n"
        f"pretraining takes {_short(all_hours)} hours in sequence at these rates."
    )


def describe_cells(cells: Sequence[tuple[str, Run]]) -> str:
    """Describe the cost of the cells of an experiment, (title, run) each, for all seeds, from nothing."""
    suite = cells[0][1].options.suite
    rows: list[tuple[str, ...]] = []
    for title, run in cells:
        (domain_cost,) = costs(run)
        budget, *values = _line(domain_cost, len(run.options.seeds), 1, suite)
        rows.append((title, budget, *map(_short, values)))
    headers = ("cell", *HEADERS[1:])
    return "\n".join(
        [
            f"estimated cost of {len(cells)} cells and {len(cells[0][1].options.seeds)} seeds, from nothing:",
            tabulate(rows, headers=headers, colalign=("left", "left", *["right"] * (len(headers) - 2))),
            _assumed(suite),
        ]
    )


HEADERS = (
    "domain",
    "steps x batch",
    "examples",
    "PFLOP",
    "GPU hours",
    "CPU hours",
    "features PFLOP",
    "decoded GB",
    "stored GB",
)


def _assumed(suite: SuiteOptions) -> str:
    return (
        f"GPU hours at {suite.gpu_tflops:g} TFLOP/s sustained (suite.gpu_tflops), CPU hours of one core at "
        f"{suite.core_gflops:g} GFLOP/s (suite.core_gflops); assumed, not measured, without reading and probes."
    )


def _line(cost: Cost, seeds: int, methods: int, suite: SuiteOptions) -> tuple[Any, ...]:
    """Return the columns after the domain: a text, then numbers."""
    pretraining, encoding = seeds * sum(cost.pretraining.values()), seeds * methods * cost.encoding
    examples = seeds * len(cost.pretraining) * cost.steps * cost.batch_size
    gpu = (pretraining + encoding) / (suite.gpu_tflops * 1e12) / 3600
    cpu = (pretraining + encoding) / (suite.core_gflops * 1e9) / 3600
    budget = f"{cost.steps:,} x {cost.batch_size}"
    work = (pretraining / 1e15, gpu, cpu, encoding / 1e15)
    return budget, examples, *work, cost.prepared / 1e9, seeds * cost.stored / 1e9


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == 0 else f"{number:.2g}"


def _measured_rates(run: Run, domain_costs: list[Cost]) -> Iterator[float]:
    """Yield the operations per second of each finished pretraining."""
    for cost in domain_costs:
        for method, operations in cost.pretraining.items():
            pretraining = run.replace(domain=cost.domain, method=method)
            for seed in run.options.seeds:
                with contextlib.suppress(CheckpointError):
                    seconds = checkpoint.describe(pretraining.checkpoint_file(seed))["about"].get("seconds")
                    if isinstance(seconds, int | float) and seconds > 0:
                        yield operations / seconds
