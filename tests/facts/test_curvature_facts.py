"""The course's homework on critical points: a small network that learns sin(5πx) / (5πx)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from fitwell.doctor import CriticalPoint, critical_point

MSE = nn.MSELoss()


def as_function(model: nn.Module, x: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Give the outputs as a function of the flat weights, and these."""
    names, weights = zip(*model.named_parameters(), strict=True)

    def outputs(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [w.numel() for w in weights])
        given = {n: p.view(w.shape) for n, p, w in zip(names, parts, weights, strict=True)}
        return functional_call(model, given, (x,))

    return outputs, torch.cat([w.detach().flatten() for w in weights])


def least_squares(residual: Callable[[Tensor], Tensor], flat: Tensor, steps: int) -> Tensor:
    """Lower the sum of squares of a residual by damped Gauss-Newton steps."""
    damping = 1.0
    for _ in range(steps):
        wrong, slopes = residual(flat), jacrev(residual)(flat)
        square = slopes.T @ slopes + damping * torch.eye(len(flat), dtype=torch.float64)
        tried = flat - torch.linalg.solve(square, slopes.T @ wrong)
        better = residual(tried).norm() < wrong.norm()
        flat, damping = (tried, damping / 3) if better else (flat, damping * 4)
        damping = max(damping, 1e-12)
    return flat


@functools.cache
def sinc_network(seed: int, steps: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Train, then lower the norm of the gradient, as the homework does; 0 steps do neither."""
    torch.manual_seed(seed)
    x = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None]
    y = torch.sinc(5 * x)
    model = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))
    model = model.double()
    outputs, flat = as_function(model, x)
    flat = least_squares(lambda w: (outputs(w) - y)[:, 0], flat, steps)
    flat = least_squares(jacrev(lambda w: MSE(outputs(w), y)), flat, steps)
    nn.utils.vector_to_parameters(flat, model.parameters())
    return model, x, y


def by_numpy(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Give gradient norm and minimum ratio from a Hessian by other means."""
    outputs, flat = as_function(model, x)

    def loss(weights: Tensor) -> Tensor:
        return MSE(outputs(weights), y)

    gradient, hessian = jacrev(loss)(flat), jacrev(jacrev(loss))(flat)
    values = np.linalg.eigvalsh(hessian.numpy())
    return float(gradient.norm()), float((values > 0).mean())


def test_tune_22_near_critical_points_of_sinc_networks_are_no_strict_minima() -> None:
    found: list[CriticalPoint] = []
    for seed in range(3):
        model, x, y = sinc_network(seed, steps=40)
        point = critical_point(model, MSE, [(x[:40], y[:40]), (x[40:], y[40:])])
        norm, ratio = by_numpy(model, x, y)
        assert point.exact
        assert point.gradient_norm == pytest.approx(norm, rel=1e-6)
        # An eigenvalue that is zero but for rounding may fall on either side.
        assert point.minimum_ratio == pytest.approx(ratio, abs=1.5 / point.spectrum.size)
        found.append(point)
    assert all(point.gradient_norm < 1e-3 for point in found)
    assert all(0.3 < point.minimum_ratio < 1 for point in found)
    for point in found:
        by_rule = "like a minimum" if point.minimum_ratio > 0.5 else "saddle point"
        assert point.course_verdict == by_rule
        assert point.flat_ratio > 0.5


def test_intro_05_where_a_trained_network_stalls_the_hessian_has_both_signs() -> None:
    for seed in range(3):
        model, x, y = sinc_network(seed, steps=40)
        point = critical_point(model, MSE, (x, y))
        assert point.gradient_norm > 1e-5  # not zero, and yet the training hardly moves
        assert point.smallest[0] < -1e-5 * point.largest[0] < 0 < point.largest[0]
        assert point.escape is not None
        assert point.escape.gain > 0


def test_tune_22_an_untrained_network_is_at_no_critical_point() -> None:
    model, x, y = sinc_network(0, steps=0)
    point = critical_point(model, MSE, (x, y))
    assert point.gradient_norm > 1e-3
    assert (point.course_verdict, point.verdict) == ("not critical", "moving")
    assert point.downhill.after < point.loss
