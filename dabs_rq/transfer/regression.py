"""The linear probe by regularised regression, with a strength selected on held-out examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dabs_rq.errors import TrainingError
from dabs_rq.metrics.base import Undefined
from dabs_rq.records.metrics import score
from dabs_rq.run.options import TransferOptions
from dabs_rq.spec import Binary, Multilabel, Regression, Target
from dabs_rq.transfer.convex import ROUGH, TOLERANCE, minimise
from dabs_rq.transfer.fitted import Fitted, probe_loss
from dabs_rq.transfer.holdout import hold_out
from dabs_rq.transfer.standardise import Standardiser

LARGE = 10**9  # above this many multiplications per pass: single precision, and on the device
WHOLE_GRID = 3 * 10**6  # up to this many, all strengths are tried
# The grid goes on to these bounds where its best strength is at an end. Below, even a million examples leave
# standardised features no say (a total weight of 0.01); above, a penalty is less than the tolerance of the fits.
WIDEST = {torch.float64: (1e-8, 1e8), torch.float32: (1e-8, 1e4)}
WIDENS_BY = 10.0  # at least; else by the ratio of the two strengths at that end
BLOCK = 2**17  # rows standardised at a time
_RANK = 1e-10  # directions with a smaller part of the largest variance are rounding
_DIGITS = 6  # to which held-out scores and losses count as equal


def fit_regression(
    features: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray | None,
    target: Target,
    metric: str,
    options: TransferOptions,
    seed: int,
    device: torch.device | None = None,
) -> Fitted:
    """Fit logistic regression (ridge regression for a Regression target) on standardised features.

    Selects from `options.strengths` the one with the best score (ties: the least loss, then the least strength) on a
    held-out tenth of the training examples, see `hold_out`, then fits to all training examples. Strengths are tried in
    ascending order. A large problem (more than `WHOLE_GRID` multiplications per pass) ends the grid at a score that is
    more than 0.5 / sqrt(number of held-out examples) below the best: no accuracy has a larger standard error.
    A grid of several strengths whose best is at an end goes on from there to the bound of `WIDEST`, and selects from
    all that were tried. A best strength inside the grid stays as it is.
    device: for problems above `LARGE`. Smaller ones are solved on the CPU in double precision.
    Raises: TrainingError for an illegal grid, and for features that are not finite.
    """
    if not options.strengths or min(options.strengths) <= 0:
        raise TrainingError(f"transfer.strengths needs one or more numbers above 0; got {options.strengths}")
    if bad := int((~np.isfinite(features)).any(1).sum()):
        raise TrainingError(f"{bad} of {len(features)} training features are not finite")
    division = hold_out(targets, groups, target, seed)
    fitting, held_out = division.fitting, division.held_out
    path = _Path.of(features[fitting], targets[fitting], target, options.max_iterations, device)
    trials: list[tuple[float, float, float]] = []
    models: dict[float, _Regression] = {}

    def attempt(strength: float) -> None:
        path.solve(strength, ROUGH)
        model = models[strength] = path.model({})
        trials.append((*_quality(metric, target, model.outputs(features[held_out]), targets[held_out]), -strength))

    def passed() -> bool:
        return path.cost > WHOLE_GRID and max(trials)[0] - trials[-1][0] > 0.5 / math.sqrt(len(held_out))

    for strength in sorted(set(options.strengths)):
        attempt(strength)
        if passed():
            break
    best = -max(trials)[-1]
    path.start_from(models[best])
    for strength in _beyond(sorted(models), best, WIDEST[path.x.dtype]):
        attempt(strength)
        if passed():
            break
    value, _, strength = max(trials)
    final = _Path.of(features, targets, target, options.max_iterations, device)
    final.start_from(models[-strength])
    final.solve(-strength)
    about = {"probe": "lbfgs", "strength": -strength, "held_out": len(held_out), "held_out_score": value}
    about |= {"groups": division.groups, "cut_groups": division.cut, "tried": len(trials), **final.about}
    about["range"] = [min(models), max(models)]
    return final.model(about)


def _beyond(tried: list[float], best: float, widest: tuple[float, float]) -> list[float]:
    """Return the strengths from the end at which the best one is to its bound, outwards; none if the best is inside.

    tried: ascending. A single one was given as it is, and does not widen.
    """
    if len(tried) < 2 or best not in (tried[0], tried[-1]):
        return []
    upwards = best == tried[-1]
    step = max(tried[-1] / tried[-2], WIDENS_BY) if upwards else min(tried[0] / tried[1], 1 / WIDENS_BY)
    wider: list[float] = []
    while widest[0] <= (strength := float(f"{best * step ** (len(wider) + 1):.12g}")) <= widest[1]:
        wider.append(strength)
    return wider


def _quality(metric: str, target: Target, outputs: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Return score and negated loss, rounded so that no selection hangs on rounding."""
    try:
        value = score(metric, outputs, targets)
    except Undefined:
        value = 0.0
    as_columns, expected = torch.from_numpy(outputs.reshape(len(outputs), -1)), torch.from_numpy(targets)
    constant = torch.full_like(as_columns, float(targets.mean()) if isinstance(target, Regression) else 0.0)
    least = 10.0**-_DIGITS * float(probe_loss(target, constant, expected))  # below it, a loss is rounding
    loss = max(float(probe_loss(target, as_columns, expected)), least)
    return round(value, _DIGITS), -float(f"{loss:.{_DIGITS - 2}g}")


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Cut an array into blocks of rows, so that no copy of all of them in double precision is needed."""
    return (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))


class _Basis(NamedTuple):
    """Standardises features, then rotates them to their principal directions; both leave the problem the same.

    directions: (D, r), r the rank. In these coordinates the problem is small if there are fewer examples than features,
    and its Hessian is nearly diagonal.
    """

    standardise: Standardiser
    directions: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> _Basis:
        standardise = Standardiser.of(features)
        wide = features.shape[0] < features.shape[1]
        blocks = (standardise(block) for block in _blocks(features))
        products = [block @ block.T if wide else block.T @ block for block in blocks]  # wide: few examples, one block
        variances, vectors = np.linalg.eigh(np.sum(products, axis=0))
        kept = variances > _RANK * max(variances[-1], np.finfo(float).tiny)
        vectors = vectors[:, kept]
        return cls(standardise, standardise(features).T @ (vectors / np.sqrt(variances[kept])) if wide else vectors)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Compute coordinates (n, r + 1), the last one 1."""
        coordinates = np.ones((len(features), self.directions.shape[1] + 1))
        for block, place in zip(_blocks(features), _blocks(coordinates), strict=True):
            place[:, :-1] = self.standardise(block) @ self.directions
        return coordinates

    def translate(self, weights: np.ndarray, basis: _Basis) -> np.ndarray:
        """Return the weights (r + 1, K) in these coordinates that come closest to `weights` in those of `basis`."""
        of_features = basis.directions @ weights[:-1] / basis.standardise.scale[:, None]
        scale = self.standardise.scale
        rotated = self.directions.T @ (of_features * np.where(np.isinf(scale), 0.0, scale)[:, None])
        shift = (self.standardise.mean - basis.standardise.mean) @ of_features
        return np.concatenate([rotated, weights[-1:] + shift])


@dataclass
class _Path:
    """Solutions for one training split, each started from the one before it."""

    basis: _Basis
    x: Tensor
    targets: np.ndarray
    target: Target
    classes: np.ndarray  # of the weights' columns: the classes, or the labels that vary
    y: Tensor  # (n,) classes for the softmax loss, else (n, K)
    most_passes: int
    weights: Tensor | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, features: np.ndarray, targets: np.ndarray, target: Target, most_passes: int, device: torch.device | None
    ) -> _Path:
        basis = _Basis.of(features)
        classes, y = _columns(targets, target)
        path = cls(basis, torch.from_numpy(basis(features)), targets, target, classes, torch.from_numpy(y), most_passes)
        if path.cost > LARGE and not isinstance(target, Regression):
            path.x = path.x.to(device, torch.float32)
            path.y = path.y.to(device, None if y.ndim == 1 else torch.float32)
        return path

    @property
    def columns(self) -> int:
        return len(self.classes) if self.y.ndim == 1 else self.y.shape[1]

    @property
    def cost(self) -> int:
        """Multiplications of one pass over the examples."""
        return self.x.numel() * self.columns

    def start_from(self, model: _Regression) -> None:
        if np.array_equal(model.classes, self.classes):
            self.weights = torch.from_numpy(self.basis.translate(model.weights, model.basis)).to(self.x)

    def solve(self, strength: float, tolerances: Mapping[torch.dtype, float] = TOLERANCE) -> None:
        if isinstance(self.target, Regression):
            self.weights = _ridge(self.x, self.y, strength)
            return
        solution = minimise(self.x, self.y, self.columns, strength, self.weights, self.most_passes, tolerances)
        self.weights = solution.weights
        self.about = {
            "iterations": solution.steps,
            "passes": solution.passes,
            "converged": solution.converged,
            "gradient": float(f"{solution.gradient:.2g}"),
            "tolerance": TOLERANCE[self.x.dtype],
        }

    def model(self, about: dict[str, Any]) -> _Regression:
        assert self.weights is not None
        weights = self.weights.cpu().double().numpy()
        return _Regression(self.basis, weights, self.classes, self.targets, self.target, about)


def _columns(targets: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Return which classes or labels the columns of the weights stand for, and y: see `_Path`."""
    if isinstance(target, Regression):
        return np.zeros(1, np.int64), targets.astype(np.float64).reshape(-1, 1)
    if isinstance(target, Multilabel):
        varying = np.flatnonzero(targets.min(0) != targets.max(0))
        return varying, targets[:, varying].astype(np.float64)
    classes, index = np.unique(targets, return_inverse=True)
    if len(classes) == 2:  # as scikit-learn: one column, of the second class
        return classes, index.reshape(-1, 1).astype(np.float64)
    return classes, index.astype(np.int64)


def _ridge(x: Tensor, y: Tensor, strength: float) -> Tensor:
    """Solve ridge regression with penalty 1 / strength. The features have mean 0, so the intercept is y's mean."""
    rotated, mean = x[:, :-1], y.mean(0, keepdim=True)
    gram = rotated.T @ rotated
    gram.diagonal().add_(1 / strength)
    return torch.cat([torch.linalg.solve(gram, rotated.T @ (y - mean)), mean])


@dataclass
class _Regression:
    basis: _Basis
    weights: np.ndarray
    classes: np.ndarray
    targets: np.ndarray
    target: Target
    about: dict[str, Any]

    def outputs(self, features: np.ndarray) -> np.ndarray:
        # As stored, so that stored outputs have exactly this score.
        return self._outputs(self.basis(features) @ self.weights).astype(np.float32)

    def _outputs(self, logits: np.ndarray) -> np.ndarray:
        if isinstance(self.target, Regression | Binary):
            return logits[:, 0]
        if isinstance(self.target, Multilabel):
            constant = 2.0 * self.targets[0] - 1  # of a label that does not vary
            full = np.tile(constant, (len(logits), 1))
        else:
            if len(self.classes) == 2:
                logits = np.concatenate([-logits / 2, logits / 2], axis=1)
            # Classes that are missing in the training split get an output below all others.
            full = np.full((len(logits), self.target.classes), logits.min(axis=1, keepdims=True) - 10.0)
        full[:, self.classes] = logits
        return full
