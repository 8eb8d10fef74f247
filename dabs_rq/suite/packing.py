"""Which jobs run at the same time: each takes processors and, if it computes on GPUs, a share of one GPU or whole GPUs.

A job's share of a GPU is the part of the memory that it needs, and at least 1 / suite.jobs_per_gpu. Shares of one GPU
add up to at most 1. Ray gets the same shares as num_gpus. Nothing here asks a device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

VISIBLE = "CUDA_VISIBLE_DEVICES"  # names the GPUs that a process may use
WHOLE = 10_000  # parts of a GPU; Ray divides one as finely
MORE_THAN_ANY = 2**62  # bytes


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine. name: as CUDA_VISIBLE_DEVICES has it. memory: bytes that jobs may take. title: its
    kind."""

    name: str
    memory: int
    title: str = "GPU"


@dataclass(frozen=True)
class Need:
    """What a job takes.

    cpus: processors. gpus: whole GPUs, or a share of one below 1; None: it does not compute on a GPU. memory: bytes of
    one GPU that it was measured to need, which replace the share; None: not measured. keeps_source: whether it may keep
    its source on the GPU.
    """

    cpus: int = 1
    gpus: float | None = None
    memory: int | None = None
    keeps_source: bool = True

    @property
    def whole_gpus(self) -> int:
        """How many GPUs it takes as a whole; 0 if it shares one or takes none."""
        return math.ceil(self.gpus) if self.memory is None and self.gpus is not None and self.gpus >= 1 else 0

    def alone(self) -> Need:
        """Return the need of the same job with a whole GPU, the largest."""
        return replace(self, gpus=1.0, memory=MORE_THAN_ANY)


def parts(need: Need, gpu_memory: int, jobs_per_gpu: int) -> int:
    """Return the share of a GPU of `gpu_memory` bytes that a job takes, in parts of `WHOLE`; 0 if it takes none, and
    all of it if it needs more."""
    if not need.gpus:
        return 0
    if need.memory is None:
        taken = math.ceil(round(need.gpus * WHOLE, 3))
    else:
        taken = -(-need.memory * WHOLE // max(1, gpu_memory))  # rounded up
    return min(WHOLE, max(taken, WHOLE // jobs_per_gpu))


def about_too_large(needs: Mapping[str, Need], gpus: Sequence[Gpu]) -> list[str]:
    """Say of each job that was measured to need more memory than any GPU has that it runs alone."""
    largest = max((gpu.memory for gpu in gpus), default=0)
    return [
        f"{name} needs {need.memory / 1e9:.0f} GB, more than any GPU has free ({largest / 1e9:.0f} GB): it runs alone"
        for name, need in needs.items()
        if need.memory is not None and need.memory > largest
    ]


def describe_gpus(gpus: Sequence[Gpu]) -> str:
    """Write GPUs as "2 x NVIDIA L4 (22 and 23 GB free)", each kind apart."""
    kinds: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        kinds.setdefault(gpu.title, []).append(gpu)
    return ", ".join(
        f"{len(same)} x {title} ({' and '.join(dict.fromkeys(f'{gpu.memory / 1e9:.0f}' for gpu in same))} GB free)"
        for title, same in kinds.items()
    )


@dataclass
class Packing:
    """Places jobs on the processors and GPUs of one machine, as they come and go.

    gpus: may be none. cpus: processors. jobs: at most so many run at a time. jobs_per_gpu: at most so many share a GPU.

    A job that finds no room holds the GPU that has most of it, which no later job takes. So a large job starts at last.
    """

    cpus: int
    jobs: int
    gpus: Sequence[Gpu] = ()
    jobs_per_gpu: int = 1
    running: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict)  # name -> processors, GPU -> parts
    held: set[str] = field(default_factory=set)  # GPUs that waiting jobs keep from those after them

    def place(self, ready: Iterable[tuple[str, Need]]) -> dict[str, tuple[str, ...]]:
        """Start jobs in the given order. Return the GPUs of each that starts; none for one that takes no GPU."""
        self.held = set()
        started: dict[str, tuple[str, ...]] = {}
        for name, need in ready:
            cpus = min(need.cpus, self.cpus)
            if len(self.running) >= self.jobs or cpus > self.cpus - sum(taken for taken, _ in self.running.values()):
                break  # a smaller job would take the processors that this one waits for
            taken = self._find(name, need)
            if taken is not None:
                self.running[name] = cpus, taken
                started[name] = tuple(taken)
        return started

    def release(self, name: str) -> None:
        """Give back what a job took."""
        del self.running[name]

    def takes_gpu(self, name: str) -> bool:
        """Return whether a running job computes on a GPU."""
        return bool(self.running[name][1])

    def shares(self, name: str) -> bool:
        """Return whether a running job has a part of a GPU, not the whole."""
        return any(0 < taken < WHOLE for taken in self.running[name][1].values())

    def _find(self, name: str, need: Need) -> dict[str, int] | None:
        """Return the parts of GPUs that a job takes now. If there is no room, hold GPUs for it and return None."""
        if not need.gpus:
            return {}
        if need.whole_gpus > len(self.gpus) or not self.gpus:
            raise ValueError(f"{name} takes {need.gpus:g} GPUs; there are {len(self.gpus)}")
        count, suitable = need.whole_gpus or 1, self._suitable(need)
        free = sorted(
            (gpu for gpu in suitable if gpu.name not in self.held), key=lambda gpu: (-self._room(gpu), -gpu.memory)
        )
        asked = {gpu.name: parts(need, gpu.memory, self.jobs_per_gpu) for gpu in free}
        fitting = [gpu for gpu in free if asked[gpu.name] <= self._room(gpu)]
        if len(fitting) >= count:
            return {gpu.name: asked[gpu.name] for gpu in fitting[:count]}
        self.held.update(gpu.name for gpu in free[:count])
        return None

    def _suitable(self, need: Need) -> Sequence[Gpu]:
        """List the GPUs with the memory that a job needs; if none has it, the largest."""
        least = min(need.memory or 0, max(gpu.memory for gpu in self.gpus))
        return [gpu for gpu in self.gpus if gpu.memory >= least]

    def _room(self, gpu: Gpu) -> int:
        return WHOLE - sum(taken.get(gpu.name, 0) for _, taken in self.running.values())
