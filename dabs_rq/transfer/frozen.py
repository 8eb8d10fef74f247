"""Loads the frozen encoder of a run, from its own checkpoint or from the option checkpoint=."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dabs_rq import checkpoint
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import CheckpointError
from dabs_rq.pretrain.kept import other_options
from dabs_rq.run import Run
from dabs_rq.run.changes import pretrain_line
from dabs_rq.run.compose import scales
from dabs_rq.spec import Input


def frozen_encoder(run: Run, seed: int) -> tuple[Encoder, str, str]:
    """Load the frozen encoder. Returns it, the hash of its weights, and the method name for its records."""
    checkpoint_option = run.options.checkpoint
    file = checkpoint_option.expanduser() if checkpoint_option else run.checkpoint_file(seed)
    if not checkpoint_option and not file.exists():
        raise CheckpointError(f"no checkpoint at {file}. Make it first: {pretrain_line(run, seed)}")
    if not checkpoint_option and (changes := other_options(run, checkpoint.describe(file))):
        raise CheckpointError(
            f"{file} was pretrained with other options: {'; '.join(changes)}. Make it again: {pretrain_line(run, seed)}"
        )
    encoder = _load(run, file)
    encoder.requires_grad_(False)
    encoder.mask_padding = run.options.protocol.padding_mask  # DABS's files do not store it
    weights = checkpoint.weights_hash(encoder)
    return encoder, weights, f"checkpoint:{weights}" if checkpoint_option else run.method.name


def _load(run: Run, file: Path) -> Encoder:
    """Load the encoder in `file`. If it does not fit the inputs of this scale, the error names the scales that it
    fits."""
    options = run.options.encoder.options
    # Used for DABS's files only: ours store these values.
    attention = {name: getattr(options, name) for name in ("heads", "head_width", "pool") if hasattr(options, name)}
    read = partial(checkpoint.load_encoder, file, **attention)
    try:
        return read(inputs=run.inputs)
    except CheckpointError as error:
        fitting = [scale for name, inputs in run.domain.inputs.items() if _fits(read, inputs) for scale in scales(name)]
        if not fitting:
            raise
        raise CheckpointError(f"{error}\n  It fits the inputs of scale={' or scale='.join(fitting)}.") from error


def _fits(read: Callable[..., Encoder], inputs: tuple[Input, ...]) -> bool:
    try:
        read(inputs=inputs)
    except CheckpointError:
        return False
    return True
