"""How many processes read and decode examples for a training or an encoder."""

from __future__ import annotations

import os

from dabs_rq.run.options import Options

MOST = 16  # more per device start slowly and share the same disk


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loader_workers(options: Options, jobs: int = 1) -> int:
    """Return loader.workers per device, of one of `jobs` jobs at a time on this machine.

    auto: with a GPU the processors of the device's share but one, at least 1 and at most `MOST`; without a GPU 0, since
    the computation itself takes all processors.
    """
    if (given := options.loader.workers) != "auto":
        return given
    if not uses_gpu(options):
        return 0
    return min(MOST, max(1, processors() // (jobs * options.trainer.devices) - 1))


def uses_gpu(options: Options) -> bool:
    """Return whether trainer.accelerator means GPUs of CUDA here."""
    import torch

    return options.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def about_workers(options: Options) -> str:
    """Say how many processes loader.workers=auto chose and why; "" if none read."""
    if options.loader.workers != "auto" or (chosen := loader_workers(options)) == 0:
        return ""
    devices = options.trainer.devices
    of_each = f" for {devices} devices" if devices > 1 else ""
    return f"loader.workers=auto: {chosen}, from {processors()} processors{of_each}, one of each share left to train"
