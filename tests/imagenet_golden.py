"""Reads the reference vectors of tests/golden/imagenet, and builds the networks that they describe."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dabs_rq import registry
from dabs_rq.encoders.base import Encoder
from dabs_rq.methods.base import Batch, build_method
from dabs_rq.methods.moco import MoCo
from dabs_rq.methods.views import Recipe
from dabs_rq.spec import Grid
from tests.golden_cases import FOLDER


@cache
def cases() -> dict[str, Any]:
    return json.loads((FOLDER / "imagenet" / "index.json").read_text())["cases"]


@cache
def arrays(file: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / "imagenet" / file) as data:
        return dict(data)


class Vectors:
    """One case: its settings, and its arrays as tensors by key."""

    def __init__(self, name: str) -> None:
        self.settings = cases()[name]
        self.own, self.prefix = arrays(self.settings["file"]), self.settings["prefix"]

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(np.array(self.own.get(self.prefix + key, self.own.get(key))))

    def below(self, start: str) -> dict[str, Tensor]:
        """Tensors whose keys begin with `start`, by what follows it."""
        whole = self.prefix + start
        return {
            key.removeprefix(whole): torch.from_numpy(np.array(v))
            for key, v in self.own.items()
            if key.startswith(whole)
        }


class Tiny(Encoder):
    """The tiny network of the vectors, without its `fc`."""

    def __init__(self, inputs: Any, width: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)

    @property
    def width(self) -> int:
        return self.bn3.num_features

    @property
    def architecture(self) -> dict[str, Any]:
        return {"network": "tiny"}

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        x = self.bn1(self.conv1(inputs[0])).relu()
        x = (x + self.bn2(self.conv2(x))).relu()
        return self.bn3(self.conv3(x)).relu().mean((2, 3))


def our_name(name: str) -> str:
    """The name of a tensor of the reference in our method."""
    for theirs, ours in (("base_encoder.fc.", "projector."), ("momentum_encoder.fc.", "momentum_projector.")):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name.replace("base_encoder.", "encoder.", 1)


def method_of(settings: dict[str, Any], shape: tuple[int, ...], **options: Any) -> MoCo:
    """MoCo around the network of a case, with its weights."""
    picture = Grid(name="image", height=shape[1], width=shape[2], channels=shape[0], patch=1)
    tiny = settings["network"] == "tiny"
    if tiny:
        encoder: Encoder = Tiny((picture,), settings["width"])
    else:
        spec = registry.encoder(settings["network"])
        encoder = spec.build(spec.options(zero_init_residual=True, normalise=False), (picture,), True)
    spec = registry.method("moco")
    steps = settings.get(
        "schedule", {"epochs": 1, "warmup_epochs": 0, "iters_per_epoch": 1, "m": 0.99, "m_cosine": False}
    )
    chosen = spec.options(
        augment="none",
        temperature=settings["T"],
        hidden=settings["mlp_dim"],
        dimension=settings["dim"],
        momentum=steps["m"],
        momentum_schedule="cosine" if steps["m_cosine"] else "constant",
        warmup=steps["warmup_epochs"] / steps["epochs"],
        **{"rq": "none", **options},
    )
    method = build_method(spec, chosen, encoder).train()
    assert isinstance(method, MoCo)
    state = {_plain(name, tiny): value for name, value in weights(settings).items()}
    method.load_state_dict(state | {f"momentum_{k}": v for k, v in _copied(state).items()}, strict=False)
    return method


def _plain(name: str, tiny: bool) -> str:
    ours = our_name(name)
    inside = ours.startswith("encoder.") and not tiny
    return ours.replace("encoder.", "encoder.network.", 1) if inside else ours


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith(("encoder.", "projector."))}


def weights(settings: dict[str, Any]) -> dict[str, Tensor]:
    """The initial weights, by the formula in the README of the vectors."""
    made = {}
    for i, (name, shape) in enumerate(settings["parameters"]):
        z = np.random.RandomState(settings["weight_seed"] + i).standard_normal(shape)
        if len(shape) > 1:
            z = z * math.sqrt(2 / math.prod(shape[1:]))
        else:
            z = 0.1 * z if name.endswith("bias") else 0.0 * z if name in settings["zero"] else 1 + 0.1 * z
        made[name] = torch.from_numpy(z.astype(np.float32))
    return made


def views(settings: dict[str, Any]) -> tuple[Tensor, Tensor]:
    first, second = (
        np.random.RandomState(settings["view_seed"] + j).standard_normal(settings["view_shape"]) for j in (0, 1)
    )
    return torch.from_numpy(first.astype(np.float32)), torch.from_numpy(second.astype(np.float32))


class Given:
    """In place of a method's views: the two views of a case, whatever the recipe."""

    def __init__(self, inner: Any, given: tuple[Tensor, Tensor]) -> None:
        self.inner, self.given = inner, given

    def pairs(self, *_: Any) -> list[tuple[Tensor, Recipe]]:
        return [(view, Recipe()) for view in self.given]

    def draw(self, *_: Any) -> Tensor:
        return torch.empty(0)

    def make(self, view: Tensor, *_: Any) -> Tensor:
        return view

    def draw_bins(self, *arguments: Any) -> Any:
        return self.inner.draw_bins(*arguments)

    def quantize(self, *arguments: Any) -> Tensor:
        return self.inner.quantize(*arguments)


def step_loss(method: MoCo, given: tuple[Tensor, Tensor], generator: torch.Generator | None = None) -> Any:
    """The loss of one batch, and q1, q2, k1, k2."""
    seen: list[Tensor] = []
    hooks = [
        method.predictor.register_forward_hook(lambda *call: seen.append(call[2])),
        method.momentum_projector.register_forward_hook(lambda *call: seen.append(call[2])),
    ]
    inner = method.views
    method.views = Given(inner, given)  # type: ignore[assignment]
    try:
        loss, _ = method.loss(Batch((given[0],), method.encoder), generator or torch.Generator())
    finally:
        method.views = inner
        for hook in hooks:
            hook.remove()
    return loss, seen
