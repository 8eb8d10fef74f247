"""The options of a run: frozen and typed. Each annotation holds the legal values; `compose` checks them.

Facts about data are in domains/, budgets in configs/scale/, the options of a method or an encoder in its own file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dabs_rq.protocol import Protocol

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Scale:
    """What a file of configs/scale/ says beside budgets.

    inputs: which of a domain's sets of inputs is used. needs_real_data: the made-up miniature is refused.
    published_compares: published numbers are of this budget, so that they may stand beside these.
    """

    name: str
    inputs: str
    needs_real_data: bool
    published_compares: bool


@dataclass(frozen=True)
class Chosen:
    """A method or an encoder by name, with its options."""

    name: str
    options: Any


@dataclass(frozen=True)
class PretrainOptions:
    """steps: optimizer steps. batch_size: null for the domain's own. max_examples: of the source, null for all.
    checkpoint_every: steps between two resume points. accumulate: batches per optimizer step."""

    steps: Count = 100_000
    batch_size: Count | None = None
    lr: Positive = 1e-4
    weight_decay: NotNegative = 1e-4
    max_examples: Count | None = None
    checkpoint_every: Count = 5000
    accumulate: Count = 1


@dataclass(frozen=True)
class TransferOptions:
    """max_examples: of each split. features, probe: the protocol's unless given.
    epochs, batch_size, lr, weight_decay: of the adamw probe. strengths: the lbfgs probe's grid of C (1 / alpha);
    max_iterations: of each of its fits (a record says whether the last one converged)."""

    max_examples: Count | None = None
    features: Literal["cached", "reencode"] = field(default="cached", metadata={"protocol": "features"})
    probe: Literal["lbfgs", "adamw"] = field(default="lbfgs", metadata={"protocol": "probe"})
    epochs: Count = 100
    batch_size: Count | None = None
    lr: Positive = 1e-4
    weight_decay: NotNegative = 1e-4
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)] = tuple(10.0**power for power in range(-4, 5))
    max_iterations: Count = 3000


@dataclass(frozen=True)
class LoaderOptions:
    """workers: processes that read and decode, for each device (0: none beside the main process). processes: how many
    fill the prepared cache (null: one per processor). prepare: auto, always or never keep decoded examples on disk;
    auto keeps what fits cache_gb. strict: a wrong example count is an error."""

    workers: Annotated[int, Field(ge=0)] = 0
    processes: Count | None = None
    prepare: Literal["auto", "always", "never"] = "auto"
    cache_gb: NotNegative = 20.0
    strict: bool = False


@dataclass(frozen=True)
class TrainerOptions:
    """How to compute; passed to Lightning.

    threads: of the processor, null for all (the last digits of a number depend on it). accelerator: auto, cpu, gpu,
    ...; also for features and probes. devices: of each of `nodes` machines; all together share every batch of
    pretraining. strategy: ddp_find_unused_parameters_true is for a method that leaves parameters without gradient.
    gather_negatives: losses compare with the examples of all devices, false: of their own. precision: 32-true,
    16-mixed, bf16-mixed, ... matmul: of float32 products, highest, high (TF32 where there is one) or medium. compile:
    the encoder's blocks and the quantizer (the first step then takes a minute). logger: the CSV log is always written.
    """

    threads: Count | None = None
    accelerator: str = "auto"
    devices: Count = 1
    nodes: Count = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    gather_negatives: bool = True
    precision: str = "32-true"
    matmul: Literal["highest", "high", "medium"] = "highest"
    compile: bool = False
    logger: Literal["csv", "tensorboard", "wandb"] = "csv"
    progress: bool = True
    log_every: Count = 10


@dataclass(frozen=True)
class SuiteOptions:
    """Where the jobs of a suite run; no number that is recorded depends on it.

    executor: in_process (one job after the other), processes (several on this machine), ray (this machine or a
    cluster), or auto: processes, and in_process where there is a GPU. workers: jobs at a time (null: as many as there
    are processors for; a cluster has its own number). cpus: threads of each job. ray_address: of a running cluster
    (null: the environment's RAY_ADDRESS, else Ray is started here). pretrain_gpus (null: trainer.devices),
    transfer_gpus: what such a job asks Ray for, where there are any; fractions let jobs share a GPU, so that probes of
    one job are fitted while another encodes. gpu_tflops: what a GPU is taken to sustain, for the estimate of a dry run.
    """

    executor: Literal["auto", "in_process", "processes", "ray"] = "auto"
    workers: Count | None = None
    cpus: Count = 1
    ray_address: str | None = None
    pretrain_gpus: NotNegative | None = None
    transfer_gpus: NotNegative = 0.25
    gpu_tflops: Positive = 20.0


@dataclass(frozen=True)
class TableOptions:
    """How results are shown; no number that is recorded depends on it. spread: over several seeds, std (standard
    deviation) or interval (95 % of the mean, Student's t). published: the published numbers beside ours, where they
    compare. averages: rows with means of domains and the average rank of each method."""

    spread: Literal["std", "interval"] = "std"
    published: bool = False
    averages: bool = True


@dataclass(frozen=True)
class Options:
    """Everything that a command works with, checked.

    domains, tasks: what to work on (None: all). methods: in the order given; `method_given` says whether somebody gave
    them or they are the published three. data: root of the real data (None: made-up miniature data). runs: where
    checkpoints, features and records go. out: where tables go. checkpoint: an encoder file to transfer instead of the
    method's own. seeds: one run for each; they never change a split.
    """

    scale: Scale
    protocol: Protocol
    encoder: Chosen
    methods: tuple[Chosen, ...]
    method_given: bool
    pretrain: PretrainOptions
    transfer: TransferOptions
    loader: LoaderOptions
    trainer: TrainerOptions
    suite: SuiteOptions
    table: TableOptions
    domains: tuple[str, ...] | None
    tasks: tuple[str, ...] | None
    seeds: tuple[int, ...]
    data: Path | None
    runs: Path
    out: Path | None
    checkpoint: Path | None


GROUPS: dict[str, type[Any]] = {
    "pretrain": PretrainOptions,
    "transfer": TransferOptions,
    "loader": LoaderOptions,
    "trainer": TrainerOptions,
    "suite": SuiteOptions,
    "table": TableOptions,
}


@dataclass(frozen=True)
class Names:
    """The options that belong to no group. Paths are taken as they are, whatever characters they hold."""

    scale: str = "mini"
    protocol: str = "corrected"
    encoder: str = "transformer"
    method: tuple[str, ...] | None = None
    domain: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    data: Path | None = None
    runs: Path = Path("runs")
    out: Path | None = None
    checkpoint: Path | None = None


PATHS = ("data", "runs", "out", "checkpoint")
SEVERAL = ("method", "domain", "tasks", "seeds", "transfer.strengths")
# The plural of an option that takes several values is understood as well.
PLURALS = {"methods": "method", "domains": "domain"}
