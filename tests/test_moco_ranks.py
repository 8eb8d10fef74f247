"""MoCo-v3's loss over two processes (gloo) against the reference's, which ran in two processes too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

from dabs_rq.methods import moco
from dabs_rq.ranks import Ranks
from tests.imagenet_golden import Vectors

CASES = ("loss_ranks/T1.0", "loss_ranks/T0.2")
PROCESSES = 2


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    place = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=PROCESSES)
    found = {}
    for name in CASES:
        vectors = Vectors(name)
        own = vectors["q"][rank].clone().requires_grad_()
        q, k = Ranks(rank, PROCESSES).gather(own, vectors["k"][rank])
        loss = moco.contrastive(q, k, vectors.settings["T"])
        loss.backward()
        found[name] = loss.detach(), own.grad
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_have_the_references_mean_loss_and_its_gradients(tmp_path: Path) -> None:
    spawned: Any = multiprocessing.spawn
    spawned(_rank, (str(tmp_path),), nprocs=PROCESSES)
    for rank in range(PROCESSES):
        for name, (loss, gradient) in torch.load(tmp_path / f"{rank}.pt").items():
            vectors = Vectors(name)
            assert vectors.settings["processes"] == PROCESSES
            torch.testing.assert_close(loss, vectors["loss"].mean().float(), rtol=1e-5, atol=1e-6)
            expected = vectors["grad_q"][rank]
            # DDP averages gradients over processes, so each process's are PROCESSES times its part of the mean.
            torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-3 * float(expected.abs().max()))
