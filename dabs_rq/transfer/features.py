"""Features of the frozen encoder, computed once per checkpoint and split and cached on disk: pooled features, one per
example, or features of single tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from dabs_rq.data.batches import Order, in_order, loader
from dabs_rq.data.examples import Examples
from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.errors import EncoderError, OptionError, ResourceError, TrainingError, first_line, is_out_of_memory
from dabs_rq.files import atomic_path, digest, locked
from dabs_rq.records.provenance import code, is_ours

CPU = torch.device("cpu")
# Examples at a time. A feature does not depend on its batch; on a CPU, what a small one computes stays in its caches.
BATCH, CPU_BATCH = 256, 64


def device(accelerator: str = "auto") -> torch.device:
    """Choose the device for features and the adamw probe.

    accelerator: trainer.accelerator, in Lightning's words; "auto" takes a GPU if there is one.
    Raises: OptionError if a GPU is requested but not available.
    """
    has_gpu = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not has_gpu:
        raise OptionError(f"trainer.accelerator={accelerator}, but this machine has no GPU that torch can use")
    return torch.device("cuda" if has_gpu and accelerator in ("auto", "gpu", "cuda") else "cpu")


def extract(
    encoder: Encoder,
    examples: Examples,
    workers: int = 0,
    place: torch.device = CPU,
    batch_size: int | None = None,
    title: str = "",
    *,
    of_tokens: bool = False,
) -> np.ndarray:
    """Compute features (n, D) float32 of all examples in order, in eval mode, on the device `place`.

    batch_size: examples at a time; None: 64 on a CPU, else 256. title: of the progress bar on a terminal; "" shows
    none. of_tokens: compute those of single tokens (n, S, D).
    Raises: EncoderError if the number or width of the features changes between batches, TrainingError if a feature is
        not finite, ResourceError if a batch does not fit in memory; it names the size that does.
    """
    encoder = encoder.to(place).eval()
    features = np.empty((len(examples), 0), np.float32)
    done = 0
    size = batch_size or (CPU_BATCH if place.type == "cpu" else BATCH)
    batches = loader(examples, in_order(examples, size), workers=workers)
    with tqdm(total=len(examples), desc=title, unit="", leave=False, disable=None if title else True) as bar:
        for raw, *_ in batches:
            encoded = encode_batch(encoder, raw, of_tokens).float().cpu().numpy()
            if done == 0:
                features = np.empty((len(examples), *encoded.shape[1:]), np.float32)
            if encoded.shape != (expected := (len(raw[0]), *features.shape[1:])):
                raise EncoderError(
                    f"the encoder returns features of shape {encoded.shape} for examples {done:,} to "
                    f"{done + len(raw[0]) - 1:,}; expected {expected}, as wide as in the first batch and one for each"
                )
            features[done : done + len(encoded)] = encoded
            done += len(encoded)
            bar.update(len(encoded))
    if len(bad := np.flatnonzero(~np.isfinite(features).reshape(len(features), -1).all(axis=1))):
        raise TrainingError(
            f"the feature of example {examples.ids[int(bad[0])].as_py()} is not finite (NaN or infinite), and so are "
            f"those of {len(bad) - 1:,} others of {len(features):,} examples"
        )
    return features


def encode_batch(encoder: Encoder, raw: tuple[Tensor, ...], of_tokens: bool = False) -> Tensor:
    """Compute features of a batch. Raises ResourceError if it does not fit in memory, with the size that does."""
    try:
        return encode(encoder, raw, of_tokens)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        why = first_line(error)  # the error holds on to the memory of the batch
    size = len(raw[0])
    while (size := size // 2) > 0 and not _fits(encoder, tuple(one[:size] for one in raw), of_tokens):
        pass
    advice = (
        f"{size} do: give loader.encode_batch={size} (in Python batch_size={size})"
        if size
        else "not even one does: use a larger machine or a smaller encoder"
    )
    raise ResourceError(f"{len(raw[0])} examples at a time do not fit in memory ({why}); {advice}")


def _fits(encoder: Encoder, raw: tuple[Tensor, ...], of_tokens: bool) -> bool:
    if encoder.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        encode(encoder, raw, of_tokens)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


@contextlib.contextmanager
def unchanged(encoder: Encoder) -> Iterator[None]:
    """Restore the modes, the devices and the mask of the caller's encoder when the block ends."""
    modes = {module: module.training for module in encoder.modules()}
    place, masked = encoder.device, encoder.mask_padding
    try:
        yield
    finally:
        encoder.to(place)
        encoder.mask_padding = masked
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def encode(encoder: Encoder, raw: tuple[Tensor, ...], of_tokens: bool = False) -> Tensor:
    """Compute features (B, D) of one batch of raw inputs, in the encoder's current mode (train or eval).

    of_tokens: compute those of single tokens (B, S, D).
    """
    inputs = tuple(to_model_input(tensor.to(encoder.device)) for tensor in raw)
    return encoder.token_features(inputs) if of_tokens else encoder.features(inputs)


def cached(
    encoder: Encoder,
    weights: str,
    examples: Examples,
    folder: Path | None,
    workers: int = 0,
    place: torch.device = CPU,
    batch_size: int | None = None,
    title: str = "",
    *,
    of_tokens: bool = False,
) -> np.ndarray:
    """Read the result of `extract` from the feature cache in `folder`, or compute and store it; None: only compute.

    weights: hash of the encoder's weights. The cache key, see `key`, does not include the task, so tasks with the same
    inputs share features.
    """
    if folder is None:
        return extract(encoder, examples, workers, place, batch_size, title, of_tokens=of_tokens)
    file = folder / f"{key(encoder, weights, examples, of_tokens=of_tokens)}.npz"
    with locked(file):
        if (features := _read(file)) is not None and len(features) == len(examples):
            return features
        features = extract(encoder, examples, workers, place, batch_size, title, of_tokens=of_tokens)
        with atomic_path(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, features=features)
        return features


def key(encoder: Encoder, weights: str, examples: Examples, *, of_tokens: bool = False) -> str:
    """Hash everything that determines the features of `examples`: weights, architecture, code, inputs, and whether they
    are of single tokens."""
    module = type(encoder).__module__
    computed_by = code(__name__, *([module] if is_ours(module) else []))
    kind = ("tokens",) if of_tokens else ()
    return digest(weights, module, encoder.architecture, repr(encoder.inputs), computed_by, examples.inputs_key, *kind)


def _read(file: Path) -> np.ndarray | None:
    """Read the features in `file`, whose checksums numpy verifies. Returns None if it is missing or damaged."""
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as archive:
            return archive["features"]
    except Exception:  # a damaged file can raise any type
        print(f"{file} is damaged; computing it again")
        return None


class ReencodedFeatures:
    """Batches of training features as in DABS: encoded again in every epoch, with dropout on.

    Running statistics of batch norm do not change, because the encoder is frozen.
    """

    def __init__(
        self,
        encoder: Encoder,
        examples: Examples,
        batch_size: int,
        seed: int,
        workers: int = 0,
        device: torch.device = CPU,
        *,
        of_tokens: bool = False,
    ) -> None:
        self.encoder, self.examples, self.device = encoder.to(device), examples, device
        self.of_tokens = of_tokens
        self.order = Order(len(examples), batch_size, seed)
        self.seed, self.workers = seed, workers

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of (features, targets) of one epoch."""
        self.encoder.train()
        for module in self.encoder.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        torch.manual_seed(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        batches: Any = self.order.epoch(epoch)
        for inputs, targets, _ in loader(self.examples, batches, seed=self.seed, workers=self.workers):
            yield encode(self.encoder, inputs, self.of_tokens), targets.to(self.device)
        self.encoder.eval()


class CachedFeatures:
    """Shuffled batches of training features that were computed once. keep_last: also a smaller last batch."""

    def __init__(
        self,
        features: np.ndarray,
        targets: np.ndarray,
        batch_size: int,
        seed: int,
        device: torch.device = CPU,
        *,
        keep_last: bool = False,
    ) -> None:
        self.device = device
        self.features = torch.from_numpy(np.array(features)).to(device)
        self.targets = torch.from_numpy(targets).to(device)
        self.order = Order(len(targets), batch_size, seed, keep_last)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.order.epoch(epoch):
            rows = torch.tensor([row for _, row in batch], device=self.features.device)
            yield self.features[rows], self.targets[rows]
