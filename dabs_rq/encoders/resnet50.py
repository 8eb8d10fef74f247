"""ResNet-50, see `dabs_rq.encoders.resnet`: features of 2048 numbers."""

from __future__ import annotations

from torchvision.models.resnet import Bottleneck

from dabs_rq.encoders.base import EncoderSpec
from dabs_rq.encoders.resnet import Options, ResNet
from dabs_rq.spec import Input


def build(options: Options, inputs: tuple[Input, ...], mask_padding: bool) -> ResNet:
    return ResNet(inputs, Bottleneck, [3, 4, 6, 3], options)


ENCODER = EncoderSpec(name="resnet50", title="ResNet-50", options=Options, build=build)
