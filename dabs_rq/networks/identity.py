"""What identifies a network beside its weights, so that cached features are never those of another one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dabs_rq.files import digest

_LIBRARY = ("torch.", "builtins.")
_FREE = ("_name_or_path", "transformers_version")  # of a Hugging Face configuration; they change no feature


def architecture(module: nn.Module) -> dict[str, Any]:
    """Describe a module: its class, and hashes of its modules' settings and of their classes' code.

    Settings are the public attributes of every module: numbers, text, tensors, arrays and functions; of a Hugging Face
    model also its configuration. Other objects do not enter.
    """
    settings = [
        (path, _name(type(one)), dict(sorted(_settings(one))))
        for path, one in module.named_modules(remove_duplicate=False)
    ]
    classes = {_name(type(one)): type(one) for one in module.modules()}
    code = {name: _source(kind) for name, kind in sorted(classes.items()) if not name.startswith(_LIBRARY)}
    return {"network": _name(type(module)), "settings": digest(settings), "code": digest(code)}


def function(called: Callable[..., Any]) -> str:
    """Hash what a function computes, its default values included; what it refers to outside of itself does not
    enter."""
    code, defaults = getattr(called, "__code__", None), getattr(called, "__defaults__", None)
    return digest(
        _source(type(called)) if code is None else _compiled(code), getattr(called, "__qualname__", ""), repr(defaults)
    )


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _source(kind: type[Any]) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed at a prompt, or written in C
        return ""


def _settings(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name.startswith("_") or name == "training":
            continue
        if isinstance(value, Tensor):
            yield name, _values(value)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            yield name, digest(str(value.dtype), value.shape, np.ascontiguousarray(value).tobytes())
        elif callable(getattr(value, "to_dict", None)) and name == "config":
            config = value.to_dict()
            yield name, digest({key: config[key] for key in sorted(config) if key not in _FREE})
        elif inspect.isfunction(value):
            yield name, function(value)
        elif _plain(value):
            yield name, json.dumps(value)


def _values(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous()
    return digest(str(values.dtype), tuple(values.shape), values.reshape(-1).view(torch.uint8).numpy().tobytes())


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _compiled(code: CodeType) -> list[Any]:
    constants = [_compiled(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars]
