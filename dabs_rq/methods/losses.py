"""Contrastive losses on projections."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def similarities(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Compute the cosine similarity of every row of `a` (B, P) with every row of `b` (B, P), divided by `temperature`.

    Shape: -> (B, B).
    """
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
