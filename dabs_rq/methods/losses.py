"""Contrastive losses on projections."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional as F


def _not_tiny(temperature: float) -> float:
    if temperature < 1e-6:
        raise ValueError("at least 1e-6, or similarities become infinite")
    return temperature


Temperature = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), AfterValidator(_not_tiny)]


def similarities(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Compute the cosine similarity of every row of `a` (B, P) with every row of `b` (B, P), divided by `temperature`.

    Shape: -> (B, B). Raises ValueError unless the temperature is above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is above 0; got {temperature!r}")
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature


def info_nce(a: Tensor, b: Tensor, temperature: float = 0.2) -> tuple[Tensor, Tensor]:
    """Compute the symmetric InfoNCE of two views: row i of `a` (B, P) must identify row i of `b` (B, P) among all rows
    of `b`, and vice versa; negatives come from the other view only.

    Returns the loss and the accuracy of that identification (from `a` to `b`).
    Source: van den Oord et al., arXiv:1807.03748.
    """
    similarity = similarities(a, b, temperature)
    own_index = torch.arange(len(a), device=a.device)
    loss = (F.cross_entropy(similarity, own_index) + F.cross_entropy(similarity.T, own_index)) / 2
    return loss, (similarity.argmax(1) == own_index).float().mean()
