"""Loads an encoder of a checkpoint, and computes its features of arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dabs_rq import checkpoint, registry
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import EncoderError, OptionError, unknown
from dabs_rq.networks.checks import check_inputs, check_output
from dabs_rq.run.compose import choices, read
from dabs_rq.spec import Input
from dabs_rq.transfer import features as transfer_features


def load(
    path: str | Path,
    *,
    domain: str | None = None,
    scale: str = "paper",
    inputs: tuple[Input, ...] | None = None,
    heads: int = 8,
    head_width: int = 64,
    pool: str = "mean",
) -> Encoder:
    """Load the encoder of a checkpoint, in eval mode: an `encoder.safetensors` of ours, or a file that DABS wrote.

    domain, scale: say which inputs a file of DABS takes, which does not store them; or give `inputs` themselves. heads,
    head_width, pool: of a file of DABS.
    Raises: CheckpointError if the file is missing, damaged or of another project, or fits other inputs.
    """
    if inputs is None and domain is not None:
        if scale not in choices("scale"):
            raise OptionError(unknown("scale", scale, choices("scale")))
        declared = registry.domain(domain).inputs
        if (name := read("scale", scale)[1]["inputs"]) not in declared:
            raise OptionError(f"domain {domain!r} has no inputs at scale={scale}; it has {', '.join(declared)}")
        inputs = declared[name]
        if not checkpoint.is_of_torch(Path(path)):  # ours stores its inputs, with the vocabulary that it was trained on
            inputs = None
    return checkpoint.load_encoder(path, inputs=inputs, heads=heads, head_width=head_width, pool=pool)


def features(encoder: Encoder, inputs: Any, *, batch_size: int = 256, device: str = "auto") -> np.ndarray:
    """Compute the features (n, D), float32, of arrays or tensors, in eval mode.

    inputs: (n, *shape) as the encoder's `inputs` declare; a tuple of these if it takes several. Pictures are uint8, or
        real numbers in [0, 1]; channels come first. Texts are ids of the domain's tokenizer.
    batch_size: examples at a time. device: auto, cpu or gpu; the encoder returns to where it was.
    Raises: EncoderError if an input has another shape, type or range, or if a feature is not finite.
    """
    if not isinstance(encoder, Encoder):
        raise EncoderError(
            f"an encoder expected, such as dabs_rq.load returns; got {type(encoder).__name__}, which declares no "
            "inputs. Call your own network yourself; dabs_rq.evaluate scores it"
        )
    given = inputs if isinstance(inputs, tuple | list) and len(encoder.inputs) > 1 else (inputs,)
    raw = check_inputs(given, encoder.inputs)
    with transfer_features.unchanged(encoder):
        encoder.to(transfer_features.device(device)).eval()
        parts = [
            transfer_features.encode_batch(encoder, tuple(one[start : start + batch_size] for one in raw)).float().cpu()
            for start in range(0, len(raw[0]), batch_size)
        ]
    found = [check_output("the encoder", part, len(part)).numpy() for part in parts]
    computed = np.concatenate(found) if found else np.empty((0, encoder.width), np.float32)
    if not np.isfinite(computed).all():
        bad = int(np.flatnonzero(~np.isfinite(computed).all(axis=1))[0])
        raise EncoderError(f"the feature of example {bad} is not finite (NaN or infinite)")
    return computed
