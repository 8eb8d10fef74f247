"""ResNet-18, see `dabs_rq.encoders.resnet`: features of 512 numbers."""

from __future__ import annotations

from torchvision.models.resnet import BasicBlock

from dabs_rq.encoders.base import EncoderSpec
from dabs_rq.encoders.resnet import Options, ResNet
from dabs_rq.spec import Input


def build(options: Options, inputs: tuple[Input, ...], mask_padding: bool) -> ResNet:
    return ResNet(inputs, BasicBlock, [2, 2, 2, 2], options)


ENCODER = EncoderSpec(name="resnet18", title="ResNet-18", options=Options, build=build)
