"""Pretraining: examples and a method to a checkpoint, with Lightning."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import torch

from dabs_rq import checkpoint, registry
from dabs_rq.batches import Shuffled, Streamed, training_batches
from dabs_rq.encoder import Encoder
from dabs_rq.errors import CheckpointError, TrainingError
from dabs_rq.examples import Examples
from dabs_rq.method import Method
from dabs_rq.provenance import now, provenance
from dabs_rq.run import Run, announce


def pretrain(run: Run, seed: int) -> Path:
    """Pretrain the run's method on its domain; return the checkpoint file.

    A finished checkpoint is kept as it is, an interrupted run goes on where its last resume point is, with the same
    losses as without the interruption.
    """
    file = run.checkpoint_file(seed)
    if is_finished(file):
        print(f"pretrained already: {file}")
        return file
    options = run.options
    encoder, method = build(run, seed)
    announce(run, f"pretrain {run.domain.name} with {options.method.name}, seed {seed}, {_budget(run)}")
    started = time.monotonic()
    examples_key = None
    if registry.method(options.method.name).trains:
        from dabs_rq.training import train

        batches = source_batches(run, seed)
        examples_key = batches.key
        train(run, method, batches, seed, run.checkpoint_folder(seed))
    about = {
        **run.identity(seed, of_pretraining=True)._asdict(),
        "made_up_data": run.made_up,
        "examples": examples_key,
        "options": run.composed.values,
        "seconds": round(time.monotonic() - started, 2),
        "created": now(),
        **provenance(),
    }
    checkpoint.save(file, encoder, dataclasses.asdict(options.encoder), method.own_state(), about)
    (file.parent / "resume.ckpt").unlink(missing_ok=True)
    print(f"wrote {file} after {about['seconds']} s", flush=True)
    return file


def is_finished(file: Path) -> bool:
    """Whether a whole checkpoint lies there. A damaged one is moved aside, to be made again."""
    if not file.exists():
        return False
    try:
        checkpoint.describe(file)
    except CheckpointError as error:
        aside = file.with_suffix(".damaged")
        print(f"{error}\n  kept as {aside}")
        file.replace(aside)
        return False
    return True


def build(run: Run, seed: int) -> tuple[Encoder, Method]:
    """The initial encoder and the method around it. A seed gives the same encoder whatever the method."""
    options = run.options
    spec = registry.method(options.method.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(run.inputs, **dataclasses.asdict(options.encoder), mask_padding=options.protocol.padding_mask)
        method: Method = spec.build(options.method, encoder, run.inputs)
    if not method.trains_embeddings:
        encoder.embeddings.requires_grad_(False)
    return encoder, method


def source_batches(run: Run, seed: int) -> Shuffled | Streamed:
    """Raises TrainingError for a split or a budget that gives no step."""
    source = run.unlabelled("train")
    if isinstance(source, Examples) and len(source) == 0:
        raise TrainingError(f"{run.domain.pretraining.source.title}: the training split is empty")
    if (steps := run.options.pretrain.steps) < 1:
        raise TrainingError(f"pretrain.steps={steps} is no training; method=none keeps the initial encoder")
    return training_batches(source, run.options.pretrain.batch_size or run.domain.batch_size, seed)


def _budget(run: Run) -> str:
    if not registry.method(run.options.method.name).trains:
        return "no steps"
    size = run.options.pretrain.batch_size or run.domain.batch_size
    return f"{run.options.pretrain.steps} steps of {size}"
