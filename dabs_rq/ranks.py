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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from dabs_rq.errors import OptionError

if TYPE_CHECKING:
    from dabs_rq.run.options import TrainerOptions


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
        return tuple(_Gather.apply(one, self) for one in own)

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over ranks of each scalar."""
        if self.count == 1:
            return values
        stacked = torch.stack(list(values.values()))
        distributed.all_reduce(stacked)
        return dict(zip(values, stacked / self.count, strict=True))

    @contextmanager
    def first_tells(self) -> Iterator[None]:
        """What is printed in this block, and warned of, comes from the first rank alone."""
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


def wanted(options: TrainerOptions) -> int:
    """How many ranks the options ask for."""
    return options.devices * options.nodes


def started(options: TrainerOptions) -> Ranks:
    """Which rank this process is of those that torchrun or srun started; the only one where nobody did.

    Raises OptionError where another number was started than the options want, or none that span nodes.
    """
    count, gathers = wanted(options), options.gather_negatives
    found = os.environ
    if (processes := int(found.get("WORLD_SIZE", 1))) > 1:
        if processes != count:
            raise OptionError(
                f"{processes} processes were started together, but trainer.devices={options.devices} x "
                f"trainer.nodes={options.nodes} are {count}: give the devices of a node and the number of nodes"
            )
        return Ranks(int(found["RANK"]), count, gathers)
    # Only a step that fits is ours: a Ray worker has the variables of the srun that started Ray.
    step = (found.get("SLURM_STEP_NUM_TASKS"), found.get("SLURM_STEP_NUM_NODES"))
    if count > 1 and step == (str(count), str(options.nodes)):
        return Ranks(int(found["SLURM_PROCID"]), count, gathers)
    if options.nodes > 1:
        raise OptionError(
            f"trainer.nodes={options.nodes}: start the processes on all nodes, with srun --ntasks-per-node="
            f"{options.devices} or with torchrun --nnodes={options.nodes} --nproc-per-node={options.devices}"
        )
    return Ranks()
