"""Several pretrainings by the ranks that torchrun started (see test_ddp.py), and the gradients of a first batch.

    torchrun --nproc-per-node 2 -m tests.ddp_ranks runs.json

runs.json: {name: words of a run}. The gradients of each are written beside it, to <name>.pt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dabs_rq.encoders.embed import to_model_input
from dabs_rq.methods.base import Batch
from dabs_rq.pretrain.pretrain import build, pretrain, source_batches
from dabs_rq.ranks import Ranks, detect_ranks
from dabs_rq.run import Run


class _Loss(nn.Module):
    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Tensor:
        loss, _ = self.method.loss(batch, torch.Generator().manual_seed(3))
        return loss


def gradients(run: Run, ranks: Ranks) -> dict[str, Tensor]:
    """Of every parameter, from the first batch, as DDP averages them over the ranks."""
    encoder, method = build(run, 0)
    module: nn.Module = _Loss(method)
    if ranks.count > 1:
        module = DistributedDataParallel(module)
    raw, *_ = next(iter(source_batches(run, 0).loader(0, ranks=ranks)))
    module(Batch(tuple(map(to_model_input, raw)), encoder, ranks)).backward()
    return {name: one.grad for name, one in method.named_parameters() if one.grad is not None}


def main(file: Path) -> None:
    for name, words in json.loads(file.read_text()).items():
        run = Run.of(words)
        pretrain(run, 0)
        trainer = run.options.trainer
        ranks = detect_ranks(trainer.devices, trainer.nodes, trainer.gather_negatives)
        found = gradients(run, ranks)
        if ranks.rank == 0:
            torch.save(found, file.with_name(f"{name}.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
