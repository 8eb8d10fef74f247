"""Checkpoints of DABS: converts tensor names in both directions and reads files without running code from them.

Source: DABS's code at d33021a, src/models/pytorch/transformer.py; the names are the same in its earlier versions.
"""

from __future__ import annotations

import dataclasses
import pickletools
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.errors import CheckpointError, first_line
from dabs_rq.files import explained
from dabs_rq.spec import Input, Tokens

# Prefixes of tensors that do not belong to the encoder: heads for DABS's training.
_EXTRA = ("predictor.", "linear.", "non_linear_evaluator.", "online_evaluator.")

_BLOCK = r"blocks\.(\d+)\."
# (pattern of our name, DABS's name with the pattern's groups)
_NAMES = (
    (r"positions", "pos_embedding"),
    (r"class_token", "cls_token"),
    (r"embeddings\.(\d+)\.projection\.(weight|bias)", r"embed_modules.\1.embed.1.\2"),
    (r"embeddings\.(\d+)\.table", r"embed_modules.\1.embed.weight"),
    (r"embeddings\.(\d+)\.shared\.(weight|bias)", r"embed_modules.\1.embed.\2"),
    (_BLOCK + r"attention\.norm\.(weight|bias)", r"transformer.layers.\1.0.norm.\2"),
    (_BLOCK + r"attention\.to_qkv\.weight", r"transformer.layers.\1.0.fn.to_qkv.weight"),
    (_BLOCK + r"attention\.to_out\.(weight|bias)", r"transformer.layers.\1.0.fn.to_out.0.\2"),
    (_BLOCK + r"feed_forward\.norm\.(weight|bias)", r"transformer.layers.\1.1.norm.\2"),
    (_BLOCK + r"feed_forward\.expand\.(weight|bias)", r"transformer.layers.\1.1.fn.net.0.\2"),
    (_BLOCK + r"feed_forward\.contract\.(weight|bias)", r"transformer.layers.\1.1.fn.net.3.\2"),
    (r"head\.([01])\.(weight|bias)", r"mlp_head.\1.\2"),
)


def dabs_name(name: str) -> str:
    """Return DABS's name of one of our encoder's tensors. Raises KeyError for an unknown name."""
    for pattern, dabs_pattern in _NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(dabs_pattern)
    raise KeyError(name)


def to_dabs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename our encoder's state dict to DABS's names, with the prefix that its transfer expects."""
    return {f"model.{dabs_name(name)}": tensor for name, tensor in state.items()}


def from_dabs(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Rename the tensors of a DABS encoder (without the "model." prefix) to our `names`.

    Raises KeyError naming every missing and every unexpected tensor.
    """
    renamed = {dabs_name(name): name for name in names}
    missing, extra = sorted(set(renamed) - set(state)), sorted(set(state) - set(renamed))
    if missing or extra:
        raise KeyError(f"missing: {', '.join(missing) or 'none'}; unexpected: {', '.join(extra) or 'none'}")
    return {ours: state[theirs] for theirs, ours in renamed.items()}


def load(path: Path, inputs: tuple[Input, ...], heads: int, head_width: int, pool: str) -> Transformer:
    """Load the encoder from a Lightning .ckpt or a bare state dict of DABS.

    Sizes and vocabulary follow from the tensors; `heads`, `head_width` and `pool` do not, so they are parameters.
    Raises: CheckpointError if the file is not such a checkpoint, lacks a tensor, or does not fit `inputs`.
    """
    state = _encoder_state(path, read(path))
    try:
        sizes = _sizes(state)
        fitted = _with_vocabulary(inputs, state)
    except KeyError as error:
        raise CheckpointError(f"{path} does not hold a DABS encoder: {error.args[0]} is missing") from None
    attention = state["transformer.layers.0.0.fn.to_qkv.weight"].shape[0] // 3
    if attention != heads * head_width:
        raise CheckpointError(
            f"{path}: its attention is {attention} wide, which is not heads={heads} x head_width={head_width}; "
            "give the values that it was trained with"
        )
    encoder = Transformer(fitted, **sizes, heads=heads, head_width=head_width, pool=pool)
    expected = encoder.state_dict()
    try:
        ours = from_dabs(state, list(expected))
    except KeyError as error:
        raise CheckpointError(f"{path} does not fit: {error.args[0]}") from None
    mismatches = [
        f"{dabs_name(name)} is {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
        for name, tensor in ours.items()
        if tensor.shape != expected[name].shape
    ]
    if mismatches:
        raise CheckpointError(f"{path} was trained on inputs of another size: {'; '.join(mismatches)}")
    encoder.load_state_dict({name: tensor.float() for name, tensor in ours.items()})
    return encoder.eval()


def read(path: Path) -> dict[str, Any]:
    """Read the tensors and plain containers that torch saved in `path`.

    Objects of other classes, which old Lightning files hold, become inert placeholders: none of their code is imported
    or run.
    Raises: CheckpointError if the file is damaged or needs something that weights_only=True forbids.
    """
    _check_zip(path)
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_placeholder(name), name) for name in unknown]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise any type
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, perhaps a whole pickled module; expected a Lightning .ckpt or a "
            "state dict"
        )
    return content


def _check_zip(path: Path) -> None:
    """Raise CheckpointError for a file that would take more memory than its size: with compressed parts, which torch
    does not write, or a pickle that asks for empty memory."""
    with (
        explained(path, "damaged or not a checkpoint of torch", error=CheckpointError),
        zipfile.ZipFile(path) as archive,
    ):
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise CheckpointError(f"{path}: its parts are compressed, which torch does not do; it is not opened")
        for part in parts:
            if part.filename.rpartition("/")[2] == "data.pkl":
                _check_pickle(path, archive.read(part))


def _check_pickle(path: Path, content: bytes) -> None:
    for opcode, value, _ in pickletools.genops(content):  # also checks that every size is one of bytes that are there
        if opcode.name in ("GLOBAL", "INST") and str(value).rpartition(" ")[2] == "bytearray":
            raise CheckpointError(f"{path}: its pickle asks for a bytearray of any size; it is not opened")
        if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(value, int) and value > len(content):
            raise CheckpointError(f"{path}: its pickle numbers an object {value:,}; it is not opened")


def _check_sizes(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for tensors that show the same memory many times, which a copy would not."""
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > 2 * (size := path.stat().st_size):
        raise CheckpointError(f"{path}: its tensors have {total:,} bytes, the file only {size:,}")


def _placeholder(name: str) -> type:
    """Make a class whose objects accept everything that unpickling does to them, and do nothing."""

    def ignore(self: Any, *_: Any, **__: Any) -> None:
        return None

    methods = {
        "__new__": lambda cls, *_, **__: object.__new__(cls),
        "__init__": ignore,
        "__setstate__": ignore,
        "__setitem__": ignore,
        "append": ignore,
        "extend": ignore,
        "update": ignore,
    }
    return type(name.rpartition(".")[2], (), methods)


def _encoder_state(path: Path, content: dict[str, Any]) -> dict[str, Tensor]:
    """Extract the encoder's tensors, without prefix, from a Lightning file, from the state dict of DABS's Lightning
    module, or from the encoder's own state dict."""
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected tensors by name in state_dict, found {type(state).__name__}")
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and isinstance(name, str)}
    _check_sizes(path, tensors)
    prefixed = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    if not prefixed:
        return {name: value for name, value in tensors.items() if not name.startswith(_EXTRA)}
    left_over = [name for name in tensors if not name.startswith(("model.", *_EXTRA))]
    if left_over:
        raise CheckpointError(
            f"{path}: tensors that belong neither to the encoder nor to a known head: {left_over[:5]}"
        )
    return prefixed


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    blocks = {match[1] for name in state if (match := re.match(r"transformer\.layers\.(\d+)\.", name))}
    return {
        "width": state["cls_token"].shape[2],
        "depth": len(blocks),
        "mlp_width": state["transformer.layers.0.1.fn.net.0.weight"].shape[0],
        "out_width": state["mlp_head.1.weight"].shape[0],
    }


def _with_vocabulary(inputs: tuple[Input, ...], state: Mapping[str, Tensor]) -> tuple[Input, ...]:
    """Return the inputs with the vocabulary of the file: by an error, DABS's earlier text checkpoints have 35,022
    rows. Raises KeyError if the file has no row for padding."""
    fitted: list[Input] = []
    for index, spec in enumerate(inputs):
        if isinstance(spec, Tokens):
            rows = state[f"embed_modules.{index}.embed.weight"].shape[0]
            if spec.pad is not None and spec.pad >= rows:
                raise KeyError(
                    f"an embedding of padding, id {spec.pad} of input {spec.name!r} (with protocol.own_padding=false "
                    "there is no such id)"
                )
            spec = dataclasses.replace(spec, vocabulary=rows)
        fitted.append(spec)
    return tuple(fitted)
