"""What methods on pictures share: options of views and of the quantizer, and how both are applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from dabs_rq.encoders.base import Encoder, TokenEncoder
from dabs_rq.errors import OptionError
from dabs_rq.methods.base import Batch, Budget, number
from dabs_rq.methods.views import Recipe, view
from dabs_rq.quantize import randomized_quantization
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Grid, Input

Share = Annotated[float, Interval(gt=0, le=1)]
SCALED_TO = 256  # pretrain.lr is the rate of a batch of this size


@dataclass(frozen=True)
class PictureOptions:
    """Options of views and quantizer.

    augment: none, a random resized crop, crop and flip, or MoCo-v3's full augmentation. crop_min: the smallest share of
    the area that a crop has. view_size: side of a view in pixels; 0: of the input. rq: quantize no view, each channel,
    or the whole picture (instance) with its own bins. bins: of the quantizer. p, p_per: probability of quantizing a
    picture or, as the reference's transform, a channel. place: quantize "before" or "after" the normalisation by
    ImageNet's mean and standard deviation, which changes the range of a whole picture.
    """

    augment: Literal["none", "crop", "crop_flip", "full"] = "crop"
    crop_min: Share = 0.2
    view_size: Annotated[int, Interval(ge=0, le=65_536)] = 0
    rq: Literal["none", "channel", "instance"] = "none"
    bins: Annotated[int, Interval(ge=2, le=65_536)] = number(8, 2, 4, 8, 16)
    p: Annotated[float, Interval(ge=0, le=1)] = number(1.0, 0.5, 1.0)
    p_per: Literal["picture", "channel"] = "picture"
    place: Literal["before", "after"] = "after"


def scaled_rate(budget: Budget) -> float:
    """Return the learning rate for the batch of all devices, in proportion to its size."""
    return budget.lr * (budget.batch_size or SCALED_TO) / SCALED_TO


def check(name: str, options: PictureOptions, encoder: Encoder, inputs: tuple[Input, ...]) -> Grid:
    """Return the one picture that the method takes. Raises OptionError for other inputs, for an encoder whose
    projection would not be trained, and for options that exclude each other."""
    if len(inputs) != 1 or not isinstance(inputs[0], Grid):
        raise OptionError(
            f"method {name!r} takes one picture; the domain's inputs are {', '.join(map(repr, inputs))}. Choose a "
            "domain of pictures"
        )
    if isinstance(encoder, TokenEncoder):
        raise OptionError(
            f"method {name!r} trains features, which leaves the projection of {type(encoder).__name__} untrained: "
            "choose an encoder without tokens, such as encoder=resnet18"
        )
    if options.augment == "full" and inputs[0].channels != 3:
        raise OptionError(f"method.augment=full changes colours; the input has {inputs[0].channels} channels, not 3")
    if options.rq == "instance" and options.p_per == "channel":
        raise OptionError(
            "method.rq=instance has one quantizer for all channels of a picture: give method.p_per=picture, not channel"
        )
    return inputs[0]


def check_batch(batch: Batch, *, synced: bool) -> None:
    """Raise OptionError unless batch norm in train mode has several examples. synced: it sees those of all GPUs."""
    count = batch.ranks.count
    if len(batch) * (count if synced and batch.inputs[0].is_cuda else 1) < 2:
        raise OptionError(
            f"batch norm needs at least 2 examples at a time; each of {count} devices has {len(batch)} of a batch of "
            f"{len(batch) * count}. Raise pretrain.batch_size"
        )


@dataclass(frozen=True)
class Views:
    """Makes and quantizes views of batches of pictures."""

    options: PictureOptions
    picture: Grid

    def make(self, images: Tensor, recipe: Recipe, generator: torch.Generator, ranks: Ranks) -> Tensor:
        """Make a view of each picture: (B, C, H, W) in [0, 1] -> (B, C, size, size)."""

        def draw(count: int) -> Tensor:
            return torch.stack([ranks.rand(len(images), generator) for _ in range(count)]).to(images.device)

        return view(images, recipe, self.options.view_size or self.picture.height, draw)

    def quantize(self, images: Tensor, generator: torch.Generator, ranks: Ranks) -> Tensor:
        """Quantize each picture with bins of its own, as `method.rq` says: (B, C, H, W) -> the same."""
        options = self.options
        if options.rq == "none":
            return images
        mean, std = self._statistics(images)
        x = (images - mean) / std
        if options.p_per == "channel":
            x = x.flatten(0, 1).unsqueeze(1)
        how: dict[str, Any] = {"granularity": options.rq, "p": options.p, "gradient": "detach"}
        x = randomized_quantization(x, options.bins, generator=generator, part=(ranks.rank, ranks.count), **how)
        return x.reshape(images.shape) * std + mean

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and standard deviation to normalise by before quantizing; encoders take pictures in [0, 1], so this
        is undone afterwards."""
        from dabs_rq.encoders.resnet import MEAN, STD  # here: torchvision takes seconds to import

        if self.options.place == "before" or images.shape[1] != len(MEAN):
            return images.new_zeros(()), images.new_ones(())
        shape = (len(MEAN), 1, 1)
        return images.new_tensor(MEAN).reshape(shape), images.new_tensor(STD).reshape(shape)
