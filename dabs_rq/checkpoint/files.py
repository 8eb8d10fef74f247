"""Checkpoints: one safetensors file with the weights and, as its metadata, the JSON of what built them.

Tensors are `encoder.*` and, where a method has modules of its own, `method.*`. Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dabs_rq.checkpoint import dabs as dabs_checkpoint
from dabs_rq.encoders.transformer import Encoder
from dabs_rq.errors import CheckpointError
from dabs_rq.files import atomic_path, digest
from dabs_rq.spec import Grid, Input, Series, Tokens

FORMAT = 1
_KINDS: dict[str, Any] = {"grid": Grid, "series": Series, "tokens": Tokens}


def weights_hash(encoder: torch.nn.Module) -> str:
    """Identity of all weights: names, dtypes, shapes and values."""
    parts: list[Any] = []
    for name, tensor in sorted(encoder.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        parts += [name, str(values.dtype), list(values.shape), values.view(torch.uint8).numpy().tobytes()]
    return digest(*parts)


def save(path: Path, encoder: Encoder, encoder_options: dict[str, Any], own: dict[str, Tensor], about: Any) -> None:
    """Write a checkpoint whole or not at all. `about` is any JSON: identity, options, provenance."""
    from safetensors.torch import save_file

    built = {
        "format": FORMAT,
        "encoder": {**encoder_options, "mask_padding": encoder.mask_padding},
        "inputs": [_described(spec) for spec in encoder.inputs],
        "weights": weights_hash(encoder),
        "about": about,
    }
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    tensors |= {f"method.{name}": tensor for name, tensor in own.items()}
    with atomic_path(path) as temporary:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"dabs_rq": json.dumps(built)},
        )


def describe(path: str | Path) -> dict[str, Any]:
    """What built a checkpoint: format, encoder, inputs, weights (their hash) and about.

    Raises CheckpointError if the file is missing, damaged or not one of ours.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        built = json.loads(metadata["dabs_rq"])
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({error}). Delete it and pretrain again."
        ) from error
    except KeyError:
        raise CheckpointError(f"{path} is a safetensors file, but dabs_rq did not write it") from None
    if built["format"] != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {built['format']}; this version reads {FORMAT}")
    return built


def load_encoder(
    path: str | Path,
    *,
    inputs: tuple[Input, ...] | None = None,
    heads: int = 8,
    head_width: int = 64,
    pool: str = "mean",
) -> Encoder:
    """The encoder of a checkpoint, in eval mode: one of ours, or a Lightning .ckpt or state dict that DABS wrote.

    inputs: what it is going to be fed; None takes the checkpoint's own (which DABS's do not say).
    heads, head_width, pool: of a DABS checkpoint, whose tensors do not tell them.
    Raises: CheckpointError if the file is missing, damaged or of another maker, if it was trained on other inputs, or
        if a tensor is missing, left over or of another shape.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}")
    if zipfile.is_zipfile(path):  # what torch saves; safetensors files are not
        if inputs is None:
            raise CheckpointError(f"{path} does not say what inputs it takes: give inputs=")
        return dabs_checkpoint.load(path, inputs, heads, head_width, pool)
    return _load_ours(path, inputs)


def verified(path: Path) -> dict[str, Any]:
    """What `describe` says of one of our checkpoints, the weights of which are those that were written.

    Raises CheckpointError as `load_encoder` does.
    """
    built = describe(path)
    load_encoder(path)
    return built


def export_dabs(path: str | Path, target: Path) -> None:
    """Write the encoder of one of our checkpoints as a file that DABS's transfer loads: a state dict under its names.

    Raises CheckpointError as `load_encoder` does.
    """
    encoder = load_encoder(path)
    with atomic_path(target) as temporary:
        torch.save({"state_dict": dabs_checkpoint.to_dabs(encoder.state_dict())}, temporary)


def _load_ours(path: Path, inputs: tuple[Input, ...] | None) -> Encoder:
    from safetensors.torch import load_file

    built = describe(path)
    own = tuple(_input(spec) for spec in built["inputs"])
    if inputs is not None and inputs != own:
        raise CheckpointError(
            f"{path} is of another architecture: it takes {_listed(own)}; expected {_listed(inputs)}. "
            "Pretrain at this scale, or give the scale and domain it was made for."
        )
    encoder = Encoder(own, **built["encoder"])
    state = {
        name.removeprefix("encoder."): tensor for name, tensor in load_file(path).items() if name.startswith("encoder.")
    }
    try:
        encoder.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not hold the encoder it describes: {error}") from error
    if (found := weights_hash(encoder)) != built["weights"]:
        raise CheckpointError(f"{path} is damaged: its weights hash to {found}, {built['weights']} was written")
    return encoder.eval()


def _described(spec: Input) -> dict[str, Any]:
    kind = next(kind for kind, cls in _KINDS.items() if isinstance(spec, cls))
    return {"kind": kind, **dataclasses.asdict(spec)}


def _input(described: dict[str, Any]) -> Input:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in described.items()}
    return _KINDS[described["kind"]](**{name: value for name, value in values.items() if name != "kind"})


def _listed(inputs: tuple[Input, ...]) -> str:
    return ", ".join(map(repr, inputs))
