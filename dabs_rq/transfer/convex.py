"""Minimises the convex losses of logistic regression by Newton's method, to a stated tolerance.

The problem is that of scikit-learn's LogisticRegression(C=strength): C times the sum of the losses plus half the
squared norm of the weights; the intercept is not penalised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
ROUGH = {torch.float64: 1e-7, torch.float32: 1e-4}  # good enough to compare strengths
_ARMIJO, _HALVINGS = 1e-4, 40
_DIRECT = 1200  # unknowns up to which a Newton step is solved directly: ill-conditioned problems cost no more
_DIRECT_AFTER_ALL = 5000  # up to which it is, once rounding keeps conjugate gradients from a solution
_SINGLE = 0.2  # residual, as part of the gradient, up to which a direction of single precision is taken
_SINGLE_PASSES = 1000  # for one direction: those that take more do not come closer by them
_BLOCK = {"cpu": 2**20, "cuda": 2**25}  # logits computed at a time


class Solution(NamedTuple):
    """weights: (r + 1, K), the intercepts last. steps: Newton steps. passes: over all examples. gradient: the largest
    part of the gradient, relative to that at zero weights, computed in double precision."""

    weights: Tensor
    steps: int
    passes: int
    gradient: float
    converged: bool


def minimise(
    x: Tensor,
    y: Tensor,
    columns: int,
    strength: float,
    start: Tensor | None,
    most_passes: int,
    tolerances: Mapping[torch.dtype, float] = TOLERANCE,
) -> Solution:
    """Minimise the loss over the weights of one linear layer.

    x: (n, r + 1) features, the last column ones. y: (n,) classes for the softmax loss over `columns` classes; or
    (n, columns) of 0 and 1 for independent sigmoid losses. start: weights to start from. Stops once no part of the
    gradient exceeds the tolerance of x's precision, as part of the largest one at zero weights, or after `most_passes`
    over the examples.
    """
    problem = _Problem(x, y, columns, 1 / strength)
    zero = x.new_zeros(x.shape[1], columns)
    scale = float(problem.gradient(zero).abs().max())
    if scale == 0:
        return Solution(zero, 0, problem.passes, 0.0, converged=True)
    tolerance = tolerances[x.dtype]
    stop = tolerance if x.dtype == torch.float64 else tolerance / 2  # rounding is left to the check in double precision
    weights = zero if start is None else start.clone()
    loss, steps = problem.loss(weights), 0
    while True:
        gradient = problem.gradient(weights, keep=True)
        relative = float(gradient.abs().max()) / scale
        if relative <= stop or problem.passes >= most_passes:
            break
        direction = problem.newton_direction(gradient, min(0.1, relative**0.5), most_passes)
        weights, loss = problem.line_search(weights, loss, direction, gradient)
        steps += 1
    if problem.softmax:  # equal intercepts more or less change nothing
        weights[-1] -= weights[-1].mean()
    if x.dtype != torch.float64:
        relative = float(problem.gradient(weights, torch.float64).abs().max()) / scale
    return Solution(weights, steps, problem.passes, relative, converged=relative <= tolerance)


class _Problem:
    """The loss, its gradient and its curvature. Examples are taken in blocks, which bounds memory and is faster."""

    def __init__(self, x: Tensor, y: Tensor, columns: int, penalty: float) -> None:
        self.x, self.y, self.columns, self.penalty = x, y, columns, penalty
        self.softmax = y.ndim == 1
        self.rows = max(1, _BLOCK.get(x.device.type, _BLOCK["cpu"]) // columns)
        self.kept: list[Tensor] = []  # each block's probabilities at the weights of the last gradient
        self.passes = 0
        self.unknowns = x.shape[1] * (columns if self.softmax else 1)  # of one linear system
        self.direct = self.unknowns <= _DIRECT
        self.single = x.dtype == torch.float64  # passes take half the time

    @cached_property
    def single_x(self) -> Tensor:
        return self.x.float()

    def gradient(self, weights: Tensor, dtype: torch.dtype | None = None, *, keep: bool = False) -> Tensor:
        """Compute the gradient (r + 1, K), in another precision if `dtype` is given. keep: the probabilities, for
        `newton_direction`."""
        weights = weights.to(dtype)
        total = torch.zeros_like(weights)
        self.kept = []
        for x, y in self._blocks(self.y.split(self.rows)):
            features = x.to(dtype)
            logits = features @ weights
            probabilities = logits.softmax(1) if self.softmax else logits.sigmoid()
            if keep:
                self.kept.append(probabilities)
            if self.softmax:
                error = probabilities.clone()
                error[torch.arange(len(y), device=y.device), y] -= 1
            else:
                error = probabilities - y
            total += features.T @ error
        self.passes += 1
        return self._penalised(total, weights)

    def line_search(self, weights: Tensor, before: float, direction: Tensor, gradient: Tensor) -> tuple[Tensor, float]:
        """Return weights and loss after the longest step of 1, 1/2, 1/4, ... that decreases the loss enough. before:
        the loss at `weights`."""
        slope = float((direction * gradient).sum())
        length = 1.0
        for _ in range(_HALVINGS):
            moved = weights + length * direction
            # Close to the minimum the decrease is below rounding: the step is taken, the gradient decides.
            loss = self.loss(moved)
            if loss <= before + _ARMIJO * length * slope + 1e-12 * abs(before):
                break
            length /= 2
        return moved, loss

    def newton_direction(self, gradient: Tensor, tolerance: float, most_passes: int) -> Tensor:
        """Solve Hessian @ direction = -gradient at the weights of the kept probabilities; large problems until the
        residual is below `tolerance` of the gradient."""
        if not self.direct:
            if self.single:
                direction = self._single_direction(gradient, tolerance, most_passes)
                if direction is not None:
                    return direction
                self.single = False
            direction, solved = self._conjugate_gradients(gradient, self.x, self.kept, tolerance, most_passes)
            self.direct = not solved and self.unknowns <= _DIRECT_AFTER_ALL and self.passes < most_passes
            if not self.direct:
                return direction
        self.passes += 1
        probabilities = torch.cat(self.kept)
        if self.softmax:
            return self._direct(gradient, probabilities)
        columns = [self._direct(gradient[:, [k]], probabilities[:, [k]]) for k in range(self.columns)]
        return torch.cat(columns, dim=1)

    def loss(self, weights: Tensor) -> float:
        total = 0.5 * self.penalty * float(weights[:-1].square().sum(dtype=torch.float64))
        for x, y in self._blocks(self.y.split(self.rows)):
            logits = x @ weights
            if self.softmax:
                of_examples = F.cross_entropy(logits, y, reduction="none")
            else:
                of_examples = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
            total += float(of_examples.sum(dtype=torch.float64))
        self.passes += 1
        return total

    def _direct(self, gradient: Tensor, probabilities: Tensor) -> Tensor:
        size, count = gradient.shape
        hessian = gradient.new_empty(count, size, count, size)
        for first in range(count):
            for second in range(first, count):
                same = probabilities[:, first] if first == second else 0.0
                spread = same - probabilities[:, first] * probabilities[:, second]
                block = (self.x * spread[:, None]).T @ self.x
                hessian[first, :, second], hessian[second, :, first] = block, block.T
        hessian = hessian.reshape(count * size, count * size)
        diagonal = torch.arange(count * size, device=hessian.device).reshape(count, size)
        hessian[diagonal[:, :-1], diagonal[:, :-1]] += self.penalty
        # The softmax does not change if all intercepts do; a little weight on them makes the solution one.
        hessian[diagonal[:, -1], diagonal[:, -1]] += 1e-12 * float(hessian.diagonal().max())
        solution = torch.linalg.solve(hessian, -gradient.T.reshape(-1, 1))
        return solution.reshape(count, size).T

    def _single_direction(self, gradient: Tensor, tolerance: float, most_passes: int) -> Tensor | None:
        """Solve in single precision. A direction may be rough: the next gradient, in double precision, corrects it.
        Returns None if rounding keeps it from the tolerance, or leaves too much of the gradient."""
        size = gradient.norm()
        kept = [probabilities.float() for probabilities in self.kept]
        limit = min(most_passes, self.passes + _SINGLE_PASSES)
        scaled, _ = self._conjugate_gradients(
            (gradient / size).float(), self.single_x, kept, max(tolerance, 1e-4), limit
        )
        if self.passes >= limit and limit < most_passes:
            return None
        direction = scaled.to(gradient.dtype) * size
        left = self._curvature(direction, self.x, self.kept).add_(gradient).norm()
        descends = float((direction * gradient).sum()) < 0
        return direction if descends and float(left) <= _SINGLE * float(size) else None

    def _conjugate_gradients(
        self, gradient: Tensor, features: Tensor, kept: Sequence[Tensor], tolerance: float, most_passes: int
    ) -> tuple[Tensor, bool]:
        """Solve by conjugate gradients, preconditioned by the Hessian's diagonal, in the precision of the gradient, the
        features and the kept probabilities. Returns whether they came close enough within as many passes as there are
        unknowns, which are enough but for rounding."""
        diagonal = torch.zeros_like(gradient)
        for x, probabilities in zip(features.split(self.rows), kept, strict=True):
            diagonal += x.square().T @ (probabilities * (1 - probabilities))
        diagonal[:-1] += self.penalty
        diagonal = diagonal.clamp_min(1e-12 * float(diagonal.max()))
        direction, residual = torch.zeros_like(gradient), -gradient
        scaled = residual / diagonal
        search, product = scaled.clone(), float((residual * scaled).sum())
        target = tolerance * float(gradient.norm())
        first = self.passes
        while self.passes < most_passes:
            if self.passes - first >= self.unknowns and self.unknowns <= _DIRECT_AFTER_ALL:
                return direction, False
            curved = self._curvature(search, features, kept)
            curvature = float((search * curved).sum())
            if curvature <= 0:  # flat but for rounding
                break
            length = product / curvature
            direction += length * search
            residual -= length * curved
            if float(residual.norm()) <= target:
                break
            scaled = residual / diagonal
            previous, product = product, float((residual * scaled).sum())
            search = scaled + (product / previous) * search
        return direction, True

    def _curvature(self, vector: Tensor, features: Tensor, kept: Sequence[Tensor]) -> Tensor:
        """Multiply the Hessian with a vector (r + 1, K)."""
        total = torch.zeros_like(vector)
        for x, probabilities in zip(features.split(self.rows), kept, strict=True):
            weighted = (x @ vector).mul_(probabilities)
            if self.softmax:
                weighted.addcmul_(probabilities, weighted.sum(1, keepdim=True), value=-1)
            else:
                weighted.addcmul_(probabilities, weighted, value=-1)
            total += x.T @ weighted
        self.passes += 1
        return self._penalised(total, vector)

    def _blocks(self, other: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pair the blocks of the features with those of something else."""
        return zip(self.x.split(self.rows), other, strict=True)

    def _penalised(self, value: Tensor, weights: Tensor) -> Tensor:
        value[:-1] += self.penalty * weights[:-1]
        return value
