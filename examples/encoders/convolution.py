"""A small convolutional encoder for domains with a single picture, spectrogram or series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval
from torch import Tensor, nn

from dabs_rq.encoders.base import Encoder, EncoderSpec
from dabs_rq.errors import OptionError
from dabs_rq.spec import Grid, Input, Series


@dataclass(frozen=True)
class Options:
    """channels: of the first layer; the second layer, and the feature, are twice as wide."""

    channels: Annotated[int, Interval(ge=1, le=4096)] = 32


class Convolution(Encoder):
    def __init__(self, spec: Grid | Series, channels: int) -> None:
        super().__init__()
        self.inputs = (spec,)
        convolution = nn.Conv2d if isinstance(spec, Grid) else nn.Conv1d
        self.layers = nn.Sequential(
            convolution(spec.channels, channels, 5, stride=2, padding=2), nn.ReLU(),
            convolution(channels, 2 * channels, 5, stride=2, padding=2), nn.ReLU(),
        )  # fmt: skip
        self.norm = nn.LayerNorm(2 * channels)

    @property
    def width(self) -> int:
        return self.norm.normalized_shape[0]

    @property
    def architecture(self) -> dict[str, Any]:
        return {"network": "convolution", "pool": "mean"}

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        (x,) = inputs
        if isinstance(self.inputs[0], Series):
            x = x.transpose(1, 2)  # (B, length, channels) to (B, channels, length)
        return self.norm(self.layers(x).flatten(2).mean(2))


def build(options: Options, inputs: tuple[Input, ...], mask_padding: bool) -> Convolution:
    if len(inputs) != 1 or not isinstance(inputs[0], Grid | Series):
        raise OptionError("encoder=convolution needs a single input, a Grid or a Series; choose encoder=transformer")
    return Convolution(inputs[0], options.channels)


ENCODER = EncoderSpec(name="convolution", title="Convolution", options=Options, build=build)
