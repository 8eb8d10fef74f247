"""A method and an encoder as somebody else would write them, for a folder that DABS_RQ_PATH names."""

from __future__ import annotations

from pathlib import Path

COSINE = '''
"""e-Mix with AdamW of its own, a cosine schedule, noise on its inputs, and a slowly following copy of a weight."""
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt

from dabs_rq.methods import emix
from dabs_rq.methods.base import MethodSpec, choice, number


@dataclass(frozen=True)
class Options(emix.Options):
    beta: Annotated[float, Gt(0)] = number(0.5, 0.5, 0.9)
    noise: Literal["none", "normal"] = choice("none")


class Cosine(emix.EMix):
    def __init__(self, options, encoder, inputs):
        super().__init__(options, encoder, inputs)
        self.register_buffer("steps", torch.zeros(64, dtype=torch.long))
        self.register_buffer("follower", encoder.head[1].weight.detach().clone())

    def augment(self, inputs, generator):
        if self.options.noise == "none":
            return inputs
        return tuple(x + torch.randn(x.shape, generator=generator, device=x.device) for x in inputs)

    def optimizer(self, parameters, budget):
        return torch.optim.AdamW(parameters, lr=10 * budget.lr, betas=(self.options.beta, 0.99), weight_decay=0.0)

    def schedule(self, optimizer, steps):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def after_step(self, step):
        self.steps[step - 1] += step
        self.follower.lerp_(self.encoder.head[1].weight.detach(), 0.1)


METHOD = MethodSpec(
    name="cosine", title="Cosine", options=Options, build=Cosine, order=7, note="A test.", protocol=emix.EMixProtocol
)
'''

CONVOLUTIONAL = '''
"""Convolutions over a series or a picture, the mean over places, batch normalisation."""
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn

from dabs_rq.encoders.base import Encoder, EncoderSpec
from dabs_rq.spec import Series


@dataclass(frozen=True)
class Options:
    channels: Annotated[int, Ge(1)] = 8
    scale: float = 1.0


class Convolutional(Encoder):
    def __init__(self, inputs, channels, scale):
        super().__init__()
        self.inputs, self.scale = tuple(inputs), scale
        (spec,) = self.inputs
        self.series = isinstance(spec, Series)
        self.convolution = (
            nn.Conv1d(spec.channels, channels, 5) if self.series else nn.Conv2d(spec.channels, channels, 3)
        )
        self.norm = nn.BatchNorm1d(channels)

    @property
    def width(self):
        return self.norm.num_features

    @property
    def architecture(self):
        return {"network": "convolution", "scale": self.scale}

    def features(self, inputs):
        (x,) = inputs
        x = self.convolution(x.transpose(1, 2) if self.series else x).relu().flatten(2)
        return self.norm(self.scale * x.mean(2))


def build(options, inputs, mask_padding):
    return Convolutional(inputs, options.channels, options.scale)


ENCODER = EncoderSpec(name="convolutional", title="Convolutions", options=Options, build=build)
'''

TOLD = '''
"""Tells whether the mean of an example's target is above a half, with any encoder."""
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from dabs_rq.encoders.base import Encoder
from dabs_rq.methods.base import Method, MethodSpec


@dataclass(frozen=True)
class Options:
    pass


class Told(Method):
    def __init__(self, options, encoder, inputs):
        super().__init__(options, encoder, inputs)
        self.predictor = nn.Linear(encoder.width, 1)

    def loss(self, batch, generator):
        features = self.encoder.features(batch.inputs)
        return F.mse_loss(self.predictor(features)[:, 0], batch.targets.float()), {}


METHOD = MethodSpec(
    name="told", title="Told", options=Options, build=Told, encoder=Encoder, reads_targets=True
)
'''


def write(folder: Path) -> Path:
    """Write the plug-ins below `folder` and return it; DABS_RQ_PATH may name it."""
    for name, text in (
        ("methods/cosine", COSINE),
        ("methods/told", TOLD),
        ("encoders/convolutional", CONVOLUTIONAL),
    ):
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder
