"""Measures training steps on the device that is there, on made-up inputs of the declared shapes: time and memory."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dabs_rq import registry
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.pretrain.precision import precision
from dabs_rq.run import Run
from dabs_rq.run.processes import uses_gpu
from dabs_rq.spec import Input, Tokens

WARM_UP, MOST_STEPS, SECONDS = 3, 30, 2.0  # steps before those that are timed; of these at most so many, or so long
EXAMPLES_ON_PROCESSOR = 4  # a whole batch at paper scale takes minutes there, and the rate hardly depends on it
_HALF = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


def calibrates(run: Run) -> bool:
    """Return whether a dry run measures: suite.calibrate, by default only with a GPU."""
    chosen = run.options.suite.calibrate
    return uses_gpu(run.options) if chosen == "auto" else chosen == "always"


def device_name(run: Run) -> str:
    return torch.cuda.get_device_name() if uses_gpu(run.options) else "the processor"


@dataclass(frozen=True)
class Step:
    """A measured training step. seconds: for each example. memory: the most bytes of a GPU that torch reserved; None on
    a processor."""

    seconds: float
    memory: int | None


def measure(
    run: Run, inputs: tuple[Input, ...], method: str, options: Any, batch_size: int, seconds: float = SECONDS
) -> Step:
    """Measure a training step: forward, backward and optimizer, in the precision of a training here if that is a mixed
    one, else in float32. Reading is not part of it. seconds: about as long; the time of a step is the median."""
    device = torch.device("cuda" if uses_gpu(run.options) else "cpu")
    size = batch_size if device.type == "cuda" else min(batch_size, EXAMPLES_ON_PROCESSOR)
    chosen = run.options.encoder
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mask = run.options.protocol.padding_mask
        encoder = registry.encoder(chosen.name).build(chosen.options, inputs, mask).to(device)
        module = build_method(registry.method(method), options, encoder).to(device)
        raw = tuple(_made_up(spec, size).to(device) for spec in inputs)
        targets = torch.zeros(size, dtype=torch.int64, device=device) if module.reads_targets else None
        budget = run.options.pretrain
        module.begin(budget, 0, None if targets is None else np.zeros(size, np.int64))
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = module.optimizer(trained, budget)
        half = _HALF.get(precision(run.options))
        generator = torch.Generator(device).manual_seed(0)

        def step() -> None:
            with torch.autocast(device.type, half) if half else contextlib.nullcontext():
                batch = Batch(module.augment(tuple(map(to_model_input, raw)), generator), encoder, targets=targets)
                loss, _ = module.loss(batch, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        taken = statistics.median(_times(step, device, seconds)) / size
    return Step(taken, torch.cuda.max_memory_reserved() if device.type == "cuda" else None)


def _times(step: Callable[[], None], device: torch.device, seconds: float) -> list[float]:
    times: list[float] = []
    warm_up = WARM_UP if device.type == "cuda" else 1
    while len(times) < warm_up + 1 or (len(times) < MOST_STEPS and sum(times[warm_up:]) < seconds):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return times[warm_up:]


def _made_up(spec: Input, size: int) -> torch.Tensor:
    if isinstance(spec, Tokens):
        return torch.randint(0, spec.vocabulary, (size, *spec.shape))
    if spec.dtype == "uint8":
        return torch.randint(0, 256, (size, *spec.shape), dtype=torch.uint8)
    return torch.randn(size, *spec.shape)
