"""What methods on pictures share: options of views and of the quantizer, and how both are applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from dabs_rq.data.crops import Crops
from dabs_rq.encoders.base import Encoder, TokenEncoder
from dabs_rq.encoders.embed import MEAN, STD
from dabs_rq.errors import NotServedError, OptionError
from dabs_rq.methods.base import Batch, Budget, number
from dabs_rq.methods.views import Recipe, filled_like, numbers, pairs, view
from dabs_rq.quantize import Draws, draw, randomized_quantization
from dabs_rq.ranks import Ranks
from dabs_rq.spec import Grid, Input

Share = Annotated[float, Interval(gt=0, le=1)]
SCALED_TO = 256  # pretrain.lr is the rate of a batch of this size


@dataclass(frozen=True)
class PictureOptions:
    """Options of views and quantizer.

    augment: none, a random resized crop, crop and flip, or MoCo-v3's full augmentation. crops: random crops are of the
    input, or of the whole picture where the input is a part of it (in imagenet, the centre square). crop_min: the
    smallest share of the area that a crop has. view_size: side of a view in pixels; 0: of the input. rq: quantize no
    view, each channel, or the whole picture (instance) with its own bins. bins: of the quantizer. p, p_per: probability
    of quantizing a picture or, as the reference's transform, a channel. place: quantize "before" or "after" the
    normalisation by ImageNet's mean and standard deviation, which changes the range of a whole picture.
    """

    augment: Literal["none", "crop", "crop_flip", "full"] = "crop"
    crops: Literal["input", "whole"] = "input"
    crop_min: Share = 0.2
    view_size: Annotated[int, Interval(ge=0, le=65_536)] = 0
    rq: Literal["none", "channel", "instance"] = "none"
    bins: Annotated[int, Interval(ge=2, le=65_536)] = number(8, 2, 4, 8, 16)
    p: Annotated[float, Interval(ge=0, le=1)] = number(1.0, 0.5, 1.0)
    p_per: Literal["picture", "channel"] = "picture"
    place: Literal["before", "after"] = "after"

    def side(self, picture: Grid) -> int:
        """Return the side of a cropped view, in pixels."""
        return self.view_size or picture.height


def scaled_rate(budget: Budget) -> float:
    """Return the learning rate for the batch of all devices, in proportion to its size."""
    return budget.lr * (budget.batch_size or SCALED_TO) / SCALED_TO


def whole_crops(options: PictureOptions, inputs: tuple[Input, ...], count: int) -> Crops | None:
    """Return the crops of whole pictures, `count` of each, that the options ask for; None if views come from the
    inputs."""
    if options.crops == "input" or options.augment == "none" or not isinstance(inputs[0], Grid):
        return None
    return Crops(count, options.side(inputs[0]), options.crop_min)


def check(name: str, options: PictureOptions, encoder: Encoder, inputs: tuple[Input, ...]) -> Grid:
    """Return the one picture that the method takes. Raises NotServedError for other inputs and for an encoder
    whose projection would not be trained, OptionError for options that exclude each other."""
    if len(inputs) != 1 or not isinstance(inputs[0], Grid):
        raise NotServedError(
            f"method {name!r} takes one picture; the domain's inputs are {', '.join(map(repr, inputs))}. Choose a "
            "domain of pictures"
        )
    if isinstance(encoder, TokenEncoder):
        raise NotServedError(
            f"method {name!r} trains features, which leaves the projection of {type(encoder).__name__} untrained: "
            "choose an encoder without tokens, such as encoder=resnet18"
        )
    if options.augment == "full" and inputs[0].channels != 3:
        raise NotServedError(f"method.augment=full changes colours; the input has {inputs[0].channels} channels, not 3")
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
    pairs = staticmethod(pairs)

    @property
    def side(self) -> int:
        return self.options.side(self.picture)

    def draw(self, rows: int, recipe: Recipe, generator: torch.Generator, ranks: Ranks) -> Tensor:
        """Draw the random numbers of a view of each of `rows` pictures: (numbers, B)."""
        drawn = [ranks.rand(rows, generator) for _ in range(numbers(recipe))]
        return torch.stack(drawn) if drawn else torch.empty(0, rows)

    def make(self, images: Tensor, recipe: Recipe, drawn: Tensor) -> Tensor:
        """Make a view of each picture: (B, C, H, W) in [0, 1] -> (B, C, side, side); without a crop as large as
        before."""
        used = 0

        def take(count: int) -> Tensor:
            nonlocal used
            used += count
            return drawn[used - count : used]

        return view(images, recipe, self.side, take)

    def draw_bins(self, images: Tensor, recipe: Recipe, generator: torch.Generator, ranks: Ranks) -> Draws | None:
        """Draw the random numbers that quantize a view of each of `images`; None if `method.rq` quantizes none."""
        options, (rows, channels, *sides) = self.options, images.shape
        if options.rq == "none":
            return None
        sides = sides if recipe.crop is None else [self.side, self.side]
        shape = (rows * channels, 1, *sides) if options.p_per == "channel" else (rows, channels, *sides)
        how: dict[str, Any] = {"granularity": options.rq, "p": options.p, "device": images.device}
        return draw(shape, options.bins, generator=generator, part=(ranks.rank, ranks.count), **how)

    def quantize(self, images: Tensor, drawn: Draws | None) -> Tensor:
        """Quantize each picture with bins of its own, as `method.rq` says: (B, C, H, W) -> the same."""
        options = self.options
        if drawn is None:
            return images
        mean, std = self._statistics(images)
        x = (images - mean) / std
        if options.p_per == "channel":
            x = x.flatten(0, 1).unsqueeze(1)
        how: dict[str, Any] = {"granularity": options.rq, "p": options.p, "gradient": "detach"}
        x = randomized_quantization(x, options.bins, draws=drawn, **how)
        return x.reshape(images.shape) * std + mean

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and standard deviation to normalise by before quantizing; encoders take pictures in [0, 1], so this
        is undone afterwards."""
        if self.options.place == "before" or images.shape[1] != len(MEAN):
            return images.new_zeros(()), images.new_ones(())
        shape = (len(MEAN), 1, 1)
        return filled_like(images, MEAN).reshape(shape), filled_like(images, STD).reshape(shape)
