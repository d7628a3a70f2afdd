"""RAdam, torch's own: the rectified variance acts as a warm-up, and begins where the paper says."""

from __future__ import annotations

import math

import pytest
import torch

from fitwell.optim import RAdam

# Four or five steps of our formulas in Python floats against torch's in float64.
ROUNDING = 1e-12


def length_of_average(step: int, beta2: float) -> float:
    """ρ_t, the length of the simple average that the exponential one is like."""
    most = 2 / (1 - beta2) - 1
    return most - 2 * step * beta2**step / (1 - beta2**step)


def rectification(step: int, beta2: float) -> float:
    """r_t, which makes the variance of the adaptive rate that of an infinite average."""
    most, now = 2 / (1 - beta2) - 1, length_of_average(step, beta2)
    return math.sqrt((now - 4) * (now - 2) * most / ((most - 4) * (most - 2) * now))


def literal(gradients: list[float], lr: float, beta1: float, beta2: float) -> list[float]:
    """Algorithm 2 of the paper on one weight; the switch is at ρ_t above 5, as in its code."""
    theta, m, v, path = 1.0, 0.0, 0.0, []
    for step, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        mean = m / (1 - beta1**step)
        if length_of_average(step, beta2) > 5:
            scale = math.sqrt(1 - beta2**step) / (math.sqrt(v) + 1e-8)
            theta -= lr * rectification(step, beta2) * mean * scale
        else:
            theta -= lr * mean
        path.append(theta)
    return path


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_opt_19_equal_to_the_paper_at_every_step(beta2: float) -> None:
    torch.manual_seed(0)
    gradients = torch.randn(40, dtype=torch.float64).tolist()
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = RAdam([weight], lr=0.01, betas=(0.9, beta2))
    path = []
    for g in gradients:
        weight.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        path.append(weight.item())
    assert path == pytest.approx(literal(gradients, 0.01, 0.9, beta2), rel=ROUNDING)


def test_opt_19_the_switch_is_at_the_boundary_step() -> None:
    # With β₂ = 0.999 the average is longer than 4 from step 5 on, and longer than 5 from step 6.
    assert length_of_average(4, 0.999) < 4 < length_of_average(5, 0.999) < 5
    assert length_of_average(6, 0.999) > 5
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = RAdam([weight], lr=1.0, betas=(0.0, 0.999))
    steps = []
    for _ in range(7):
        before = weight.item()
        weight.grad = torch.full((1,), 100.0, dtype=torch.float64)
        optimizer.step()
        steps.append(before - weight.item())
    # Without momentum and with one gradient, the step is that gradient before the switch, and
    # after it the rectification alone.
    assert steps[:5] == pytest.approx([100.0] * 5)
    assert steps[5:] == pytest.approx([rectification(t, 0.999) for t in (6, 7)], rel=1e-6)


def test_opt_19_the_rectification_rises_to_one_like_a_warm_up() -> None:
    factors = [rectification(step, 0.999) for step in range(6, 20_000)]
    assert factors == sorted(factors)
    assert factors[0] < 0.05
    assert factors[-1] == pytest.approx(1, abs=1e-4)
