"""e-Mix: mixes the token embeddings of pairs of examples; each mixture has to match both examples, in proportion.

Source: Tamkin et al., DABS, arXiv:2111.12062, after i-Mix (Lee et al., arXiv:2010.08887).
Differs from DABS's code: each example's losses are weighted by its own mixing coefficient; a broadcasting error in DABS
averages the coefficients over the batch (weighting="batch_mean").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from dabs_rq.encoders.base import TokenEncoder
from dabs_rq.methods.base import Batch, Method, MethodSpec, choice, number, projections
from dabs_rq.methods.losses import Temperature, similarities
from dabs_rq.protocol import Protocol, option

Weighting = Literal["per_example", "batch_mean"]
WEIGHTINGS = get_args(Weighting)


@dataclass(frozen=True, kw_only=True)
class EMixProtocol(Protocol):
    # Average the mixing coefficients over the batch, a broadcasting error, or use one per example.
    emix_weighting: Weighting = option(
        "pretraining", published="batch_mean", corrected="per_example", methods=("emix",)
    )


@dataclass(frozen=True)
class Options:
    """Options of e-Mix.

    weighting: how to weight the two losses of a mixture, see `emix_loss`. frozen_embeddings: do not train the embedding
    modules, as a control for methods that do not. temperature: divides the similarities. views_together: encode mixed
    and plain tokens in one call, see rq.
    """

    weighting: Weighting = choice("per_example", protocol="emix_weighting")
    frozen_embeddings: bool = False
    temperature: Temperature = number(0.2, 0.1, 0.2, 0.5)
    views_together: bool = True


def emix_loss(
    z_mix: Tensor,
    z: Tensor,
    mix_coeff: Tensor,
    partner: Tensor,
    temperature: float = 0.2,
    weighting: str = "per_example",
) -> Tensor:
    """Compute the cross entropy of each mixture with respect to its own example and its partner.

    Shape: z_mix, z (B, P): projections of mixed and plain examples; mix_coeff (B,), or any shape that flattens to (B,)
        or to one number: the share of the own example, in [0.5, 1]; partner (B,) int: the index of the example that
        example i was mixed with.
    weighting: "per_example" weights each example's losses by its own coefficient, "batch_mean" by the batch's mean.
    Raises: ValueError for an unknown weighting.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting is one of {', '.join(WEIGHTINGS)}; got {weighting!r}")
    similarity = similarities(z_mix, z, temperature)
    own_loss = F.cross_entropy(similarity, torch.arange(len(z), device=z.device), reduction="none")
    partner_loss = F.cross_entropy(similarity, partner, reduction="none")
    share = mix_coeff.flatten() if weighting == "per_example" else mix_coeff.mean()
    return (share * own_loss + (1 - share) * partner_loss).mean()


class EMix(Method):
    options: Options
    encoder: TokenEncoder

    @property
    def trains_embeddings(self) -> bool:
        return not self.options.frozen_embeddings

    def prepare(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the share and the partner of each example: u (B,) in [0, 1), partner (B,) int64."""
        ranks, device = batch.ranks, batch.device
        u = ranks.rand(len(batch), generator).to(device)
        return u, ranks.permutation(len(batch), generator).to(device)  # both examples are on the same rank

    def loss_of(self, batch: Batch, drawn: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = batch.tokens.detach() if self.options.frozen_embeddings else batch.tokens
        ranks, (u, partner) = batch.ranks, drawn
        mix_coeff = torch.maximum(u, 1 - u)  # max(l, 1 - l) for l ~ Beta(1, 1)

        share = mix_coeff[:, None, None]
        mixed = share * tokens + (1 - share) * tokens.detach()[partner]
        mask = batch.mask
        mixed_mask = None if mask is None else mask | mask[partner]
        views, masks = (mixed, tokens), (mixed_mask, mask)
        z_mix, z = projections(self.encoder, views, masks, self.options.views_together)
        z_mix, z, mix_coeff, partner = ranks.gather(z_mix, z, mix_coeff, partner + ranks.first_row(len(batch)))
        loss = emix_loss(z_mix, z, mix_coeff, partner, self.options.temperature, self.options.weighting)
        own_index = torch.arange(len(z), device=z.device)
        with torch.no_grad():
            accuracy = (similarities(z_mix, z, 1.0).argmax(1) == own_index).float().mean()
        return loss, {"accuracy": accuracy}


METHOD = MethodSpec(
    name="emix",
    title="e-Mix",
    order=1,
    options=Options,
    build=EMix,
    protocol=EMixProtocol,
)
