"""Counts the cost of a suite from the declarations alone: steps, examples, operations and disk.

torch counts the operations on tensors without data: the matrix products of forward and backward of a method's loss, and
of forward of the frozen encoder. Reading, probes and elementwise operations are not counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from dabs_rq import registry
from dabs_rq.domain import Domain, Task
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import NotServedError
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.run import Run
from dabs_rq.spec import Input, Tokens
from dabs_rq.suite import plan

COUNTED_EXAMPLES = 2  # size of the batch whose operations are counted
FLOAT_BYTES = 4


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
    unlabelled = _unlabelled(run, domain)
    labelled = {task.row: _examples(task.sizes, ("train", "test"), options.transfer.max_examples) for task in tasks}
    counts = {f"{source.source.title} (pretraining)": unlabelled, **labelled}
    batch_size = options.pretrain.batch_size or domain.batch_size
    encoded = sum(count or 0 for count in labelled.values())
    epochs = options.transfer.epochs if options.transfer.features == "reencode" else 1
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
        prepared=_bytes(inputs) * sum(count or 0 for count in decoded),
        stored=FLOAT_BYTES * len(run.methods) * (operations.weights(inputs) + encoded * operations.width(inputs)),
        unknown=tuple(name for name, count in counts.items() if count is None),
    )


def source_bytes(run: Run, domain: Domain) -> int | None:
    """Return the bytes of all decoded examples of a domain's pretraining source; None if their number is not
    declared."""
    count = _unlabelled(run, domain)
    return None if count is None else count * _bytes(run.inputs_of(domain))


def _unlabelled(run: Run, domain: Domain) -> int | None:
    return _examples(domain.pretraining.sizes, ("train",), run.options.pretrain.max_examples)


def _bytes(inputs: tuple[Input, ...]) -> int:
    return sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in inputs)


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
