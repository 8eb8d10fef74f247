"""The spectrum of features: how many directions they use, and how much they differ from example to example."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class Spectrum(NamedTuple):
    """Measures of features (n, D).

    effective_rank: exp of the entropy of the singular values of the centred features, divided by their sum. In
        [1, min(n - 1, D)]; 0 if the features do not vary. Source: Roy and Vetterli, The effective rank, EUSIPCO 2007.
    top_share: the share of the variance along the direction of largest variance, in [0, 1]; 0 if they do not vary.
    norm: the mean length of a feature, in the units of the features.
    spread: the standard deviation of a dimension divided by its root mean square, where variances and squares are
        averaged over dimensions; in [0, 1]. It is 0 if all features are equal, and 1 if their mean is 0.
    """

    effective_rank: float
    top_share: float
    norm: float
    spread: float


def spectrum(features: np.ndarray | Tensor) -> Spectrum:
    """Measure features (n, D), computing in float64. All measures are NaN if a feature is not finite.

    Raises: ValueError unless the features have two dimensions, both at least 1.
    """
    values = np.asarray(features if isinstance(features, np.ndarray) else features.detach().cpu().double().numpy())
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"features have the shape (n, D), n and D at least 1; got {values.shape}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        return Spectrum(*[float("nan")] * 4)
    scale = float(np.abs(values).max()) or 1.0  # so that no square overflows or vanishes
    values /= scale
    centred = values - values[0]  # exactly 0 for equal features; their mean may be rounded
    centred -= centred.mean(axis=0)
    norm = scale * float(np.linalg.norm(values, axis=1).mean())
    singular = np.linalg.svd(centred, compute_uv=False)
    variance = float((singular**2).sum())
    if variance == 0:
        return Spectrum(0.0, 0.0, norm, 0.0)
    shares = singular[singular > 0] / singular.sum()
    return Spectrum(
        effective_rank=float(np.exp(-(shares * np.log(shares)).sum())),
        top_share=float(singular[0] ** 2 / variance),
        norm=norm,
        spread=min(1.0, float(np.sqrt(variance / (values**2).sum()))),
    )
