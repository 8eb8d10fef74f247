"""The options of a run: frozen and typed. Each annotation holds the legal values; `compose` checks them.

Facts about data are in domains/, budgets in configs/scale/, options of a method or encoder in its own file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dabs_rq.protocol import Protocol
from dabs_rq.run.numbers import Count, GigabytesOrAuto, NotNegative, Place, Positive, Processes, ReadersOrAuto, Seed
from dabs_rq.spec import TableName

DEFAULT_METHOD = "rq"
Probe = Literal["lbfgs", "adamw", "adamw_standardised", "sgd", "classifier"]
Headings = Literal["own", "published"]
PROBE_TITLES = {
    "lbfgs": "Regression on standardised features",
    "adamw": "AdamW on raw features",
    "adamw_standardised": "AdamW on standardised features",
    "sgd": "SGD on raw features",
    "classifier": "The classifier of pretraining",
}


@dataclass(frozen=True)
class Scale:
    """The settings in a file of configs/scale/ other than budgets.

    inputs: names the set of a domain's inputs to use. needs_real_data: refuse the made-up miniature.
    published_compares: the published scores have this budget, so they can be compared. sources: names the set of a
    domain's sources to use; None: the domain's own.
    """

    name: str
    inputs: str
    needs_real_data: bool
    published_compares: bool
    sources: str | None = None


@dataclass(frozen=True)
class Chosen:
    """A method or an encoder by name, with its options."""

    name: str
    options: Any


@dataclass(frozen=True)
class PretrainOptions:
    """Options of pretraining.

    steps: optimizer steps. batch_size: null takes the domain's. max_examples: of the source, null for all.
    checkpoint_every: steps between two resume points. accumulate: batches per optimizer step.
    """

    steps: Count = 100_000
    batch_size: Count | None = None
    lr: Positive = 1e-4
    weight_decay: NotNegative = 1e-4
    max_examples: Count | None = None
    checkpoint_every: Count = 5000
    accumulate: Count = 1


@dataclass(frozen=True)
class TransferOptions:
    """Options of transfer.

    max_examples: of each split. features, probe: by default as the protocol says. probe: lbfgs (regression on
    standardised features), adamw (on features as they are), adamw_standardised, sgd (MoCo-v3's), or classifier (that of
    method=supervised, not fitted). also: probes to fit beside it, on cached features; each has records of its own, and
    table.probes=all shows them. epochs, batch_size, lr, weight_decay: of the adamw and sgd probes; the rate of sgd is
    that of a batch of 256. views, view_size: what the sgd probe trains on: pictures as they are, or random crops and
    flips of this side (0: of the input), encoded again in every epoch. crops: these are of the input, or of the whole
    picture where the input is a part of it. strengths: the lbfgs probe's grid of C (1 / alpha); one of several widens,
    see `regression.fit_regression`. max_iterations: passes over the examples in each of its fits; records say whether
    the last fit converged.
    """

    max_examples: Count | None = None
    features: Literal["cached", "reencode"] = field(default="cached", metadata={"protocol": "features"})
    probe: Probe = field(default="lbfgs", metadata={"protocol": "probe"})
    also: tuple[Probe, ...] = ("lbfgs", "adamw", "adamw_standardised")
    epochs: Count = 100
    batch_size: Count | None = None
    lr: Positive = 1e-4
    weight_decay: NotNegative = 1e-4
    views: Literal["none", "crop_flip"] = "none"
    view_size: Annotated[int, Field(ge=0, le=65_536)] = 0
    crops: Literal["input", "whole"] = "input"
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)] = tuple(10.0**power for power in range(-4, 5))
    max_iterations: Count = 20_000


@dataclass(frozen=True)
class LoaderOptions:
    """Options of data loading.

    workers: processes per device that read and decode; 0 uses the main process; auto chooses, see
    `dabs_rq.run.processes`. encode_batch: examples that a frozen encoder gets at a time, which affects memory and speed
    only; null: 64 on a CPU, else 256. processes: fill the prepared cache; null: one per processor. prepare: whether to
    cache decoded examples on disk; auto caches columns that fit. cache_gb: the most that one such column may take;
    auto: what the disk has room for. jpeg: scaled decodes large JPEG files at a smaller size, quicker and with slightly
    other pixels, which makes another variant. resident: whether pretraining keeps its whole source on the device; auto:
    on a GPU, if the source fits in half of the free memory. strict: raise an error for a wrong example count instead of
    a warning.
    """

    workers: ReadersOrAuto = "auto"
    encode_batch: Count | None = None
    processes: Processes | None = None
    prepare: Literal["auto", "always", "never"] = "auto"
    cache_gb: GigabytesOrAuto = "auto"
    jpeg: Literal["full", "scaled"] = "full"
    resident: Literal["auto", "always", "never"] = "auto"
    strict: bool = False


@dataclass(frozen=True)
class TrainerOptions:
    """How to compute; passed to Lightning.

    threads: CPU threads, null for all; the last digits of a score depend on it. accelerator: auto, cpu, gpu, ...; also
    for features and probes. devices: per machine, on each of `nodes` machines; together they share every batch of
    pretraining. strategy: ddp_find_unused_parameters_true is for a method that leaves parameters without gradients.
    gather_negatives: losses compare the examples of all devices; false: of each device alone. precision: 32-true,
    16-mixed, bf16-mixed, ..., or mixed, which is one of the last two, see `dabs_rq.pretrain.precision`. matmul:
    precision of float32 products: highest, high (TF32 if available) or medium. compile: true compiles the encoder's
    blocks and the quantizer, step the whole loss into one graph, on one device, on a GPU replayed as CUDA graphs; the
    first step then takes a minute. No loss changes but by rounding. logger: a logger in addition to the CSV log, which
    is always written. log_every: steps between two logged losses. health_every: steps between two measurements of the
    features of one fixed batch, see `dabs_rq.pretrain.health`; 0 does not measure.
    """

    threads: Processes | None = None
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    devices: Processes = 1
    nodes: Processes = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    gather_negatives: bool = True
    precision: Literal["32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed", "mixed"] = "32-true"
    matmul: Literal["highest", "high", "medium"] = "highest"
    compile: bool | Literal["step"] = False
    logger: Literal["csv", "tensorboard", "wandb"] = "csv"
    progress: bool = True
    log_every: Count = 10
    health_every: Annotated[int, Field(ge=0, le=2**31 - 1)] = 500


@dataclass(frozen=True)
class SuiteOptions:
    """Where the jobs of a suite run; no recorded number depends on these options.

    executor: in_process (one job at a time), processes (several on this machine), ray (this machine or a cluster), or
    auto: processes, but in_process if only one job could run at a time. workers: jobs at a time; null: as many as the
    processors allow; a cluster decides itself. cpus: threads per job. ray_address: of a running cluster; null:
    RAY_ADDRESS, else Ray starts here. jobs_per_gpu: at most so many share a GPU, if the memory that they need fits;
    1: none share one. pretrain_gpus, transfer_gpus: the GPUs that such a job takes, if there are any, below 1 a share
    of one, 0 none; null: trainer.devices, or with one device the share that a measured step needs. gpu_tflops,
    core_gflops: the assumed throughputs of a GPU and of a processor's core, for the estimate of a dry run. calibrate:
    whether training steps are measured, for the time and memory in the estimate, and before a suite whose jobs share
    GPUs; auto: if there is a GPU; always: an estimate measures on a processor too.
    """

    executor: Literal["auto", "in_process", "processes", "ray"] = "auto"
    workers: Processes | None = None
    cpus: Processes = 1
    ray_address: str | None = None
    jobs_per_gpu: Annotated[int, Field(ge=1, le=64)] = 4
    pretrain_gpus: NotNegative | None = None
    transfer_gpus: NotNegative = 0.25
    gpu_tflops: Positive = 20.0
    core_gflops: Positive = 40.0
    calibrate: Literal["auto", "always", "never"] = "auto"


@dataclass(frozen=True)
class TableOptions:
    """How results are shown; no recorded number depends on these options.

    columns: the published table whose domains and methods are the default rows and columns and whose scores are shown:
    "rq" of the RQ paper, "dabs2" of DABS 2.0. spread: over several seeds, std (standard deviation) or interval (95 % of
    the mean, Student's t). published: show the published scores if they compare; with columns=dabs2 they are also shown
    wherever there may be a difference. averages: add rows with the means of domains and the average rank of each
    method. probes: show columns of the run's own probe or of all probes. headings: table.tex has our titles of the
    methods (own) or those of the published table, which calls RQ "Ours".
    """

    columns: TableName = "rq"
    spread: Literal["std", "interval"] = "std"
    published: bool = False
    averages: bool = True
    probes: Literal["own", "all"] = "own"
    headings: Headings = "own"


@dataclass(frozen=True)
class NetworkOptions:
    """Limits on what is fetched; no recorded number depends on these options.

    timeout: seconds without a byte before a download tries again. min_speed: bytes per second, below which a download
    is given up (what arrived is kept); 0 for no limit. max_gb: of a file whose size is neither declared nor announced.
    hub_timeout: seconds that the Hugging Face hub has for an answer.
    """

    timeout: Positive = 60.0
    min_speed: NotNegative = 1000.0
    max_gb: Positive = 50.0
    hub_timeout: Positive = 10.0


@dataclass(frozen=True)
class Options:
    """All options of a command, checked.

    domains, tasks: None means all, of the domains those of the table (table.columns). methods: in the given order.
    method_given: False if `methods` is the default. data: root of the real data; None uses made-up miniature data.
    runs: folder of checkpoints, features and records. out: folder of tables. checkpoint: an encoder file to transfer
    instead of the method's own. seeds: one run per seed; they never change a split. name: of the network to score,
    which is its column in tables; None for a run of methods. encoders: the networks that a suite scores, and the
    columns of a table beside its methods; None: all that have results.
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
    network: NetworkOptions
    domains: tuple[str, ...] | None
    tasks: tuple[str, ...] | None
    seeds: tuple[int, ...]
    data: Path | None
    runs: Path
    out: Path | None
    checkpoint: Path | None
    name: str | None = None
    encoders: tuple[str, ...] | None = None

    @property
    def scores_network(self) -> bool:
        """Whether a network is scored as it is: a checkpoint, an encoder file, or a model of the caller."""
        return self.name is not None or self.checkpoint is not None

    @property
    def builds_network(self) -> bool:
        """Whether the network that is scored is built by the encoder file of its name."""
        return self.checkpoint is None and self.name == self.encoder.name

    @property
    def method(self) -> Chosen:
        """The method of a command that takes one: the default one if it is chosen, else the last."""
        return next((method for method in self.methods if method.name == DEFAULT_METHOD), self.methods[-1])


GROUPS: dict[str, type[Any]] = {
    "pretrain": PretrainOptions,
    "transfer": TransferOptions,
    "loader": LoaderOptions,
    "trainer": TrainerOptions,
    "suite": SuiteOptions,
    "table": TableOptions,
    "network": NetworkOptions,
}


@dataclass(frozen=True)
class Names:
    """The options that belong to no group."""

    scale: str = "mini"
    protocol: str = "corrected"
    encoder: str = "transformer"
    method: tuple[str, ...] | None = None
    domain: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    data: Place | None = None
    runs: Place = Path("runs")
    out: Place | None = None
    checkpoint: Place | None = None
    name: str | None = None
    encoders: tuple[str, ...] | None = None


PATHS = ("data", "runs", "out", "checkpoint")
SEVERAL = ("method", "domain", "tasks", "seeds", "encoders", "transfer.strengths", "transfer.also")
# Accepted plurals of options that take several values.
PLURALS = {"methods": "method", "domains": "domain"}
