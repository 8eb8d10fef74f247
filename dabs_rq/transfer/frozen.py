"""Loads the frozen encoder of a run: of its own checkpoint, of the option checkpoint=, or of an encoder file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from dabs_rq import checkpoint, registry
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import CheckpointError, OptionError
from dabs_rq.networks.network import Network, network_hash
from dabs_rq.pretrain.kept import other_options
from dabs_rq.run import Run
from dabs_rq.run.changes import pretrain_line
from dabs_rq.run.compose import scales
from dabs_rq.spec import Input, resized

UNNAMED = "checkpoint-"  # what the column of a checkpoint without a name begins with; tables leave it out


class Frozen(NamedTuple):
    """An encoder to probe. weights: their hash. column: the method of its records. architecture: of a network that is
    scored as it is, see `Record`."""

    encoder: Encoder
    weights: str
    column: str
    architecture: str = ""


def frozen_encoder(run: Run, seed: int, network: Encoder | None = None) -> Frozen:
    """Load the frozen encoder of a run. network: the caller's, which is taken in place of one that is loaded."""
    if network is not None and run.options.builds_network:
        raise OptionError(f"name={run.options.name} is the name of an encoder file, which has a column: give another")
    if run.options.scores_network:
        return _network(run, network or _loaded_network(run, seed))
    file = run.checkpoint_file(seed)
    if not file.exists():
        raise CheckpointError(f"no checkpoint at {file}. Make it first: {pretrain_line(run, seed)}")
    if changes := other_options(run, checkpoint.describe(file)):
        raise CheckpointError(
            f"{file} was pretrained with other options: {'; '.join(changes)}. Make it again: {pretrain_line(run, seed)}"
        )
    encoder = _load(run, file)
    encoder.requires_grad_(False)
    encoder.mask_padding = run.options.protocol.padding_mask  # DABS's files do not store it
    return Frozen(encoder, checkpoint.weights_hash(encoder), run.method.name)


def _network(run: Run, encoder: Encoder) -> Frozen:
    if isinstance(encoder, Network):
        encoder.root = run.root if encoder.texts else None
    else:
        encoder.mask_padding = run.options.protocol.padding_mask
    weights = checkpoint.weights_hash(encoder)
    return Frozen(encoder, weights, run.options.name or f"{UNNAMED}{weights}", network_hash(encoder))


def _loaded_network(run: Run, seed: int) -> Encoder:
    """Load the network of the option checkpoint=, or build that of an encoder file, whose initial weights, if it does
    not bring its own, follow from the seed."""
    options = run.options
    if options.checkpoint is not None:
        return _load(run, options.checkpoint.expanduser())
    if not options.builds_network:
        raise OptionError(f"name={options.name} names the network of a checkpoint: give checkpoint=file too")
    spec = registry.encoder(options.encoder.name)
    spec.check_serves(run.domain.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = spec.build(options.encoder.options, resized(run.inputs, spec.size), options.protocol.padding_mask)
    return encoder.eval()


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
