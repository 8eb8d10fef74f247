"""Features: the frozen encoder's pooled outputs, computed once per checkpoint and split and kept on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from dabs_rq.data.batches import Order, in_order, loader
from dabs_rq.data.examples import Examples
from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.errors import OptionError, TrainingError
from dabs_rq.files import atomic_path, digest, locked
from dabs_rq.records.provenance import code, is_ours

CPU = torch.device("cpu")
BATCH = 256  # a feature does not depend on its batch, so this is about memory only


def device(accelerator: str = "auto") -> torch.device:
    """Where features and the adamw probe are computed. accelerator: trainer.accelerator, as Lightning takes it; "auto"
    takes a GPU if there is one. Raises OptionError for a GPU that is not there."""
    there = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not there:
        raise OptionError(f"trainer.accelerator={accelerator}, but this machine has no GPU that torch can use")
    return torch.device("cuda" if there and accelerator in ("auto", "gpu", "cuda") else "cpu")


@torch.no_grad()
def encode(encoder: Encoder, raw: tuple[Tensor, ...]) -> Tensor:
    """Features (B, D) of one batch of raw inputs, in the mode that the encoder is in."""
    return encoder.features(tuple(to_model_input(each.to(encoder.device)) for each in raw))


def extract(encoder: Encoder, examples: Examples, workers: int = 0, place: torch.device = CPU) -> np.ndarray:
    """Features (n, D) float32 of all examples in order, in eval mode, computed at `place`."""
    encoder = encoder.to(place).eval()
    parts = [
        encode(encoder, batch[0]).float().cpu()
        for batch in loader(examples, in_order(examples, BATCH), workers=workers)
    ]
    features = torch.cat(parts).numpy()
    if not np.isfinite(features).all():
        bad = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise TrainingError(f"the feature of example {examples.ids[bad].as_py()} is not finite")
    return features


def cached(
    encoder: Encoder, weights: str, examples: Examples, folder: Path, workers: int = 0, place: torch.device = CPU
) -> np.ndarray:
    """`extract`, kept in `folder` under a key of the encoder's `weights` (their hash) and architecture, of what it sees
    and of the code that computes it - never of the task, so that tasks with the same inputs share one pass."""
    file = folder / f"{key(encoder, weights, examples)}.npz"
    with locked(file):
        if (features := _read(file)) is not None and len(features) == len(examples):
            return features
        features = extract(encoder, examples, workers, place)
        with atomic_path(file) as temporary, temporary.open("wb") as opened:
            np.savez(opened, features=features)
        return features


def key(encoder: Encoder, weights: str, examples: Examples) -> str:
    """Everything that decides the features of `examples`."""
    module = type(encoder).__module__
    computed_by = code(__name__, *([module] if is_ours(module) else []))
    return digest(weights, module, encoder.architecture, repr(encoder.inputs), computed_by, examples.inputs_key)


def _read(file: Path) -> np.ndarray | None:
    """The features in `file`, whose checksum holds; None if there are none."""
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as kept:
            return kept["features"]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        print(f"{file} is damaged; computing it again")
        return None


class Reencoded:
    """Training features as DABS makes them: every epoch encoded anew, with dropout on. Running statistics stay as they
    are, since the encoder is frozen."""

    def __init__(
        self,
        encoder: Encoder,
        examples: Examples,
        batch_size: int,
        seed: int,
        workers: int = 0,
        device: torch.device = CPU,
    ) -> None:
        self.encoder, self.examples, self.device = encoder.to(device), examples, device
        self.order = Order(len(examples), batch_size, seed)
        self.seed, self.workers = seed, workers

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (features, targets) of one epoch."""
        self.encoder.train()
        for module in self.encoder.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        torch.manual_seed(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        batches: Any = self.order.epoch(epoch)
        for inputs, targets, _ in loader(self.examples, batches, seed=self.seed, workers=self.workers):
            yield encode(self.encoder, inputs), targets.to(self.device)
        self.encoder.eval()


class Kept:
    """Training features computed once, in shuffled batches."""

    def __init__(
        self, features: np.ndarray, targets: np.ndarray, batch_size: int, seed: int, device: torch.device = CPU
    ) -> None:
        self.device = device
        self.features = torch.from_numpy(np.array(features)).to(device)
        self.targets = torch.from_numpy(targets).to(device)
        self.order = Order(len(targets), batch_size, seed)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.order.epoch(epoch):
            rows = torch.tensor([row for _, row in batch], device=self.features.device)
            yield self.features[rows], self.targets[rows]
