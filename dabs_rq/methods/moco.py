"""MoCo-v3 on pictures, with randomized quantization among its views: the paper's first two ImageNet experiments.

Two views pass through the encoder, a projector and a predictor (queries); a momentum encoder and projector give the
keys. Every query must find the key of the other view among those of the whole batch.
Source: Chen et al., arXiv:2104.02057 and its code; Wu et al., arXiv:2212.08663.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders.base import Encoder
from dabs_rq.methods.base import Batch, Budget, Method, MethodSpec, number
from dabs_rq.methods.lars import LARS, groups
from dabs_rq.methods.losses import Temperature
from dabs_rq.methods.pictures import PictureOptions, Views, check, check_batch, scaled_rate, whole_crops
from dabs_rq.methods.views import recipes
from dabs_rq.quantize import Draws
from dabs_rq.spec import Input

Size = Annotated[int, Interval(ge=1, le=65_536)]


@dataclass(frozen=True)
class Options(PictureOptions):
    """Options of MoCo-v3, beside those of views and quantizer (`dabs_rq.methods.pictures`).

    draws: quantize in the "batch", anew for each of the four passes, or once per "view", so that query and key see the
    same. hidden, dimension: widths of projector and predictor. temperature: of the similarities. momentum: of the
    momentum encoder at the start; it rises to 1 along half a cosine unless momentum_schedule is constant. warmup: share
    of the steps in which the rate rises from 0. trust: of LARS.
    """

    rq: Literal["none", "channel", "instance"] = "channel"
    draws: Literal["batch", "view"] = "batch"
    hidden: Size = 4096
    dimension: Size = 256
    temperature: Temperature = number(1.0, 0.2, 1.0)
    momentum: Annotated[float, Interval(ge=0, le=1)] = number(0.99, 0.99, 0.996)
    momentum_schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    trust: Annotated[float, Interval(gt=0, le=1)] = 0.001


def rate(step: int, steps: int, warmup: float) -> float:
    """The learning rate of a step, counted from 0, as a share of the highest: a linear rise, then half a cosine."""
    rising = warmup * steps
    if step < rising:
        return step / rising
    return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


def momentum_at(step: int, steps: int, start: float) -> float:
    """The momentum of a step, counted from 0: from `start` to 1 along half a cosine."""
    return 1 - (1 - start) * (1 + math.cos(math.pi * step / steps)) / 2


def contrastive(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross entropy of finding key i for query i among all keys, times 2 T: (N, P), (N, P) -> scalar, in float32."""
    kind = queries.device.type
    mixed = torch.amp.is_autocast_available(kind)  # not on tensors without data
    with torch.autocast(kind, enabled=False) if mixed else contextlib.nullcontext():
        logits = F.normalize(queries.float(), dim=1) @ F.normalize(keys.float(), dim=1).T / temperature
        labels = torch.arange(len(queries), device=queries.device)
        return F.cross_entropy(logits, labels) * 2 * temperature


def layers(width: int, hidden: int, out: int, *, last_norm: bool) -> nn.Sequential:
    """Two linear layers without biases, batch norm and ReLU between. last_norm: a batch norm without weights at the
    end."""
    last = [nn.BatchNorm1d(out, affine=False)] if last_norm else []
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, out, bias=False),
        *last,
    )


class Drawn(NamedTuple):
    """The random numbers of a batch: of each of its two views, and of the bins of both, which are those of the queries
    and, unless both get the same, those of the keys."""

    views: list[Tensor]
    bins: list[Draws | None]


class MoCo(Method):
    options: Options
    encoder: Encoder
    syncs_batch_norm = True

    def __init__(self, options: Options, encoder: Encoder, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        self.views = Views(options, check("moco", options, encoder, inputs))
        self._recipes = recipes(options.augment, options.crop_min)
        self.projector = layers(encoder.width, options.hidden, options.dimension, last_norm=True)
        self.predictor = layers(options.dimension, options.hidden, options.dimension, last_norm=False)
        self.momentum_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.momentum_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.steps, self.step, self._averaged = 1, 0, -1

    def begin(self, budget: Budget, step: int, targets: Any) -> None:
        self.steps, self.step, self._averaged = budget.steps, step, step - 1

    def after_step(self, step: int) -> None:
        self.step = step

    def prepare(self, batch: Batch, generator: torch.Generator) -> Drawn:
        """Draw, and move the momentum encoder: its momentum is another number in every step, which a graph would take
        for a constant."""
        if self.training:
            check_batch(batch, synced=self.syncs_batch_norm)
        self._average()
        ranks, pairs = batch.ranks, self.views.pairs(batch.inputs[0], self._recipes)
        views = [self.views.draw(len(batch), recipe, generator, ranks).to(batch.device) for _, recipe in pairs]
        times = 1 if self.options.draws == "view" else 2  # queries, then keys
        bins = [self.views.draw_bins(*pair, generator, ranks) for _ in range(times) for pair in pairs]
        return Drawn(views, bins)

    def loss_of(self, batch: Batch, drawn: Drawn) -> tuple[Tensor, dict[str, Tensor]]:
        ranks, pairs = batch.ranks, self.views.pairs(batch.inputs[0], self._recipes)
        made = [self.views.make(*pair, numbers) for pair, numbers in zip(pairs, drawn.views, strict=True)]
        once = self.options.draws == "view"
        if once:
            made = [self.views.quantize(*one) for one in zip(made, drawn.bins, strict=True)]

        def passed(number: int) -> tuple[Tensor]:
            one = made[number % 2]
            return (one if once else self.views.quantize(one, drawn.bins[number]),)

        # Two passes, not one of both views: batch norm takes the statistics of one view.
        q1, q2 = (self.predictor(self.projector(self.encoder.features(passed(number)))) for number in (0, 1))
        with torch.no_grad():
            k1, k2 = (self.momentum_projector(self.momentum_encoder.features(passed(number))) for number in (2, 3))
        q1, q2, k1, k2 = ranks.gather(q1, q2, k1, k2)
        temperature = self.options.temperature
        loss = contrastive(q1, k2, temperature) + contrastive(q2, k1, temperature)
        with torch.no_grad():
            similar = F.normalize(q1.float(), dim=1) @ F.normalize(k2.float(), dim=1).T
            accuracy = (similar.argmax(1) == torch.arange(len(q1), device=q1.device)).float().mean()
        return loss, {"accuracy": accuracy}

    def momentum(self) -> float:
        """The momentum of the present step."""
        start = self.options.momentum
        if self.options.momentum_schedule == "constant":
            return start
        return momentum_at(self.step, self.steps, start)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the momentum modules' parameters towards the trained ones, once a step. Their buffers come from their
        own passes."""
        if self._averaged == self.step:
            return
        self._averaged = self.step
        momentum = self.momentum()
        for averaged, trained in (
            (self.momentum_encoder, self.encoder),
            (self.momentum_projector, self.projector),
        ):
            for kept, new in zip(averaged.parameters(), trained.parameters(), strict=True):
                kept.mul_(momentum).add_(new, alpha=1 - momentum)

    def optimizer(self, parameters: Sequence[nn.Parameter], budget: Budget) -> torch.optim.Optimizer:
        return LARS(groups(parameters, budget.weight_decay), lr=scaled_rate(budget), trust=self.options.trust)

    def schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, self.options.warmup))

    def compile_parts(self) -> None:
        super().compile_parts()
        self.momentum_encoder.compile_parts()


METHOD = MethodSpec(
    name="moco",
    title="MoCo-v3",
    order=20,
    options=Options,
    build=MoCo,
    encoder=Encoder,
    crops=partial(whole_crops, count=2),
)
