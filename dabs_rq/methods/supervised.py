"""A classifier trained on labelled pictures, with randomized quantization among its augmentations: the paper's third
ImageNet experiment.

Source: torchvision's references/classification, the recipe of its first weights; Wu et al., arXiv:2212.08663.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders.base import Encoder
from dabs_rq.errors import DataError
from dabs_rq.methods.base import Batch, Budget, Method, MethodSpec
from dabs_rq.methods.pictures import PictureOptions, Share, Views, check, check_batch, scaled_rate, whole_crops
from dabs_rq.methods.views import recipes
from dabs_rq.quantize import Draws
from dabs_rq.spec import Input

PARTS, FACTOR = 3, 0.1  # the rate falls by this factor after each third of the steps (30 of 90 epochs)


@dataclass(frozen=True)
class Options(PictureOptions):
    """Options of supervised training, beside those of views and quantizer (`dabs_rq.methods.pictures`).

    classes: of the pretraining source's labels.
    """

    augment: Literal["none", "crop", "crop_flip", "full"] = "crop_flip"
    crop_min: Share = 0.08
    classes: Annotated[int, Interval(ge=2, le=1_000_000)] = 1000


class Supervised(Method):
    options: Options
    encoder: Encoder

    def __init__(self, options: Options, encoder: Encoder, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        self.views = Views(options, check("supervised", options, encoder, inputs))
        self._recipe, _ = recipes(options.augment, options.crop_min)
        self.classifier = nn.Linear(encoder.width, options.classes)

    def begin(self, budget: Budget, step: int, targets: Any) -> None:
        classes = self.options.classes
        if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu":
            found = "none" if targets is None else f"{targets.dtype} {targets.shape}"
            raise DataError(f"method 'supervised' needs one class per example of the pretraining source; found {found}")
        wrong = (targets < 0) | (targets >= classes)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"example {row} of the pretraining source has label {targets[row]}; labels are 0 to {classes - 1}. "
                "Give the number of classes: method.classes"
            )

    def prepare(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Draws | None]:
        """Draw the random numbers of the view and of its bins."""
        if self.training:
            check_batch(batch, synced=self.syncs_batch_norm)
        ranks, ((images, recipe),) = batch.ranks, self.views.pairs(batch.inputs[0], (self._recipe,))
        drawn = self.views.draw(len(batch), recipe, generator, ranks).to(batch.device)
        return drawn, self.views.draw_bins(images, recipe, generator, ranks)

    def loss_of(self, batch: Batch, drawn: tuple[Tensor, Draws | None]) -> tuple[Tensor, dict[str, Tensor]]:
        targets, ((images, recipe),) = batch.targets, self.views.pairs(batch.inputs[0], (self._recipe,))
        assert targets is not None
        made = self.views.make(images, recipe, drawn[0])
        features = self.encoder.features((self.views.quantize(made, drawn[1]),))
        outputs, classes = self.classifier(features), targets.long()
        return F.cross_entropy(outputs, classes), {"accuracy": (outputs.detach().argmax(1) == classes).float().mean()}

    def optimizer(self, parameters: Sequence[nn.Parameter], budget: Budget) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=scaled_rate(budget), momentum=0.9, weight_decay=budget.weight_decay)

    def schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: FACTOR ** (PARTS * step // steps))


METHOD = MethodSpec(
    name="supervised",
    title="Supervised",
    order=21,
    options=Options,
    build=Supervised,
    encoder=Encoder,
    reads_targets=True,
    crops=partial(whole_crops, count=1),
)
