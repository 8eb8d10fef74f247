"""The training loop of pretraining: a LightningModule that wraps a method, and the trainer that runs it.

Every batch seeds its random numbers by (seed, batch number), so a resumed run repeats them exactly, and a resume point
stores no generator state.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from dabs_rq.data.batches import Shuffled, Streamed, mix_seeds
from dabs_rq.data.resident import resident
from dabs_rq.encoders.embed import to_model_input
from dabs_rq.errors import TrainingError, explain_out_of_memory, needing_extra
from dabs_rq.files import atomic_path
from dabs_rq.methods.base import Batch, Method
from dabs_rq.pretrain.compiled import CompiledLoss
from dabs_rq.pretrain.health import Health
from dabs_rq.pretrain.logs import LOG, TENSORBOARD
from dabs_rq.pretrain.precision import precision
from dabs_rq.pretrain.resume import RESUME, resume_step
from dabs_rq.ranks import Ranks
from dabs_rq.run import Run
from dabs_rq.run.processes import loader_workers, uses_gpu

MEMORY_ADVICE = (
    "Raise trainer.devices to divide every batch among several devices, or set trainer.precision=bf16-mixed; a smaller "
    "pretrain.batch_size changes the result"
)


class Pretraining(lightning.LightningModule):
    """Trains a method with the method's optimizer and schedule."""

    first_bad_batch: Tensor

    def __init__(
        self,
        run: Run,
        method: Method,
        batches: Shuffled | Streamed,
        seed: int,
        ranks: Ranks,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.origin = dict(origin or {})
        self.run, self.method, self.batches, self.seed, self.ranks = run, method, batches, seed, ranks
        self.options = run.options
        self.budget = dataclasses.replace(run.options.pretrain, batch_size=batches.size)
        self.batch_number = 0
        measures = run.options.trainer.health_every > 0 and ranks.rank == 0
        self.health = Health(run.options, method, batches, ranks) if measures else None
        self.compiled = self._compiled_loss() if run.options.trainer.compile == "step" else None
        self.register_buffer("first_bad_batch", torch.tensor(-1), persistent=False)

    def _compiled_loss(self) -> CompiledLoss:
        # A second batch of a step adds to gradients that the replay of a CUDA graph would write over.
        graphs = uses_gpu(self.options) and self.options.pretrain.accumulate == 1
        return CompiledLoss(self.method, cuda_graphs=graphs)

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        budget = self.budget
        optimizer = self.method.optimizer(trained, budget)
        schedule = self.method.schedule(optimizer, budget.steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        super().optimizer_step(*arguments, **named)
        self.method.after_step(self.trainer.global_step + 1)  # Lightning counts the step after this hook

    def on_train_start(self) -> None:
        if self.ranks.count > 1:
            # End at once on SIGTERM: in Lightning's handler the ranks wait for each other, forever for a dead one.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def train_dataloader(self) -> Any:
        workers = loader_workers(self.options)
        start = self.trainer.global_step * self.options.pretrain.accumulate
        self.batch_number = start
        kept = resident(self.batches, self.options.loader.resident, self.device, start, self.ranks)
        return kept or self.batches.loader(start, workers, pin=self.on_gpu, ranks=self.ranks)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        inputs, targets = batch[0], batch[1] if self.method.reads_targets else None
        return super().transfer_batch_to_device((inputs, targets), device, dataloader_idx)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        step = self.trainer.global_step
        if self.health and self.batch_number % self.options.pretrain.accumulate == 0 and self.health.due(step):
            self._measure(self.health, step)

    def on_train_end(self) -> None:
        self._raise_if_bad()
        if self.health:
            self._measure(self.health, self.trainer.global_step)

    def _measure(self, health: Health, step: int) -> None:
        with self.trainer.precision_plugin.forward_context():
            measured = health.measure(self.method.encoder, step)
        for logger in self.loggers:
            logger.log_metrics(measured, step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._raise_if_bad()  # before a resume point holds weights that are not finite
        checkpoint["origin"] = self.origin
        if self.health:
            checkpoint["health"] = self.health.state()
        for logger in self.loggers:  # so that the log holds all steps before the resume point
            logger.save()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.health and "health" in checkpoint:  # not in that of a run that did not measure
            self.health.load(checkpoint["health"])

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def training_step(self, batch: Any, _: int) -> Tensor:
        number = self.batch_number
        self.batch_number += 1
        rank = self.ranks.rank
        torch.manual_seed(mix_seeds(self.seed, number, 1 + rank if rank else 0))  # dropout
        generator = torch.Generator(self.device).manual_seed(mix_seeds(self.seed, number, 1))
        inputs = self.method.augment(tuple(to_model_input(raw) for raw in batch[0]), generator)
        given = Batch(inputs, self.method.encoder, self.ranks, batch[1]), generator
        loss, logs = self.compiled(*given) if self.compiled else self.method.loss(*given)
        means = self.ranks.mean({"loss": loss.detach(), **logs})
        self._check_finite(means["loss"], number)
        if self.health:
            self.health.add(means)
        self.log_dict(means)  # not with prog_bar=True, which reads each value at every step
        return loss

    def _check_finite(self, loss: Tensor, number: int) -> None:
        """Raise TrainingError if a mean loss is not finite; the mean is equal on all ranks, so all raise.

        The number of the first such batch stays on the device and is read at the steps that are logged, so that other
        steps do not wait for the host.
        """
        bad = ~torch.isfinite(loss) & (self.first_bad_batch < 0)
        self.first_bad_batch = torch.where(bad, number, self.first_bad_batch)
        if self.is_logged(number):
            self._raise_if_bad()

    def is_logged(self, number: int) -> bool:
        """Return whether Lightning logs the scalars of this batch."""
        return (number + 1) % (self.options.trainer.log_every * self.options.pretrain.accumulate) == 0

    def _raise_if_bad(self) -> None:
        if (first := int(self.first_bad_batch)) >= 0:
            raise TrainingError(self._explain_bad_loss(first))

    def _explain_bad_loss(self, number: int) -> str:
        inputs, ids = self.batches.batch(number)
        reasons = []
        for spec, raw in zip(self.method.inputs, inputs, strict=True):
            bad = ~torch.isfinite(to_model_input(raw)).flatten(1).all(1)
            if bad.any():
                examples = [ids[row] for row in torch.nonzero(bad)[:3, 0]]
                count = int(bad.sum())
                reasons.append(f"input {spec.name!r} is not finite in {count} examples, such as {', '.join(examples)}")
        names = ", ".join(repr(spec.name) for spec in self.method.inputs)
        why = (
            "; ".join(reasons) or f"its inputs ({names}) are finite, so the training diverged: try a lower pretrain.lr"
        )
        return f"the loss is not finite at step {number // self.options.pretrain.accumulate}: {why}"


def train(
    run: Run,
    method: Method,
    batches: Shuffled | Streamed,
    seed: int,
    folder: Path,
    ranks: Ranks,
    origin: Mapping[str, Any],
) -> list[str]:
    """Train `method` in place, from the resume point in `folder` if there is one. Every rank calls this function.

    origin: what the weights follow from: examples (their key), options, code and versions, JSON-able. A resume point of
    another origin is not used.

    Returns the warnings of `Health`; none on other ranks than the first.

    Raises TrainingError if the loss is not finite or training stopped before its last step, ResourceError if it ran out
    of memory.
    """
    options = run.options
    _silence_lightning()
    resume = folder / f"{RESUME}.ckpt"
    start = resume_step(run, resume, origin)
    module = Pretraining(run, method, batches, seed, ranks, origin)
    method.begin(module.budget, start, getattr(getattr(batches, "examples", None), "targets", None))
    torch.set_float32_matmul_precision(options.trainer.matmul)
    if options.trainer.compile is True:
        method.compile_parts()
    trainer = lightning.Trainer(
        accelerator=options.trainer.accelerator,
        devices=options.trainer.devices,
        num_nodes=options.trainer.nodes,
        strategy=options.trainer.strategy,
        precision=precision(options),
        max_steps=options.pretrain.steps,
        accumulate_grad_batches=options.pretrain.accumulate,
        logger=_loggers(run, folder, seed, start),
        callbacks=_callbacks(run, folder),
        enable_progress_bar=options.trainer.progress,
        enable_model_summary=False,
        log_every_n_steps=options.trainer.log_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        sync_batchnorm=method.syncs_batch_norm and ranks.count > 1 and uses_gpu(options),
        default_root_dir=str(folder),
        plugins=[AtomicCheckpointIO()],
    )
    try:
        with explain_out_of_memory(MEMORY_ADVICE):
            trainer.fit(module, ckpt_path=str(resume) if start else None, weights_only=True)
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from error
    if trainer.global_step < options.pretrain.steps:
        raise TrainingError(f"stopped at step {trainer.global_step} of {options.pretrain.steps}; run again to resume")
    method.to("cpu")
    return list(module.health.warnings.values()) if module.health else []


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes resume points atomically."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_path(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def _callbacks(run: Run, folder: Path) -> list[Callback]:
    points = ModelCheckpoint(
        dirpath=folder,
        filename=RESUME,
        every_n_train_steps=run.options.pretrain.checkpoint_every,
        save_top_k=1,
        enable_version_counter=False,
    )
    return [points, _Bar(refresh_rate=10)] if run.options.trainer.progress else [points]


class _Bar(TQDMProgressBar):
    """A progress bar that shows the last logged loss, since reading the loss at any other step makes the step wait."""

    loss: float | None = None

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *batch: Any) -> None:
        if pl_module.is_logged(pl_module.batch_number - 1):
            self.loss = float(trainer.logged_metrics["loss"])
        super().on_train_batch_end(trainer, pl_module, *batch)

    def get_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> dict[str, Any]:
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        return metrics if self.loss is None else metrics | {"loss": self.loss}


def _loggers(run: Run, folder: Path, seed: int, step: int) -> list[Logger]:
    """Make the CSV logger and the one that trainer.logger names. Each start writes a new file, so a resumed run keeps
    its earlier logs."""
    start, name = f"from-step-{step}", run.options.trainer.logger
    loggers: list[Logger] = [CSVLogger(folder, name=LOG, version=start, flush_logs_every_n_steps=50)]
    with needing_extra(f"trainer.logger={name}", "loggers"):
        if name == "tensorboard":
            loggers.append(TensorBoardLogger(folder, name=TENSORBOARD, version=start))
        if name == "wandb":
            title = f"{run.domain.name}-{run.method.name}-seed-{seed}"
            loggers.append(WandbLogger(project="dabs_rq", name=title, save_dir=folder))
    return loggers


def _silence_lightning() -> None:
    """Silence Lightning's hints about workers and hardware."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
