"""The perceptron of 1958: a linear threshold, learned from its mistakes.

Axes: N examples, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..core.errors import UsageError


@final
@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """A learned threshold: +1 where weight · x + bias > 0, else -1.

    Args:
        weight: (F,).
        bias: Added to the product; ().
        mistakes: Updates made while learning.
        converged: Whether the last pass over the examples was without a mistake.
    """

    weight: Tensor
    bias: Tensor
    mistakes: int
    converged: bool

    def predict(self, x: Tensor) -> Tensor:
        """Give +1 or -1 per example.

        Args:
            x: Examples.

        Shapes:
            x: (N, F)
            return: (N,)
        """
        positive = x @ self.weight + self.bias > 0
        return positive.to(x.dtype) * 2 - 1


def fit_perceptron(
    x: Tensor, y: Tensor, *, bias: bool = True, max_passes: int = 1000
) -> Perceptron:
    """Learn a threshold: whenever an example is on the wrong side, add it to the weights.

    Of historical interest; `Linear` under cross entropy is better on data that overlap. On
    separable data it makes at most (R / γ)² mistakes, R the length of the longest example and γ the
    margin of the best threshold (both with the bias counted as one more feature); on XOR it never
    ends.

        where yᵢ (w · xᵢ + b) ≤ 0:  w ← w + yᵢ xᵢ,  b ← b + yᵢ

    Args:
        x: Examples, visited in their order.
        y: +1 or -1 for each.
        bias: Learn a bias.
        max_passes: Passes over the examples after which it gives up.

    Shapes:
        x: (N, F)
        y: (N,)

    Raises:
        UsageError: `y` holds other numbers than +1 and -1, or the shapes do not fit.

    Source: rosenblatt1958perceptron; the bound from novikoff1962convergence.
    Checked against: scikit-learn Perceptron without shuffling; the bound on random separable data.
    """
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise UsageError(
            f"fit_perceptron: `y` must have one entry per row of `x`; got {tuple(y.shape)} for"
            f" {tuple(x.shape)}. Give x as (N, F) and y as (N,)."
        )
    if not bool((y.abs() == 1).all()):
        raise UsageError(
            "fit_perceptron: `y` must be +1 or -1; got other numbers. Use 2 * labels - 1."
        )
    sign = y.to(x.dtype)
    rows = torch.cat([x, torch.ones_like(x[:, :1])], dim=1) if bias else x
    signed = rows * sign.unsqueeze(1)
    weight = torch.zeros_like(rows[0])
    mistakes, converged = 0, False
    for _ in range(max_passes):
        before = mistakes
        for row in signed:
            if not bool(row @ weight > 0):
                weight = weight + row
                mistakes += 1
        if mistakes == before:
            converged = True
            break
    return Perceptron(
        weight=weight[: x.shape[1]],
        bias=weight[-1] if bias else weight.new_zeros(()),
        mistakes=mistakes,
        converged=converged,
    )
