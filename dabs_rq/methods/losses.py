"""Contrastive losses on projections."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def similarities(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Cosine similarity of every row of `a` (B, P) with every row of `b` (B, P), over the temperature: (B, B)."""
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature


def info_nce(a: Tensor, b: Tensor, temperature: float = 0.2) -> tuple[Tensor, Tensor]:
    """Symmetric InfoNCE of two views: row i of `a` (B, P) is to find row i of `b` (B, P) among all rows of `b`, and
    the other way round; negatives come from the other view only.

    Returns the loss and the accuracy of finding. Source: van den Oord et al., arXiv:1807.03748.
    """
    logits = similarities(a, b, temperature)
    own = torch.arange(len(a), device=a.device)
    loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    return loss, (logits.argmax(1) == own).float().mean()
