"""ResNets for pictures: torchvision's networks without their classifier.

With the default options, a seed gives the initial weights of `torchvision.models.resnet50()`.
Source: He et al., arXiv:1512.03385; torchvision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torchvision.models import resnet as torchvision_resnet
from torchvision.models.resnet import BasicBlock, Bottleneck

from dabs_rq.encoders.base import Encoder
from dabs_rq.encoders.embed import MEAN, STD
from dabs_rq.errors import NotServedError
from dabs_rq.spec import Grid, Input

STEM_WIDTH = 64  # of the published networks


@dataclass(frozen=True)
class Options:
    """Options of a ResNet.

    stem: "imagenet" is a 7 x 7 convolution of stride 2 and a max-pool, "small" a 3 x 3 convolution of stride 1 for
    small pictures. width: channels after the stem; the other layers follow in proportion. zero_init_residual: start
    every residual branch at 0, as MoCo-v3. crop: encode the centre square of this side of a larger input; 0 encodes the
    whole input. normalise: by ImageNet's mean and standard deviation; inputs of other than three channels are taken as
    they are.
    """

    stem: Literal["imagenet", "small"] = "imagenet"
    width: Annotated[int, Interval(ge=1, le=4096)] = STEM_WIDTH
    zero_init_residual: bool = False
    crop: Annotated[int, Interval(ge=0, le=65_536)] = 0
    normalise: bool = True


class _Network(torchvision_resnet.ResNet):
    """torchvision's ResNet of another width and stem, without classifier."""

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: list[int], channels: int, options: Options):
        self.stem_width = options.width  # read while the base class builds the layers
        super().__init__(block, layers, zero_init_residual=options.zero_init_residual)
        self.fc = nn.Identity()
        small = options.stem == "small"
        if small or channels != 3 or options.width != STEM_WIDTH:
            size, stride = (3, 1) if small else (7, 2)
            self.conv1 = nn.Conv2d(channels, options.width, size, stride, padding=size // 2, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.bn1 = nn.BatchNorm2d(options.width)
        if small:
            self.maxpool = nn.Identity()

    def _make_layer(self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        if planes == STEM_WIDTH:
            self.inplanes = self.stem_width
        return super()._make_layer(block, planes * self.stem_width // STEM_WIDTH, blocks, stride, dilate)


class ResNet(Encoder):
    """A ResNet; a feature is the mean of the last layer over all positions.

    block, layers: the kind of block, and their number at each of the four resolutions.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, inputs: tuple[Input, ...], block: type[BasicBlock | Bottleneck], layers: list[int], options: Options
    ) -> None:
        super().__init__()
        if len(inputs) != 1 or not isinstance(inputs[0], Grid):
            raise NotServedError(
                f"a ResNet takes one picture; the domain's inputs are {', '.join(map(repr, inputs))}. Choose a domain "
                "of pictures, or encoder=transformer"
            )
        self.inputs, self.options = inputs, options
        channels = inputs[0].channels
        self.normalises = options.normalise and channels == len(MEAN)
        self.network = _Network(block, layers, channels, options)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).reshape(3, 1, 1), persistent=False)
        self._width = 8 * options.width * block.expansion
        self._described = f"ResNet of {block.__name__}, {layers}"

    @property
    def width(self) -> int:
        return self._width

    @property
    def architecture(self) -> dict[str, Any]:
        return {
            "network": self._described,
            "stem": self.options.stem,
            "crop": self.options.crop,
            "normalise": self.normalises,
        }

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        (x,) = inputs
        x = centre(x, self.options.crop)
        return self.network((x - self.mean) / self.std if self.normalises else x)

    def compile_parts(self) -> None:
        self.network.compile()


def centre(images: Tensor, side: int) -> Tensor:
    """Return the centre square of side `side` of images (B, C, H, W), as torchvision's CenterCrop; images with a side
    below it, and all images for a side of 0, are returned unchanged."""
    height, width = images.shape[2:]
    if not side or min(height, width) < side:
        return images
    top, left = round((height - side) / 2), round((width - side) / 2)
    return images[:, :, top : top + side, left : left + side]
