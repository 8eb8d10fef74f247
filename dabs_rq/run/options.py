"""The options of a run: their names, types and meaning. Budgets and protocols are in configs/*.yaml.

Facts about data are not here but in domains/; a method's options are in its own file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omegaconf import MISSING, OmegaConf

from dabs_rq import registry
from dabs_rq.encoders.transformer import Options as EncoderOptions
from dabs_rq.errors import OptionError, unknown
from dabs_rq.files import digest
from dabs_rq.protocol import Protocol

CONFIGS = registry.PACKAGE.parent / "configs"
# Values of these are paths: taken as they are, whatever characters they hold.
PATHS = ("data", "runs", "out", "checkpoint")


@dataclass
class ScaleOptions:
    name: str = "???"


def _schema(name: str, options: type, *extra: tuple[str, type, Any]) -> type:
    """Frozen, typed options as OmegaConf takes them, until options are composed without it."""
    hints = get_type_hints(options)
    declared: list[Any] = list(extra)
    for one in dataclasses.fields(options):
        kind = hints[one.name]
        kind = type(get_args(kind)[0]) if get_origin(kind) is Literal else kind
        protocol = one.metadata.get("protocol")
        declared.append((one.name, kind, f"${{protocol.{protocol}}}" if protocol else one.default))
    made = [(name, Any if isinstance(value, str) and "$" in value else kind, value) for name, kind, value in declared]
    return dataclasses.make_dataclass(name, made)


_EncoderSchema: Any = _schema("EncoderSchema", EncoderOptions)


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
    epochs, batch_size, lr, weight_decay: of the adamw probe. strengths: the lbfgs probe's grid of C (1 / alpha);
    max_iterations: of each of its fits (a record says whether the last one converged)."""

    max_examples: int | None = None
    features: str = "${protocol.features}"
    probe: str = "${protocol.probe}"
    epochs: int = 100
    batch_size: int | None = None
    lr: float = 1e-4
    weight_decay: float = 1e-4
    strengths: list[float] = field(default_factory=lambda: [10.0**power for power in range(-4, 5)])
    max_iterations: int = 3000


@dataclass
class LoaderOptions:
    """workers: processes that read and decode, for each device (0: none beside the main one). processes: that fill the
    prepared cache (null: one per processor). prepare: auto, always or never keep decoded examples on disk; auto keeps
    what fits cache_gb. strict: a wrong example count is an error."""

    workers: int = 0
    processes: int | None = None
    prepare: str = "auto"
    cache_gb: float = 20.0
    strict: bool = False


@dataclass
class TrainerOptions:
    """How to compute; passed to Lightning. precision: 32-true, 16-mixed, bf16-mixed... matmul: of float32 products,
    highest, high (TF32 where there is one) or medium. compile: the transformer's blocks and the quantizer (the first
    step then takes a minute). threads: of the processor, null for all (the last digits of a number depend on it).
    devices: of each of `nodes` machines; all together share every batch of pretraining. strategy: auto, ddp or
    ddp_find_unused_parameters_true (for a method that leaves parameters without gradient). gather_negatives: losses
    compare with the examples of all devices, false: of their own. logger: csv, tensorboard or wandb (csv is always
    written)."""

    threads: int | None = None
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    gather_negatives: bool = True
    precision: str = "32-true"
    matmul: str = "highest"
    compile: bool = False
    logger: str = "csv"
    progress: bool = True
    log_every: int = 10


EXECUTORS = ("auto", "in_process", "processes", "ray")


@dataclass
class SuiteOptions:
    """Where the jobs of a suite run; no number that is recorded depends on it. executor: in_process (one after the
    other), processes (several on this machine), ray (this machine or a cluster), or auto: processes, and in_process
    where there is a GPU. workers: jobs at a time (null: as many as there are processors for; a cluster has its own
    number). cpus: threads of each job. ray_address: of a running cluster (null: the environment's RAY_ADDRESS, else Ray
    is started here). pretrain_gpus (null: trainer.devices), transfer_gpus: what such a job asks Ray for, where there
    are any; parts of one let jobs share it, so that probes of one are fitted while others encode. gpu_tflops: what a
    GPU is taken to sustain, for the estimate of a dry run."""

    executor: str = "auto"
    workers: int | None = None
    cpus: int = 1
    ray_address: str | None = None
    pretrain_gpus: float | None = None
    transfer_gpus: float = 0.25
    gpu_tflops: float = 20.0

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise ValueError(f"suite.executor is one of {', '.join(EXECUTORS)}; got {self.executor!r}")
        if self.cpus < 1:
            raise ValueError(f"suite.cpus is at least 1; got {self.cpus}")


SPREADS = ("std", "interval")


@dataclass
class TableOptions:
    """How results are shown; no number that is recorded depends on it. spread: over several seeds, std (standard
    deviation) or interval (95 % of the mean, Student's t). published: the published numbers beside ours, only at paper
    scale on real data. averages: rows with means of domains and the average rank of each method."""

    spread: str = "std"
    published: bool = False
    averages: bool = True

    def __post_init__(self) -> None:
        if self.spread not in SPREADS:
            raise ValueError(f"table.spread is one of {', '.join(SPREADS)}; got {self.spread!r}")


@dataclass
class RunOptions:
    """domain, domains, tasks, methods: what to work on (null: all). data: root of the real data (null: made-up
    miniature data). runs: where checkpoints, features and records go. out: where tables go. checkpoint: an encoder file
    to transfer instead of the method's own. seeds: one run for each; they never change a split."""

    scale: ScaleOptions = field(default_factory=ScaleOptions)
    protocol: Protocol = MISSING
    encoder: _EncoderSchema = field(default_factory=_EncoderSchema)
    pretrain: PretrainOptions = field(default_factory=PretrainOptions)
    transfer: TransferOptions = field(default_factory=TransferOptions)
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    suite: SuiteOptions = field(default_factory=SuiteOptions)
    table: TableOptions = field(default_factory=TableOptions)
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


@dataclass(frozen=True)
class Composed:
    """The options of a run, and how they differ from what configs/ says for its scale, protocol and method."""

    options: RunOptions
    values: dict[str, Any]
    overridden: dict[str, Any]

    def variant(self, *, of_pretraining: bool) -> str:
        """Which options the numbers are of: "default" if none is overridden, else a hash of those that are."""
        changed = self.changed(of_pretraining=of_pretraining)
        return digest(changed) if changed else "default"

    def changed(self, *, of_pretraining: bool) -> dict[str, Any]:
        """Every overridden option that changes the numbers (of the checkpoint, or of the result)."""
        return self.counted(self.overridden, of_pretraining=of_pretraining)

    def counted(self, values: Mapping[str, Any], *, of_pretraining: bool) -> dict[str, Any]:
        """Those of `values` (option -> value) that change the numbers (of the checkpoint, or of the result)."""
        acts = {f"protocol.{name}" for name in self.options.protocol.options("pretraining", "data")}
        counted = {
            key: value
            for key, value in values.items()
            if key in acts
            or key.startswith(("encoder.", "pretrain.", "method."))
            or key in ("trainer.precision", "trainer.matmul", "trainer.gather_negatives")
            or (not of_pretraining and key.startswith(("transfer.", "protocol.")))
        }
        counted.pop("pretrain.checkpoint_every", None)
        return counted


def load_protocol(name: str) -> Protocol:
    """The protocol of that name as configs/protocol/ has it."""
    known = _choices("protocol")
    if name not in known:
        raise OptionError(unknown("protocol", name, known))
    merged = OmegaConf.merge(OmegaConf.structured(Protocol), OmegaConf.load(known[name]))
    loaded = OmegaConf.to_object(merged)
    assert isinstance(loaded, Protocol)
    return loaded


def compose(words: Sequence[str] = ()) -> Composed:
    """The options that `words` ("key=value", as Hydra reads them) make of configs/.

    Raises OptionError for an unknown key, choice or method, and for a value of the wrong kind.
    """
    given = [_pair(word) for word in words]
    # Hydra would read quotes, backslashes and interpolations in them.
    paths = {key: None if value in ("", "null") else value for key, value in given if key in PATHS}
    if "runs" in paths and paths["runs"] is None:
        raise OptionError("runs is a folder; got null")
    pairs = [(key, value) for key, value in given if key not in PATHS]
    chosen = {key: value for key, value in pairs if key in ("scale", "protocol", "method")}
    for group in ("scale", "protocol"):
        if group in chosen and chosen[group] not in _choices(group):
            raise OptionError(unknown(group, chosen[group], _choices(group)))
    registry.method(chosen.get("method", "rq"))
    known = _unchanged(tuple(sorted(chosen.items())), registry.method_names())
    for key, _ in pairs:
        if key in ("scale.name", "protocol.name", "method.name"):
            raise OptionError(f"{key} follows from the choice: give {key.removesuffix('.name')}=... instead")
        if key not in known and key not in chosen and not any(name.startswith(f"{key}.") for name in known):
            raise OptionError(f"{unknown('option', key, known)}\nAn option is given as key=value.")
    merged = _compose([f"{key}={value}" for key, value in pairs])
    try:
        options = OmegaConf.to_object(merged)
    except ValueError as error:
        raise OptionError(str(error)) from error
    assert isinstance(options, RunOptions)
    for key, path in paths.items():
        setattr(options, key, path)
    values = _flat(OmegaConf.to_container(merged, resolve=True)) | paths
    overridden = {key: value for key, value in values.items() if key not in known or known[key] != value}
    return Composed(options, values, overridden)


@cache
def _unchanged(chosen: tuple[tuple[str, str], ...], methods: tuple[str, ...]) -> dict[str, Any]:
    """All options, with the values that configs/ has for a scale, protocol and method."""
    base = _compose([f"{group}={value}" for group, value in chosen])
    return _flat(OmegaConf.to_container(base, resolve=True))


def _compose(overrides: list[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    store = ConfigStore.instance()
    store.store(name="schema", node=RunOptions)
    for name in registry.method_names():
        named = _schema(f"{name.title()}Options", registry.method(name).options, ("name", str, name))
        store.store(group="method", name=name, node=named)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return compose("config", overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        causes = [str(part).strip() for part in (error, error.__cause__) if part]
        raise OptionError("\n".join(dict.fromkeys(causes))) from error


def _choices(group: str) -> dict[str, Path]:
    return {path.stem: path for path in sorted((CONFIGS / group).glob("*.yaml"))}


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
        raise OptionError(f"expected an option as key=value, such as domain=sensor; got {word!r}")
    return key, value


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
