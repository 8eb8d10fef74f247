"""What is measured of a suite's jobs before they run: the GPUs that are there, and the memory that each training needs.

This is the only part of packing that asks a device.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import torch

from dabs_rq.data.resident import SHARE
from dabs_rq.errors import TrainingError, first_line
from dabs_rq.run import Run
from dabs_rq.suite.calibrate import measure
from dabs_rq.suite.cost import source_bytes
from dabs_rq.suite.jobs import Job
from dabs_rq.suite.packing import VISIBLE, Gpu

# Of a process, beside what torch reserves: the context of CUDA and the code of its libraries, bytes. Assumed.
CONTEXT = 800_000_000
MEASURING = "measuring on a GPU how much memory a step of each kind of training needs"
MARGIN = 1.15  # of what a step reserves: later steps may fragment it


@dataclass(frozen=True)
class Training:
    """What a training needs. memory: bytes of a GPU. source_counted: whether that includes its source, if it may stay
    on the GPU; otherwise the source must not stay there."""

    memory: int
    source_counted: bool = True


@dataclass(frozen=True)
class Seen:
    """The GPUs, and title of a job -> its training. Trainings that could not be measured are missing."""

    gpus: tuple[Gpu, ...] = ()
    trainings: Mapping[str, Training] = field(default_factory=dict)


NOTHING = Seen()


def read_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, with their free memory. This takes some memory of each until the
    process ends. Raises TrainingError if there are GPUs and none can be used."""
    visible = os.environ.get(VISIBLE)
    count = torch.cuda.device_count()
    names = [name.strip() for name in visible.split(",")] if visible else [str(index) for index in range(count)]
    found = list[Gpu]()
    for index in range(count):
        title = torch.cuda.get_device_name(index)
        try:
            found.append(Gpu(names[index], torch.cuda.mem_get_info(index)[0], title))
        except RuntimeError as error:  # such as one in exclusive mode that somebody else uses
            print(f"GPU {names[index]}, {title}, is left out: {first_line(error)}", flush=True)
    if count and not found:
        raise TrainingError("none of the GPUs of this machine can be used: look at nvidia-smi")
    return tuple(found)


def to_measure(run: Run, jobs: Sequence[Job]) -> list[Job]:
    """Return one training of each kind among `jobs`; none if no two jobs share a GPU, or options declare the shares."""
    suite, trainer = run.options.suite, run.options.trainer
    shares = suite.jobs_per_gpu > 1 and suite.pretrain_gpus is None and trainer.devices == 1
    if not shares or suite.calibrate == "never":
        return []
    return list({job.title: job for job in jobs if job.trains}.values())


def look_apart(jobs: Sequence[Job]) -> Seen:
    """Do what `look` does in another process, so that this one takes no memory of a GPU. If that process is killed, no
    training is measured."""
    for measured in (jobs, ()):
        if measured:
            print(MEASURING, flush=True)
        with (
            contextlib.suppress(BrokenProcessPool),
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        ):
            return pool.submit(look, measured).result()
    raise TrainingError("the process that asks for the GPUs of this machine was killed twice: look at nvidia-smi")


def look(jobs: Sequence[Job]) -> Seen:
    """Read the GPUs, and measure the trainings on the first of them."""
    gpus = read_gpus()
    largest = max((gpu.memory for gpu in gpus), default=0)  # a source that stays on any of them counts
    trainings: dict[str, Training] = {}
    for job in jobs if gpus else ():
        try:
            needed = _measured(job, largest)
        except Exception as error:  # the job itself tells what is wrong
            print(f"{job.title} runs alone on a GPU: a step could not be measured ({first_line(error)})", flush=True)
            continue
        if needed is not None:
            trainings[job.title] = needed
    return Seen(gpus, trainings)


def _measured(job: Job, gpu_memory: int) -> Training | None:
    run, domain = job.run, job.run.domain
    step = measure(run, run.inputs_of(domain), run.method.name, run.method.options, run.batch_size, seconds=0.0)
    return None if step.memory is None else training(run, step.memory, gpu_memory)


def training(run: Run, step_memory: int, gpu_memory: int) -> Training | None:
    """Return what a training of a run's domain and method needs on a GPU of `gpu_memory` bytes, of which a step
    reserves `step_memory`; None if it cannot be said."""
    own, choice = CONTEXT + int(MARGIN * step_memory), run.options.loader.resident
    if choice == "never" or run.whole_crops(run.method, run.domain) is not None:
        return Training(own)
    source = source_bytes(run, run.domain)
    if source is None:
        return Training(own, source_counted=False) if choice == "auto" else None
    stays = choice == "always" or source <= SHARE * gpu_memory
    return Training(own + (source if stays else 0))
