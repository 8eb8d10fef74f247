"""Writes the estimate of a dry run: the cost of a suite or of the cells of an experiment, and the hours on GPUs by
name, at a measured rate, and at that of finished pretrainings."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tabulate import tabulate

from dabs_rq import checkpoint
from dabs_rq.errors import CheckpointError
from dabs_rq.pretrain.precision import precision
from dabs_rq.run import Run
from dabs_rq.run.options import SuiteOptions
from dabs_rq.run.processes import uses_gpu
from dabs_rq.suite.calibrate import Step, calibrates, device_name, measure
from dabs_rq.suite.cost import Cost, costs
from dabs_rq.suite.measured import CONTEXT, MARGIN, read_gpus, training
from dabs_rq.suite.needs import need_of_training
from dabs_rq.suite.packing import WHOLE, Gpu, parts

# Peaks of dense matrix products in half precision with float32 sums, TFLOP/s, from NVIDIA's data sheets.
GPU_PEAKS = {"V100": 125, "A100": 312, "RTX 4090": 165, "L40S": 362, "H100": 989, "H200": 989}
UTILISATION = 0.2
HEADERS = (
    "steps x batch",
    "examples",
    "PFLOP",
    "GPU hours",
    "CPU hours",
    "features PFLOP",
    "decoded GB",
    "stored GB",
)


@dataclass(frozen=True)
class Part:
    """A line of an estimate: a domain of a suite, or a cell of an experiment. methods: how many have features."""

    title: str
    run: Run
    cost: Cost
    methods: int = 1

    @property
    def seeds(self) -> int:
        return len(self.run.options.seeds)

    @cached_property
    def trainings(self) -> list[tuple[Run, float]]:
        """The run of each method that trains, and its operations for one seed."""
        domain = self.cost.domain
        return [
            (self.run.replace(domain=domain, method=method, tasks=None), operations)
            for method, operations in self.cost.pretraining.items()
        ]


def describe(run: Run) -> str:
    """Describe the cost of a suite: a table with totals, what it assumes, and the hours."""
    methods = len(run.options.methods)
    domains = [Part(cost.domain, run, cost, methods) for cost in costs(run)]
    of_what = f"{methods} methods and {len(run.options.seeds)} seeds, from nothing, at scale={run.options.scale.name}"
    return _describe(of_what, "domain", domains)


def describe_cells(cells: Sequence[tuple[str, Run]]) -> str:
    """Describe the cost of the cells of an experiment, (title, run) each, for all seeds, from nothing. A checkpoint
    that several cells use counts for the first."""
    several = len({run.domain.name for _, run in cells}) > 1
    seen, found, shared = set[Any](), list[Part](), False
    for title, run in cells:
        (cost,) = costs(run)
        if cost.pretraining and (folder := run.checkpoint_folder(0)) in seen:
            cost, shared = dataclasses.replace(cost, pretraining={}), True
        elif cost.pretraining:
            seen.add(folder)
        found.append(Part(f"{run.domain.name}: {title}" if several else title, run, cost))
    text = _describe(f"{len(cells)} cells and {found[0].seeds} seeds, from nothing", "cell", found)
    return f"{text}\nA checkpoint that several cells use is counted for the first of them." if shared else text


def _describe(of_what: str, kind: str, lines: Sequence[Part]) -> str:
    run, domain_costs = lines[0].run, [line.cost for line in lines]
    numbers = [_numbers(line) for line in lines]
    total = [sum(column) for column in zip(*numbers, strict=True)]
    rows = [(line.title, _budget(line.cost), *map(_short, row)) for line, row in zip(lines, numbers, strict=True)]
    rows.append(("all", "", *map(_short, total)))
    text = [
        f"estimated cost of {of_what}:",
        tabulate(
            rows, headers=(kind, *HEADERS), colalign=("left", "left", *["right"] * len(total)), disable_numparse=True
        ),
        _assumed(run.options.suite),
        "loader.prepare and loader.cache_gb decide which decoded examples are cached; others are decoded every time.",
    ]
    if any(line.run.options.encoders or line.run.options.scores_network for line in lines):
        text.append("Not counted: the networks of encoder files, which are scored as they are.")
    text.append(_on_named_gpus(total[1] + total[4]))
    if calibrates(run) and any(cost.pretraining for cost in domain_costs):
        text.append(_calibrated(kind, lines))
    unknown = dict.fromkeys(name for cost in domain_costs for name in cost.unknown)
    if unknown:
        text.append(f"Not counted, because their number of examples is not declared: {', '.join(unknown)}.")
    if rates := list(_measured_rates(lines)):
        median = statistics.median(rates)
        hours = sum(line.seeds * sum(line.cost.pretraining.values()) for line in lines) / median / 3600
        text.append(
            f"{len(rates)} finished pretrainings here ran at {min(rates) / 1e9:.1f} to {max(rates) / 1e9:.1f} GFLOP/s "
            f"(median {median / 1e9:.1f}); at the median pretraining takes {_short(hours)} hours in sequence."
        )
    return "\n".join(text)


def _assumed(suite: SuiteOptions) -> str:
    return (
        f"GPU hours at {suite.gpu_tflops:g} TFLOP/s sustained (suite.gpu_tflops), CPU hours of one core at "
        f"{suite.core_gflops:g} GFLOP/s (suite.core_gflops); assumed, not measured, without reading and probes."
    )


def _budget(cost: Cost) -> str:
    return f"{cost.steps:,} x {cost.batch_size}"


def _numbers(line: Part) -> tuple[float, ...]:
    """Return the columns after the budget."""
    cost, seeds, suite = line.cost, line.seeds, line.run.options.suite
    pretraining, encoding = seeds * sum(cost.pretraining.values()), seeds * line.methods * cost.encoding
    examples = seeds * len(cost.pretraining) * cost.steps * cost.batch_size
    gpu = (pretraining + encoding) / (suite.gpu_tflops * 1e12) / 3600
    cpu = (pretraining + encoding) / (suite.core_gflops * 1e9) / 3600
    work = (pretraining / 1e15, gpu, cpu, encoding / 1e15)
    return examples, *work, cost.prepared / 1e9, seeds * cost.stored / 1e9


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == 0 else f"{number:.2g}"


# ---- hours -----------------------------------------------------------------------------------------------------------


def _on_named_gpus(petaflop: float) -> str:
    """Write the hours for all operations on GPUs by name."""
    hours = {name: petaflop * 1e15 / (UTILISATION * peak * 1e12) / 3600 for name, peak in GPU_PEAKS.items()}
    listed = ", ".join(f"{name} {_short(each)}" for name, each in hours.items())
    return f"GPU hours at {UTILISATION:.0%} of the half-precision peak (assumed): {listed}."


def _calibrated(kind: str, lines: Sequence[Part]) -> str:
    """Measure a training step of every line and method here, and write the hours and on a GPU the memory that
    follow."""
    first = lines[0].run
    gpu = read_gpus()[0] if uses_gpu(first.options) else None
    rows, all_hours = list[tuple[str, ...]](), 0.0
    for line in lines:
        for run, work in line.trainings:
            inputs, cost = run.inputs_of(run.domain), line.cost
            step = measure(run, inputs, run.method.name, run.method.options, cost.batch_size)
            trained = cost.steps * cost.batch_size
            hours = line.seeds * trained * step.seconds / 3600
            numbers = (1e3 * cost.batch_size * step.seconds, work / trained / step.seconds / 1e12, hours)
            of_gpu = _memory(run, step, gpu) if gpu else ()
            rows.append((line.title, run.method.name, *map(_short, numbers), *of_gpu))
            all_hours += hours
    headers = (kind, "method", "ms a step", "TFLOP/s", "hours", *(("GB", "at once") if gpu else ()))
    aligned = ("left", "left", *["right"] * (len(headers) - 2))
    return (
        f"measured on {device_name(first)} in {precision(first.options)}, on made-up inputs, without reading:\n"
        f"{tabulate(rows, headers=headers, colalign=aligned, disable_numparse=True)}\n"
        f"pretraining takes {_short(all_hours)} hours in sequence at these rates."
    ) + (_about_memory(first, gpu) if gpu else "")


def _memory(run: Run, step: Step, gpu: Gpu) -> tuple[str, str]:
    """Return the memory that a training needs, and how many like it run at once on a GPU."""
    needed = None if step.memory is None else training(run, step.memory, gpu.memory)
    need = need_of_training(run, needed)
    at_once = 1 if need.whole_gpus else WHOLE // max(1, parts(need, gpu.memory, run.options.suite.jobs_per_gpu))
    return _short(needed.memory / 1e9) if needed else "-", str(at_once)


def _about_memory(run: Run, gpu: Gpu) -> str:
    return (
        f"\nGB: a training's memory, {MARGIN:g} times that of a step and {CONTEXT / 1e9:g} for CUDA, and its source if "
        f"that stays on the GPU (loader.resident). At once: how many such trainings share a GPU, of which "
        f"{gpu.memory / 1e9:.0f} GB are free here (suite.jobs_per_gpu={run.options.suite.jobs_per_gpu}); one that "
        "needs more than that runs alone."
    )


def _measured_rates(lines: Sequence[Part]) -> Iterator[float]:
    """Yield the operations per second of each finished pretraining."""
    for line in lines:
        for run, operations in line.trainings:
            for seed in run.options.seeds:
                with contextlib.suppress(CheckpointError):
                    seconds = checkpoint.describe(run.checkpoint_file(seed))["about"].get("seconds")
                    if isinstance(seconds, int | float) and seconds > 0:
                        yield operations / seconds
