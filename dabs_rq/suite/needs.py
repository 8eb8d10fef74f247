"""What each job of a suite takes: processors, and a share of a GPU or whole GPUs. The same for every executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dabs_rq.run import Run
from dabs_rq.run.processes import MOST
from dabs_rq.suite.jobs import Job, unattended
from dabs_rq.suite.measured import NOTHING, Seen, Training
from dabs_rq.suite.packing import WHOLE, Need, parts

Node = Mapping[str, float]  # "CPU" and "GPU" -> how many


def needs(run: Run, jobs: Sequence[Job], nodes: Sequence[Node], seen: Seen = NOTHING) -> dict[str, Need]:
    """Return job name -> what the job takes. `nodes`: the processors and GPUs of each machine. `seen`: what was
    measured of the jobs on one of its GPUs.

    Preparing takes a share of all processors. Another job takes suite.cpus and loader.workers for each device. A job
    that trains takes trainer.devices, or with one device the memory that was measured; suite.pretrain_gpus replaces
    both. A transfer takes suite.transfer_gpus.
    """
    largest = int(max(node.get("CPU", 0) for node in nodes))
    total = int(sum(node.get("CPU", 0) for node in nodes))
    share = total // max(1, sum(job.step == "prepare" for job in jobs))
    taken: dict[str, Need] = {}
    for job in jobs:
        if job.step == "prepare":
            taken[job.name] = Need(run.options.loader.processes or min(max(share, 1), largest))
        else:
            devices = run.options.trainer.devices if job.trains else 1
            on_gpu = _on_gpu(run, job, nodes, seen)
            cpus = run.options.suite.cpus + _readers(run, share_of_gpus(run, on_gpu, seen), devices, nodes)
            taken[job.name] = Need(cpus * devices, on_gpu.gpus, on_gpu.memory, on_gpu.keeps_source)
    return taken


def share_of_gpus(run: Run, need: Need, seen: Seen = NOTHING) -> float | None:
    """Return how many GPUs a job takes, below 1 for a share of one; None if it takes none."""
    if need.gpus is None or need.whole_gpus:
        return need.gpus
    memory = max((gpu.memory for gpu in seen.gpus), default=0)
    return parts(need, memory, run.options.suite.jobs_per_gpu) / WHOLE


def quiet(run: Run, job: Job, need: Need) -> Job:
    """Return the job as it runs in a process of its own, with readers for the processors that it takes."""
    if job.step == "prepare":
        return unattended(job, need.cpus)
    devices = run.options.trainer.devices if job.trains else 1
    return unattended(job, 1, need.cpus // devices - run.options.suite.cpus, keeps_source=need.keeps_source)


def _readers(run: Run, gpus: float | None, devices: int, nodes: Sequence[Node]) -> int:
    """Return the processes per device that read for a job: loader.workers. auto: on the node with the fewest processors
    for each GPU, those of the job's share of a GPU without suite.cpus; none without a GPU."""
    if (given := run.options.loader.workers) != "auto":
        return given
    if not gpus:
        return 0
    per_gpu = min(node.get("CPU", 0) / node["GPU"] for node in nodes if node.get("GPU"))
    return min(MOST, max(0, int(per_gpu * gpus / devices) - run.options.suite.cpus))


def _on_gpu(run: Run, job: Job, nodes: Sequence[Node], seen: Seen) -> Need:
    """Return what a job takes of GPUs."""
    suite, trainer = run.options.suite, run.options.trainer
    if trainer.accelerator == "cpu" or not any(node.get("GPU") for node in nodes):
        return Need()
    if not job.trains:
        return Need(gpus=suite.transfer_gpus if job.step == "transfer" else None)
    return need_of_training(run, seen.trainings.get(job.title))


def need_of_training(run: Run, measured: Training | None) -> Need:
    """Return what a training takes of GPUs. measured: None if its need is not known."""
    declared, devices = run.options.suite.pretrain_gpus, run.options.trainer.devices
    if declared is not None or devices > 1:
        return Need(gpus=devices if declared is None else declared)
    if measured is None:
        return Need(gpus=1)
    return Need(gpus=1, memory=measured.memory, keeps_source=measured.source_counted)
