"""The rate and the size of the batch: what the scaling rules promise, measured."""

from __future__ import annotations

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.optim import Constant, Linear, WarmUp, linear_scaling, square_root_scaling


def quadratics(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Per example a loss ½ (θ - c)ᵀ A (θ - c), in float64."""
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(count, 4, 4, generator=generator, dtype=torch.float64)
    centres = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return roots @ roots.mT / 4, centres


def gradient(theta: torch.Tensor, a: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nij,nj->i", a, theta - c) / len(a)


def apart(lr: float, k: int, n: int) -> float:
    """How far k steps with batches of n end from one with kn examples at the scaled rate."""
    a, c = quadratics(k * n)
    begin = torch.ones(4, dtype=torch.float64)
    small = begin.clone()
    for part in range(k):
        rows = slice(part * n, (part + 1) * n)
        small -= lr * gradient(small, a[rows], c[rows])
    scaled = linear_scaling(lr, batch_size=k * n, base_batch_size=n)
    large = begin - scaled * gradient(begin, a, c)
    return float((small - large).norm())


@pytest.mark.parametrize(("k", "n"), [(2, 8), (8, 4), (16, 1)])
def test_tune_26_k_small_steps_are_one_large_step_to_first_order(k: int, n: int) -> None:
    # The difference is of second order: a tenth of the rate leaves a hundredth of it.
    ratio = apart(1e-4, k, n) / apart(1e-5, k, n)
    assert ratio == pytest.approx(100, rel=0.02)
    # In closed form for one curvature: (1 - lr)^k against 1 - k lr differ by k (k - 1) / 2 lr².
    lr = 1e-5
    assert (1 - lr) ** k - (1 - k * lr) == pytest.approx(k * (k - 1) / 2 * lr**2, rel=1e-3)


def test_tune_26_the_linear_rule() -> None:
    assert linear_scaling(0.1, 256) == 0.1
    assert linear_scaling(0.1, 8192) == pytest.approx(3.2)
    assert linear_scaling(0.1, 64, 128) == pytest.approx(0.05)


def test_tune_26_the_rise_goes_from_the_base_rate_to_the_scaled_one() -> None:
    base, batch, steps = 0.1, 8192, 5
    scaled = linear_scaling(base, batch)
    made = WarmUp(steps=steps, start=256 / batch, then=Constant())
    rates = [scaled * made(step, 20) for step in range(8)]
    rise = (scaled - base) / steps
    assert rates[:5] == pytest.approx([base + rise * count for count in range(1, 6)])
    assert rates[5:] == pytest.approx([scaled] * 3)


def test_square_root_scaling_keeps_the_variance_of_a_step() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(20_000, 64, generator=generator)
    variance = {}
    for size in (4, 64):
        rate = square_root_scaling(0.1, size, 4)
        variance[size] = float((rate * noise[:, :size].mean(dim=1)).var())
    assert variance[64] == pytest.approx(variance[4], rel=0.05)
    assert square_root_scaling(0.1, 1024) == pytest.approx(0.2)
    assert square_root_scaling(0.1, 256) == 0.1


@pytest.mark.parametrize("rule", [linear_scaling, square_root_scaling])
def test_wrong_values_are_named(rule: object) -> None:
    assert callable(rule)
    for arguments, name in (((0.1, 0), "batch_size"), ((0.1, 8, 0), "base_batch_size")):
        with pytest.raises(UsageError, match=f"`{name}` must be a whole number of at least 1"):
            rule(*arguments)
    with pytest.raises(UsageError, match="`lr` must be a number at least 0; got -1"):
        rule(-1, 8)


def test_a_linear_fall_after_the_rise_sees_the_rest_of_the_run() -> None:
    made = WarmUp(steps=2, start=0.5, then=Linear())
    assert [made(step, 6) for step in range(6)] == [0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
