"""The options of a run: their names, types and meaning. Budgets and protocols are in configs/*.yaml.

Facts about data are not here but in domains/; a method's options are in its own file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from dabs_rq import registry
from dabs_rq.errors import OptionError, unknown
from dabs_rq.files import digest
from dabs_rq.protocol import Protocol
from dabs_rq.spec import Domain

CONFIGS = registry.PACKAGE.parent / "configs"
# Values of these are paths: taken as they are, whatever characters they hold.
PATHS = ("data", "runs", "out", "checkpoint")


@dataclass
class ScaleOptions:
    name: str = "???"


@dataclass
class EncoderOptions:
    """The shared transformer; see `dabs_rq.encoder.Encoder`."""

    width: int = 256
    depth: int = 12
    heads: int = 8
    head_width: int = 64
    mlp_width: int = 512
    out_width: int = 128
    pool: str = "mean"
    dropout: float = 0.1


@dataclass
class PretrainOptions:
    """steps: optimizer steps. batch_size: null for the domain's own. max_examples: of the source, null for all.
    checkpoint_every: steps between two points from which an interrupted run resumes."""

    steps: int = 100_000
    batch_size: int | None = None
    lr: float = 1e-4
    weight_decay: float = 1e-4
    max_examples: int | None = None
    checkpoint_every: int = 5000
    accumulate: int = 1


@dataclass
class TransferOptions:
    """max_examples: of each split. features: cached or reencode; probe: lbfgs or adamw (both from the protocol).
    epochs, batch_size, lr, weight_decay: of the adamw probe. strengths: the grid of C (1 / alpha) of the lbfgs probe."""

    max_examples: int | None = None
    features: str = "${protocol.features}"
    probe: str = "${protocol.probe}"
    epochs: int = 100
    batch_size: int | None = None
    lr: float = 1e-4
    weight_decay: float = 1e-4
    strengths: list[float] = field(default_factory=lambda: [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0])
    max_iterations: int = 1000


@dataclass
class LoaderOptions:
    """workers: processes that read and decode (0: none beside the main one). prepare: auto, always or never keep
    decoded examples on disk; auto keeps what fits cache_gb. strict: a wrong example count is an error."""

    workers: int = 0
    prepare: str = "auto"
    cache_gb: float = 20.0
    strict: bool = False


@dataclass
class TrainerOptions:
    """How to compute; passed to Lightning. logger: csv, tensorboard or wandb (csv is always written)."""

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    logger: str = "csv"
    progress: bool = True
    log_every: int = 10


@dataclass
class Options:
    """domain, domains, tasks, methods: what to work on (null: all). data: root of the real data (null: made-up
    miniature data). runs: where checkpoints, features and records go. out: where tables go. checkpoint: an encoder file
    to transfer instead of the method's own. seed: of pretrain and transfer; seeds: of suite and table."""

    scale: ScaleOptions = field(default_factory=ScaleOptions)
    protocol: Protocol = MISSING
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    pretrain: PretrainOptions = field(default_factory=PretrainOptions)
    transfer: TransferOptions = field(default_factory=TransferOptions)
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    method: Any = None
    domain: str | None = None
    domains: list[str] | None = None
    tasks: list[str] | None = None
    methods: list[str] = field(default_factory=lambda: ["none", "emix", "rq"])
    seeds: list[int] = field(default_factory=lambda: [0])
    data: str | None = None
    runs: str = "runs"
    out: str | None = None
    checkpoint: str | None = None


def load_protocol(name: str) -> Protocol:
    """The protocol of that name as configs/protocol/ has it."""
    known = {path.stem: path for path in (CONFIGS / "protocol").glob("*.yaml")}
    if name not in known:
        raise OptionError(unknown("protocol", name, known))
    merged = OmegaConf.merge(OmegaConf.structured(Protocol), OmegaConf.load(known[name]))
    loaded = OmegaConf.to_object(merged)
    assert isinstance(loaded, Protocol)
    return loaded
