"""Minimises the convex losses of logistic regression by Newton's method, to a stated tolerance.

The problem is that of scikit-learn's LogisticRegression(C=strength): C times the sum of the losses plus half the
squared norm of the weights; the intercept is not penalised.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["softmax", "sigmoid"]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_ARMIJO, _HALVINGS = 1e-4, 40
_DIRECT = 1200  # unknowns up to which a Newton step is solved directly: ill-conditioned problems cost no more


class Solution(NamedTuple):
    """weights: (r + 1, K), the intercepts last. steps: Newton steps. gradient: the largest part of the gradient,
    relative to that at zero weights."""

    weights: Tensor
    steps: int
    gradient: float

    @property
    def converged(self) -> bool:
        return self.gradient <= TOLERANCE[self.weights.dtype]


def minimise(x: Tensor, y: Tensor, kind: Kind, strength: float, start: Tensor | None, most_steps: int) -> Solution:
    """Minimise the loss over the weights of one linear layer.

    x: (n, r + 1) features, the last column ones. y: (n, K) of 0 and 1; softmax: one 1 per row; sigmoid: K independent
    columns. start: weights to start from. Stops once no part of the gradient exceeds `TOLERANCE` of the largest one
    at zero weights, or after `most_steps` Newton steps.
    """
    problem = _Problem(x, y, kind, 1 / strength)
    zero = x.new_zeros(x.shape[1], y.shape[1])
    scale = float(problem.gradient(zero, problem.probabilities(x @ zero)).abs().max())
    weights = zero if start is None else start
    if scale == 0:
        return Solution(zero, 0, 0.0)
    logits = x @ weights
    loss = problem.loss(weights, logits)
    relative = torch.inf
    for step in range(most_steps + 1):
        probabilities = problem.probabilities(logits)
        gradient = problem.gradient(weights, probabilities)
        relative = float(gradient.abs().max()) / scale
        if relative <= TOLERANCE[x.dtype] or step == most_steps:
            break
        direction = problem.newton_direction(gradient, probabilities, min(0.1, relative**0.5))
        slope = float((direction * gradient).sum())
        change = x @ direction
        length = 1.0
        for _ in range(_HALVINGS):
            new_weights, new_logits = weights + length * direction, logits + length * change
            new_loss = problem.loss(new_weights, new_logits)
            # Close to the minimum the decrease is below rounding: the step is taken, the gradient decides.
            if float(new_loss) <= float(loss) + _ARMIJO * length * slope + 1e-12 * abs(float(loss)):
                break
            length /= 2
        weights, logits, loss = new_weights, new_logits, new_loss
    return Solution(weights, step, relative)


class _Problem:
    def __init__(self, x: Tensor, y: Tensor, kind: Kind, penalty: float) -> None:
        self.x, self.y, self.kind, self.penalty = x, y, kind, penalty
        self.classes = y.argmax(1) if kind == "softmax" else None
        self.squares = x.square()

    def loss(self, weights: Tensor, logits: Tensor) -> Tensor:
        if self.classes is not None:
            of_examples = F.cross_entropy(logits, self.classes, reduction="none")
        else:
            of_examples = F.binary_cross_entropy_with_logits(logits, self.y, reduction="none")
        return of_examples.sum(dtype=torch.float64) + 0.5 * self.penalty * weights[:-1].square().sum(
            dtype=torch.float64
        )

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(1) if self.kind == "softmax" else logits.sigmoid()

    def gradient(self, weights: Tensor, probabilities: Tensor) -> Tensor:
        return self._penalised(self.x.T @ (probabilities - self.y), weights)

    def newton_direction(self, gradient: Tensor, probabilities: Tensor, tolerance: float) -> Tensor:
        """Solve Hessian @ direction = -gradient, large problems until the residual is below `tolerance` of the
        gradient."""
        if self.kind == "sigmoid" and len(gradient) <= _DIRECT:
            columns = [self._direct(gradient[:, [k]], probabilities[:, [k]]) for k in range(gradient.shape[1])]
            return torch.cat(columns, dim=1)
        if self.kind == "softmax" and gradient.numel() <= _DIRECT:
            return self._direct(gradient, probabilities)
        return self._conjugate_gradients(gradient, probabilities, tolerance)

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
        diagonal = torch.arange(count * size).reshape(count, size)
        hessian[diagonal[:, :-1], diagonal[:, :-1]] += self.penalty
        # The softmax does not change if all intercepts do; a little weight on them makes the solution one.
        hessian[diagonal[:, -1], diagonal[:, -1]] += 1e-12 * float(hessian.diagonal().max())
        solution = torch.linalg.solve(hessian, -gradient.T.reshape(-1, 1))
        return solution.reshape(count, size).T

    def _conjugate_gradients(self, gradient: Tensor, probabilities: Tensor, tolerance: float) -> Tensor:
        """Solve by conjugate gradients, preconditioned by the Hessian's diagonal."""
        spread = probabilities * (1 - probabilities)
        diagonal = self.squares.T @ spread
        diagonal[:-1] += self.penalty
        diagonal = diagonal.clamp_min(1e-12 * float(diagonal.max()))
        direction, residual = torch.zeros_like(gradient), -gradient
        scaled = residual / diagonal
        search, product = scaled.clone(), float((residual * scaled).sum())
        target = tolerance * float(gradient.norm())
        for _ in range(10 * gradient.numel()):
            curved = self._hessian(search, probabilities, spread)
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
        return direction

    def _hessian(self, vector: Tensor, probabilities: Tensor, spread: Tensor) -> Tensor:
        change = self.x @ vector
        if self.kind == "softmax":
            weighted = probabilities * change
            weighted -= probabilities * weighted.sum(1, keepdim=True)
        else:
            weighted = spread * change
        return self._penalised(self.x.T @ weighted, vector)

    def _penalised(self, value: Tensor, weights: Tensor) -> Tensor:
        value[:-1] += self.penalty * weights[:-1]
        return value
