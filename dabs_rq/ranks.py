"""Ranks: the processes that share one pretraining, each with its own device and its own part of every batch.

The trained weights do not depend on the number of ranks: the batch size counts the examples of all ranks, random
numbers are drawn for the whole batch, and with gathered projections every rank computes the loss of the whole batch.
Two exceptions: e-Mix mixes examples within a rank, and dropout draws separately on each rank.
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
    """The position of this process: `rank` in [0, count). gathers: whether losses compare the examples of all ranks."""

    rank: int = 0
    count: int = 1
    gathers: bool = True

    def part(self, size: int) -> slice:
        """Return the slice of a whole batch of `size` examples that belongs to this rank; `count` must divide it."""
        per_rank = size // self.count
        return slice(self.rank * per_rank, (self.rank + 1) * per_rank)

    def rand(self, rows: int, generator: torch.Generator) -> Tensor:
        """Draw numbers in [0, 1) for the whole batch and return this rank's `rows`: (rows,), on the generator's
        device."""
        whole = torch.rand(self.count * rows, generator=generator, device=generator.device)
        return whole[self.part(len(whole))]

    def permutation(self, rows: int, generator: torch.Generator) -> Tensor:
        """Draw one permutation of `rows` per rank and return this rank's: (rows,), int64."""
        permutations = [torch.randperm(rows, generator=generator, device=generator.device) for _ in range(self.count)]
        return permutations[self.rank]

    def first_row(self, rows: int) -> int:
        """Return the index of this rank's first row in a tensor that `gather` returns."""
        return self.rank * rows if self._gathering else 0

    def gather(self, *own: Tensor) -> tuple[Tensor, ...]:
        """Concatenate each tensor (B, ...) over all ranks, in rank order: (count * B, ...). Returns the tensors
        unchanged if the ranks do not gather.

        Gradients flow to the rows of every rank. A loss of gathered tensors is equal on all ranks, so it equals its
        mean over ranks, which is what DDP differentiates.
        """
        if not self._gathering:
            return own
        return tuple(_Gather.apply(tensor, self) for tensor in own)

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Average each scalar over ranks."""
        if self.count == 1:
            return values
        stacked = torch.stack(list(values.values()))
        distributed.all_reduce(stacked)
        return dict(zip(values, stacked / self.count, strict=True))

    @contextmanager
    def silence_other_ranks(self) -> Iterator[None]:
        """Silence prints and warnings in this block on every rank but 0."""
        if self.rank == 0:
            yield
            return
        with Path(os.devnull).open("w") as devnull, redirect_stdout(devnull), warnings.catch_warnings():
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


def rank_count(devices: int, nodes: int) -> int:
    """Return the number of ranks on `nodes` machines with `devices` each."""
    return devices * nodes


def detect_ranks(devices: int, nodes: int, gathers: bool = True) -> Ranks:
    """Read from the environment which rank this process is. Without torchrun or srun it is the only rank.

    devices, nodes, gathers: trainer.devices, trainer.nodes, trainer.gather_negatives.
    Raises: OptionError if the number of started processes differs from devices x nodes, or if nodes > 1 and no
        processes were started.
    """
    count, environment = rank_count(devices, nodes), os.environ
    if (processes := int(environment.get("WORLD_SIZE", 1))) > 1:
        if processes != count:
            raise OptionError(
                f"{processes} processes were started together, but trainer.devices={devices} x "
                f"trainer.nodes={nodes} are {count}: set trainer.devices to the devices of one node and trainer.nodes "
                "to the number of nodes"
            )
        return Ranks(int(environment["RANK"]), count, gathers)
    # Accept a SLURM step only if its size matches: a Ray worker inherits the variables of the srun that started Ray.
    step = (environment.get("SLURM_STEP_NUM_TASKS"), environment.get("SLURM_STEP_NUM_NODES"))
    if count > 1 and step == (str(count), str(nodes)):
        return Ranks(int(environment["SLURM_PROCID"]), count, gathers)
    if nodes > 1:
        raise OptionError(
            f"trainer.nodes={nodes}: start the processes on all nodes, with srun --ntasks-per-node={devices} or with "
            f"torchrun --nnodes={nodes} --nproc-per-node={devices}"
        )
    return Ranks()
