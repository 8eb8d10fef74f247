"""Our checkpoints: one safetensors file with the weights; its metadata are the JSON description of the encoder.

Tensors are named `encoder.*`, and `method.*` for the method's own modules. Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dabs_rq import registry
from dabs_rq.checkpoint import dabs as dabs_checkpoint
from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import CheckpointError, OptionError, first_line, shown
from dabs_rq.files import atomic_path, check_regular, digest, explained
from dabs_rq.spec import Grid, Input, Series, Tabular, Tokens
from dabs_rq.typed import checked

FORMAT = 2
_KINDS: dict[str, Any] = {"grid": Grid, "series": Series, "tokens": Tokens, "tabular": Tabular}
_PREFIX, _OWN = "encoder.", "method."
_DESCRIPTION = {"encoder": dict, "inputs": list, "weights": str, "about": dict}
_ENCODER = {"name": str, "options": dict, "mask_padding": bool, "architecture": dict}
_EXPECTED = "Expected: an encoder.safetensors that `dabs_rq pretrain` wrote, or a .ckpt file of DABS."


def weights_hash(encoder: torch.nn.Module) -> str:
    """Identity of all weights: names, dtypes, shapes and values."""
    return _hash(encoder.state_dict())


def _hash(state: Mapping[str, Tensor]) -> str:
    parts: list[Any] = []
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().contiguous()
        parts += [name, str(values.dtype), list(values.shape), values.reshape(-1).view(torch.uint8).numpy().tobytes()]
    return digest(*parts)


def save(path: Path, encoder: Encoder, name: str, options: Any, own: Mapping[str, Tensor], about: Any) -> None:
    """Write a checkpoint atomically.

    name, options: the encoder's name in the registry, and the options (a dataclass) that built it. own: the method's
    own tensors. about: any JSON, such as identity, options and provenance.
    """
    from safetensors.torch import save_file

    built = {
        "format": FORMAT,
        "encoder": {
            "name": name,
            "options": dataclasses.asdict(options),
            "mask_padding": encoder.mask_padding,
            "architecture": encoder.architecture,
        },
        "inputs": [_described(spec) for spec in encoder.inputs],
        "weights": weights_hash(encoder),
        "own_weights": _hash(own),
        "about": about,
    }
    tensors = {f"{_PREFIX}{name}": tensor for name, tensor in encoder.state_dict().items()}
    tensors |= {f"{_OWN}{name}": tensor for name, tensor in own.items()}
    with atomic_path(path) as temporary:
        save_file(
            # Copy each tensor: safetensors refuses tensors that share memory.
            {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"dabs_rq": json.dumps(built)},
        )


def describe(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint's description: format, encoder (name, options, mask_padding, architecture), inputs, weights
    (their hash) and about.

    Raises CheckpointError if the file is missing or damaged, or if dabs_rq did not write it.
    """
    with _checked(Path(path)):
        return _read(Path(path), tensors=False)[0]


def verified(path: Path) -> dict[str, Any]:
    """Check the weights of one of our checkpoints, and the tensors of its method, against their hashes, and return its
    description, see `describe`.

    Reads each tensor once and builds no network. Raises CheckpointError as `load_encoder` does.
    """
    with _checked(path):
        built, state = _read(path)
        _check_weights(path, built, _hash(state))
        own_tensors(path)  # raises if they have changed
        return built


def own_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of the method's own modules from one of our checkpoints, and check them against their hash; a
    checkpoint of an earlier version has none. Raises CheckpointError as `describe` does."""
    from safetensors import safe_open

    built = describe(path)
    with _checked(path), safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(_OWN)]  # noqa: SIM118
        own = {name.removeprefix(_OWN): file.get_tensor(name) for name in names}
    if built.get("own_weights", actual := _hash(own)) != actual:
        raise CheckpointError(f"{path} is damaged: its method's tensors hash to {actual}, not {built['own_weights']}")
    return own


def _checked(path: Path) -> AbstractContextManager[None]:
    """Raise CheckpointError for whatever a library raises about `path` in this block."""
    return explained(path, "damaged or not a checkpoint", _EXPECTED.rstrip("."), CheckpointError)


def load_encoder(
    path: str | Path,
    *,
    inputs: tuple[Input, ...] | None = None,
    heads: int = 8,
    head_width: int = 64,
    pool: str = "mean",
) -> Encoder:
    """Load the encoder of a checkpoint, in eval mode: one of ours, or a Lightning .ckpt or state dict of DABS.

    inputs: the inputs that the encoder must take; None accepts the checkpoint's own (DABS's files do not store them).
    heads, head_width, pool: only for a DABS checkpoint, whose tensors do not determine them.
    Raises: CheckpointError if the file is missing, damaged or neither ours nor DABS's, if it was trained on other
        inputs, if its encoder is unknown, or if a tensor is missing, unexpected or of another shape.
    """
    path = Path(path)
    with _checked(path):
        return _load(path, inputs, heads, head_width, pool)


def is_of_torch(path: Path) -> bool:
    """Return whether `path` is a file that torch wrote, as DABS's checkpoints are; ours are not."""
    return path.is_file() and zipfile.is_zipfile(path)  # torch writes zip files, safetensors does not


def _load(path: Path, inputs: tuple[Input, ...] | None, heads: int, head_width: int, pool: str) -> Encoder:
    if is_of_torch(path):
        if inputs is None:
            raise CheckpointError(
                f"{path} does not store the inputs that its encoder takes: give inputs= (or domain= to dabs_rq.load)"
            )
        return dabs_checkpoint.load(path, inputs, heads, head_width, pool)
    return _load_ours(path, inputs)


def export_dabs(path: str | Path, target: Path) -> None:
    """Write the encoder of one of our checkpoints as a state dict under DABS's names, which DABS's transfer loads.

    Raises CheckpointError as `load_encoder` does, and for an encoder other than the transformer.
    """
    if (name := describe(path)["encoder"]["name"]) != "transformer":
        raise CheckpointError(f"{path} holds encoder {name!r}; DABS has only the transformer")
    encoder = load_encoder(path)
    # The first entry says whose file it is (`dabs_rq.table.ours`); DABS reads only the state dict.
    content = {"dabs_rq": weights_hash(encoder), "state_dict": dabs_checkpoint.to_dabs(encoder.state_dict())}
    with atomic_path(target) as temporary:
        torch.save(content, temporary)


def _load_ours(path: Path, inputs: tuple[Input, ...] | None) -> Encoder:
    built, state = _read(path)
    own = tuple(_input(path, spec) for spec in built["inputs"])
    if inputs is not None and inputs != own:
        raise CheckpointError(
            f"{path} has another architecture: it takes {_listed(own)}; expected {_listed(inputs)}. "
            "Pretrain at this scale, or give the scale and domain that it was pretrained for."
        )
    try:
        if (shapes := _without_memory(path, built["encoder"], own)) is not None:
            shapes.load_state_dict(state, strict=True, assign=True)  # compares all shapes
        encoder = _build(path, built["encoder"], own)
        encoder.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not hold the encoder that it describes: {error}") from error
    _check_weights(path, built, weights_hash(encoder))
    return encoder.eval()


def _without_memory(path: Path, described: dict[str, Any], inputs: tuple[Input, ...]) -> Encoder | None:
    """Build the encoder without memory for its weights, so that a forged size takes none. None if it cannot be,
    because it computes with numbers while it is built."""
    try:
        with torch.device("meta"):
            return _build(path, described, inputs)
    except CheckpointError:
        raise
    except Exception:
        return None


def _build(path: Path, described: dict[str, Any], inputs: tuple[Input, ...]) -> Encoder:
    name = described["name"]
    try:
        spec = registry.encoder(name)
        options = checked(spec.options, described["options"], "encoder.")
        encoder = spec.build(options, inputs, described["mask_padding"])
    except OptionError as error:
        raise CheckpointError(
            f"{path} holds encoder {name!r}, which cannot be built: {error} If it is your own encoder, name the folder "
            f"of its file in {registry.PATH_VARIABLE}."
        ) from error
    architecture = json.loads(json.dumps(encoder.architecture))
    if architecture != described["architecture"]:
        raise CheckpointError(
            f"{path} was written by another version of encoder {name!r}: its architecture was "
            f"{described['architecture']}, it is now {architecture}. Use that version, or pretrain again."
        )
    return encoder


def _check_weights(path: Path, built: dict[str, Any], actual: str) -> None:
    if actual != built["weights"]:
        raise CheckpointError(f"{path} is damaged: its weights hash to {actual}, expected {built['weights']}")


def _read(path: Path, *, tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint's description and, with `tensors`, the encoder's tensors, opening the file once."""
    from safetensors import safe_open

    _check_kind(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            if "dabs_rq" not in metadata:
                examples = ", ".join(names[:3])
                raise CheckpointError(
                    f"{path} is a safetensors file, but dabs_rq did not write it (its tensors: {examples}, "
                    f"{len(names)} in all). {_EXPECTED}"
                )
            built = json.loads(metadata["dabs_rq"])
            encoder_names = [name for name in names if tensors and name.startswith(_PREFIX)]
            state = {name.removeprefix(_PREFIX): file.get_tensor(name) for name in encoder_names}
    except CheckpointError:
        raise
    except Exception as error:  # a damaged header can raise any type
        raise CheckpointError(
            f"{path} is damaged, or it is not a safetensors file ({first_line(error)}). {_EXPECTED}"
        ) from error
    if not isinstance(built, dict) or built.get("format") != FORMAT:
        written = built.get("format") if isinstance(built, dict) else built
        raise CheckpointError(
            f"{path} has checkpoint format {written}; this version reads {FORMAT}. Pretrain again, or use the version "
            "of dabs_rq that wrote it."
        )
    if missing := {"encoder", "inputs", "weights", "about"} - built.keys():
        raise CheckpointError(f"{path} is damaged: its metadata lacks {', '.join(sorted(missing))}")
    wrong = [name for name, kind in _DESCRIPTION.items() if not isinstance(built[name], kind)]
    if not wrong:
        wrong = [
            f"encoder.{name}" for name, kind in _ENCODER.items() if not isinstance(built["encoder"].get(name), kind)
        ]
    if wrong:
        raise CheckpointError(
            f"{path} is damaged: its metadata hold something else than expected in {', '.join(wrong)}"
        )
    return built, state


def _check_kind(path: Path) -> None:
    """Raise CheckpointError, saying what `path` is, if it is missing or clearly not a safetensors file."""
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}")
    if path.is_dir():
        model = " of a Hugging Face model (it has a config.json)" if (path / "config.json").exists() else ""
        raise CheckpointError(f"{path} is a folder{model}, not a checkpoint file. {_EXPECTED}")
    check_regular(path, CheckpointError)
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file begins with eight bytes, the length of its header, which may look like a pickle's first two.
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[8:9] != b"{":
        raise CheckpointError(
            f"{path} is a pickle, perhaps a .ckpt that torch wrote before version 1.6, or a .pkl. It is not opened, "
            f"because that may run code. {_EXPECTED} If you trust it, rewrite it by torch.save(torch.load(path), new)."
        )
    if zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is a zip file, perhaps a .ckpt of torch; dabs_rq did not write it")


def _described(spec: Input) -> dict[str, Any]:
    kind = next(kind for kind, cls in _KINDS.items() if isinstance(spec, cls))
    return {"kind": kind, **dataclasses.asdict(spec)}


def _input(path: Path, described: dict[str, Any]) -> Input:
    from pydantic import TypeAdapter

    try:
        kind = _KINDS[described["kind"]]
        values = {name: value for name, value in described.items() if name != "kind"}
        return TypeAdapter(kind).validate_python(values)
    except Exception as error:  # a size of 0, an unknown kind, another type
        raise CheckpointError(f"{path} is damaged: no input is {shown(described)} ({first_line(error)})") from error


def _listed(inputs: tuple[Input, ...]) -> str:
    return ", ".join(map(repr, inputs))
