"""Weights of networks of others: state dicts in files, and models of Hugging Face in folders."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dabs_rq.errors import CheckpointError, first_line
from dabs_rq.files import check_regular, reading

M = TypeVar("M", bound=nn.Module)
EXPECTED = "Expected: a state dict, as safetensors or written by torch.save(model.state_dict(), path)"


def load_weights(module: M, path: str | Path) -> M:
    """Load a state dict into a module, strictly, and return the module in eval mode. Nothing in the file is run.

    Raises: CheckpointError if there is no file, if it holds something else, or if a tensor is missing, unexpected or of
        another shape.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise CheckpointError(f"no weights at {path}. {EXPECTED}")
    state = _state(path)
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not hold the weights of this {type(module).__name__}: "
            f"{'; '.join(line.strip() for line in str(error).splitlines()[1:4])}. Its tensors: "
            f"{', '.join(list(state)[:3])}, {len(state)} in all"
        ) from error
    return module.eval()


def _state(path: Path) -> dict[str, Tensor]:
    check_regular(path, CheckpointError)
    of_torch = zipfile.is_zipfile(path)
    with reading(path, "damaged, or no state dict", EXPECTED, CheckpointError):
        if of_torch:
            with path.open("rb") as stream:  # torch reads a path by its suffix
                state = torch.load(stream, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            state = load_file(path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        keys = ", ".join(list(map(str, state))[:5]) if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path} holds {keys}, not tensors by name alone. {EXPECTED}")
    return state


def load_hugging_face(place: str | Path, kind: Any = None, **options: Any) -> Any:
    """Load a model, or with `kind` another object such as transformers.AutoTokenizer, in eval mode.

    place: a folder that `save_pretrained` wrote, or an id on the hub, which needs the network. kind: any class with
    from_pretrained; None: transformers.AutoModel. options: of its from_pretrained. Neither code in the folder nor
    pickled weights are run.
    Raises: CheckpointError if it is not there, cannot be loaded, or lacks weights, which would be random.
    """
    import transformers

    kind = kind or transformers.AutoModel
    folder = Path(place).expanduser()
    if (folder.is_absolute() or str(place).startswith(".")) and not folder.is_dir():
        raise CheckpointError(
            f"no model at {folder}. Expected: a folder that save_pretrained wrote, or an id on the hub"
        )
    is_model = hasattr(kind, "from_config") or (isinstance(kind, type) and issubclass(kind, nn.Module))
    if is_model:
        options |= {"use_safetensors": True, "output_loading_info": True}
    try:
        loaded = kind.from_pretrained(str(folder if folder.is_dir() else place), trust_remote_code=False, **options)
    except Exception as error:  # a damaged folder can raise any type
        where = str(folder) if folder.is_dir() else f"{place}, which is no folder here and was asked of the hub,"
        raise CheckpointError(f"{where} cannot be loaded by {kind.__name__}: {first_line(error)}") from error
    if not is_model:
        return loaded
    model, info = loaded
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{place} lacks {len(missing)} tensors of its {type(model).__name__}, which would be random: "
            f"{', '.join(missing[:3])}. If you do not use them, leave them out, such as by add_pooling_layer=False"
        )
    return model.eval()
