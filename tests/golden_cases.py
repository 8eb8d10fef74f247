"""Reads the reference vectors of tests/golden."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"


@cache
def _index() -> dict[str, Any]:
    cases = json.loads((FOLDER / "index.json").read_text())["cases"]
    for name, case in json.loads((FOLDER / "dabs2" / "index.json").read_text())["cases"].items():
        cases[name] = {**case, "file": f"dabs2/{case['file']}"}
    return cases


@cache
def _arrays(file: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / file) as data:
        return dict(data)


def names(group: str) -> list[str]:
    """Names of the cases of one group, and that of tabular inputs, without those that only hold inputs."""
    tabular = f"{group}_tabular"
    return [
        name for name in _index() if (name.startswith(f"{group}/") and not name.endswith("/input")) or name == tabular
    ]


class Case:
    """One case: `case.settings`, and its arrays as tensors by key (`case["out"]`, `case.get("u_apply")`)."""

    def __init__(self, name: str) -> None:
        self.settings = _index()[name]
        self._own = _arrays(self.settings["file"])
        self._prefix = self.settings["prefix"]

    def below(self, start: str) -> dict[str, Tensor]:
        """Tensors whose keys begin with `start`, by what follows it."""
        return {key.removeprefix(start): self[key] for key in self._keys() if key.startswith(start)}

    def _keys(self) -> list[str]:
        return [key.removeprefix(self._prefix) for key in self._own if key.startswith(self._prefix)]

    def get(self, key: str) -> Tensor | None:
        array = self._own.get(self._prefix + key, self._own.get(key))
        return None if array is None else torch.from_numpy(array.copy())

    def __getitem__(self, key: str) -> Tensor:
        tensor = self.get(key)
        assert tensor is not None, f"no {key} in {self.settings['file']}"
        return tensor
