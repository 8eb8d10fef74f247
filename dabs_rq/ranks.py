"""Ranks: the processes that share one pretraining, each with its own device and its own part of every batch.

What is trained does not depend on how many there are. The batch size is that of all ranks together, random numbers are
drawn for the whole batch, and with gathered projections every rank computes the loss of the whole batch. (e-Mix mixes
examples of one rank only, and dropout draws per rank.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from dabs_rq.errors import OptionError


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `count`. gathers: whether losses compare the examples of all ranks."""

    rank: int = 0
    count: int = 1
    gathers: bool = True

    def part(self, size: int) -> slice:
        """This rank's part of a whole batch of `size`, which `count` divides."""
        each = size // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def rand(self, rows: int, generator: torch.Generator) -> Tensor:
        """This rank's `rows` of numbers in [0, 1) drawn for the whole batch: (rows,), on the generator's device."""
        whole = torch.rand(self.count * rows, generator=generator, device=generator.device)
        return whole[self.part(len(whole))]

    def permutation(self, rows: int, generator: torch.Generator) -> Tensor:
        """This rank's permutation of its own `rows`, one of as many as there are ranks: (rows,), int64."""
        each = [torch.randperm(rows, generator=generator, device=generator.device) for _ in range(self.count)]
        return each[self.rank]

    def first_row(self, rows: int) -> int:
        """Where this rank's `rows` begin in what `gather` gives."""
        return self.rank * rows if self._gathering else 0

    def gather(self, *own: Tensor) -> tuple[Tensor, ...]:
        """Each tensor (B, ...) with the rows of all ranks, in their order, (count * B, ...); as it is if the ranks do
        not gather. Gradient flows to the rows of every rank. A loss of gathered tensors is the same on all ranks, so
        that its mean over ranks, whose gradient DDP takes, is that loss."""
        if not self._gathering:
            return own
        return tuple(_Gather.apply(tensor, self) for tensor in own)

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over ranks of each scalar."""
        if self.count == 1:
            return values
        stacked = torch.stack(list(values.values()))
        distributed.all_reduce(stacked)
        return dict(zip(values, stacked / self.count, strict=True))

    @contextmanager
    def first_prints(self) -> Iterator[None]:
        """In this block only rank 0 prints and warns."""
        if self.rank == 0:
            yield
            return
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    @property
    def _gathering(self) -> bool:
        return self.gathers and self.count > 1


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(ranks.count)]
        distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(grad)
        return grad[ctx.ranks.part(len(grad))], None


def wanted(devices: int, nodes: int) -> int:
    """How many ranks `devices` of each of `nodes` machines are."""
    return devices * nodes


def started(devices: int, nodes: int, gathers: bool = True) -> Ranks:
    """Which rank this process is of those that torchrun or srun started; the only one where neither did.

    devices, nodes, gathers: trainer.devices, trainer.nodes, trainer.gather_negatives. Raises OptionError where another
    number was started than these are, or where they span nodes and nothing was started.
    """
    count, environment = wanted(devices, nodes), os.environ
    if (processes := int(environment.get("WORLD_SIZE", 1))) > 1:
        if processes != count:
            raise OptionError(
                f"{processes} processes were started together, but trainer.devices={devices} x "
                f"trainer.nodes={nodes} are {count}: give the devices of a node and the number of nodes"
            )
        return Ranks(int(environment["RANK"]), count, gathers)
    # Only a step that fits is ours: a Ray worker has the variables of the srun that started Ray.
    step = (environment.get("SLURM_STEP_NUM_TASKS"), environment.get("SLURM_STEP_NUM_NODES"))
    if count > 1 and step == (str(count), str(nodes)):
        return Ranks(int(environment["SLURM_PROCID"]), count, gathers)
    if nodes > 1:
        raise OptionError(
            f"trainer.nodes={nodes}: start the processes on all nodes, with srun --ntasks-per-node={devices} or with "
            f"torchrun --nnodes={nodes} --nproc-per-node={devices}"
        )
    return Ranks()
