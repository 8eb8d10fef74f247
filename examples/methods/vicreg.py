"""VICReg on dropped tokens: two views of an example, each without some of its tokens, get equal projections, which may
neither collapse to a point nor repeat one another's dimensions.

Source: Bardes, Ponce and LeCun, VICReg, ICLR 2022, arXiv:2105.04906. There, views are augmented images; dropping tokens
takes the place of these augmentations, since it needs no knowledge of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from dabs_rq.encoders.transformer import Transformer
from dabs_rq.methods.base import Batch, Method, MethodSpec, number
from dabs_rq.spec import Input

Weight = Annotated[float, Interval(ge=0, le=1000)]


@dataclass(frozen=True)
class Options:
    """drop: the share of real tokens that a view leaves out. invariance, variance, covariance: weights of the three
    terms, as in the paper. expander_width: dimension of the projections."""

    drop: Annotated[float, Interval(gt=0, lt=1)] = number(0.25, 0.25, 0.5, 0.75)
    invariance: Weight = 25.0
    variance: Weight = 25.0
    covariance: Weight = 1.0
    expander_width: Annotated[int, Interval(ge=2, le=65_536)] = 256


def remaining(u: Tensor, drop: float, mask: Tensor | None = None) -> Tensor:
    """Return the mask of a view, bool (B, S): the real tokens without those that the view drops.

    Shape: u (B, S), uniform draws in [0, 1): the real tokens with the largest draws remain, their share rounded up;
        mask bool (B, S), True = real token, None if all are real.
    """
    real = torch.ones_like(u, dtype=torch.bool) if mask is None else mask
    counts = (real.sum(1, keepdim=True) * (1 - drop)).ceil()
    order = u.masked_fill(~real, -1.0).argsort(dim=1, descending=True, stable=True)
    first = torch.arange(u.shape[1], device=u.device) < counts
    return torch.zeros_like(real).scatter_(1, order, first)


def vicreg_loss(a: Tensor, b: Tensor, options: Options) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute equation 6 of the paper for the projections a and b (B, P) of two views; return it and its terms."""
    invariance = F.mse_loss(a, b)
    variance = sum(F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (a, b))
    covariance = sum((z.T.cov().square().sum() - z.var(0).square().sum()) / z.shape[1] for z in (a, b))
    loss = options.invariance * invariance + options.variance * variance + options.covariance * covariance
    terms = {"invariance": invariance, "variance": variance, "covariance": covariance}
    return loss, {name: term.detach() for name, term in terms.items()}


class VICReg(Method):
    options: Options

    def __init__(self, options: Options, encoder: Transformer, inputs: tuple[Input, ...]) -> None:
        super().__init__(options, encoder, inputs)
        width = options.expander_width
        self.expander = nn.Sequential(nn.Linear(encoder.width, width), nn.ReLU(), nn.Linear(width, width))
        encoder.head.requires_grad_(False)  # the expander takes the place of the projection head

    def prepare(self, batch: Batch, generator: torch.Generator) -> list[Tensor]:
        rows, sequence = len(batch), sum(spec.sequence_length for spec in self.inputs)
        drawn = [batch.ranks.rand(rows * sequence, generator).view(rows, sequence) for _ in range(2)]
        return [u.to(batch.device) for u in drawn]

    def loss_of(self, batch: Batch, drawn: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        views = []
        for u in drawn:
            view = self.encoder.encode(batch.tokens, remaining(u, self.options.drop, batch.mask))
            views.append(self.expander(view.pooled))
        return vicreg_loss(*batch.ranks.gather(*views), self.options)


METHOD = MethodSpec(name="vicreg", title="VICReg", options=Options, build=VICReg, encoder=Transformer)
