"""SAM is its literal form, finds the worst point of a quadratic, and comes back to the bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.optim import SAM, SGD, AdamW, frozen_statistics

# Sums of 16 terms in float64, over 20 steps.
ROUNDING = {"rtol": 1e-12, "atol": 1e-13}


def problem(dtype: torch.dtype = torch.float64) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)).to(dtype)
    return model, torch.randn(16, 5, dtype=dtype), torch.randn(16, 1, dtype=dtype)


def closure_of(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        model.zero_grad()
        loss: Tensor = (model(x) - y).square().mean()
        loss.backward()
        return loss

    return closure


def literal(
    model: nn.Module, closure: Callable[[], Tensor], inner: Any, rho: float, adaptive: bool
) -> None:
    """One step as the papers write it, with all weights in one vector."""
    closure()
    weights = nn.utils.parameters_to_vector(model.parameters()).detach()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]
    if adaptive:
        uphill = rho * weights**2 * gradient / (weights.abs() * gradient).square().sum().sqrt()
    else:
        uphill = rho * gradient / gradient.square().sum().sqrt()
    nn.utils.vector_to_parameters(weights + uphill, model.parameters())
    closure()
    nn.utils.vector_to_parameters(weights, model.parameters())
    inner.step()


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(
    "inner",
    [lambda p: SGD(p, lr=0.05), lambda p: AdamW(p, lr=0.01)],
    ids=["SGD", "AdamW"],
)
def test_twenty_steps_equal_the_literal_reference(inner: Any, adaptive: bool) -> None:
    model, x, y = problem()
    twin = copy.deepcopy(model)
    optimizer = SAM(inner(model.parameters()), rho=0.2, adaptive=adaptive)
    plain = inner(twin.parameters())
    start = copy.deepcopy(model)
    for _ in range(20):
        closure_of(model, x, y)()
        optimizer.step(closure_of(model, x, y))
        literal(twin, closure_of(twin, x, y), plain, 0.2, adaptive)
    for p, q, before in zip(model.parameters(), twin.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(p, q, **ROUNDING)
        assert not torch.equal(p, before)


def test_on_a_quadratic_the_step_equals_the_closed_form() -> None:
    """loss = ½ θᵀAθ: the gradient uphill is A(θ + rho · Aθ/‖Aθ‖)."""
    curvature = torch.tensor([1.0, 3.0, 10.0], dtype=torch.float64)
    start = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    theta = nn.Parameter(start.clone())
    optimizer = SAM(SGD([theta], lr=0.01, momentum=0.0), rho=0.3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (curvature * theta.square() / 2).sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    gradient = curvature * start
    worst = start + 0.3 * gradient / gradient.norm()
    torch.testing.assert_close(theta.detach(), start - 0.01 * curvature * worst, **ROUNDING)
    assert loss.item() == pytest.approx((curvature * worst.square() / 2).sum().item(), rel=1e-12)


def test_the_point_uphill_is_the_worst_of_a_linear_loss() -> None:
    """Of all points at distance rho, none has a higher loss; sampled."""
    torch.manual_seed(0)
    slope = torch.randn(4, dtype=torch.float64)
    theta = nn.Parameter(torch.randn(4, dtype=torch.float64))
    start = theta.detach().clone()

    def closure() -> Tensor:
        theta.grad = None
        loss = slope @ theta
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    loss = SAM(SGD([theta], lr=0.0), rho=0.5).step(closure).item()
    others = torch.randn(1000, 4, dtype=torch.float64)
    others = start + 0.5 * others / others.norm(dim=1, keepdim=True)
    assert loss >= (others @ slope).max().item()


def test_the_adaptive_form_ignores_a_rescaling_of_layers() -> None:
    """Two layers in a row, one times 8 and one divided by 8: the same loss uphill."""
    losses = {}
    for adaptive in (False, True):
        for scale in (1.0, 8.0):
            torch.manual_seed(0)
            first, second = torch.randn(3, 4).double() * scale, torch.randn(1, 3).double() / scale
            x = torch.randn(4).double()
            weights = [nn.Parameter(first), nn.Parameter(second)]

            def closure(weights: list[nn.Parameter] = weights, x: Tensor = x) -> Tensor:
                for p in weights:
                    p.grad = None
                loss = (weights[1] @ (weights[0] @ x).relu()).square().sum()
                loss.backward()
                return loss

            optimizer = SAM(SGD(weights, lr=0.0), rho=0.5, adaptive=adaptive)
            losses[adaptive, scale] = optimizer.step(closure).item()
    assert losses[True, 8.0] == pytest.approx(losses[True, 1.0], rel=1e-12)
    assert losses[False, 8.0] != pytest.approx(losses[False, 1.0], rel=1e-2)


def test_a_radius_of_zero_is_the_inner_optimizer_bit_for_bit() -> None:
    model, x, y = problem(torch.float32)
    twin = copy.deepcopy(model)
    optimizer, plain = SAM(AdamW(model.parameters()), rho=0.0), AdamW(twin.parameters())
    for _ in range(10):
        optimizer.step(closure_of(model, x, y))
        closure_of(twin, x, y)()
        plain.step()
    assert all(
        torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True)
    )


@pytest.mark.parametrize("rho", [1e-3, 1e6])
def test_weights_come_back_to_the_bit(rho: float) -> None:
    model, x, y = problem(torch.float32)
    before = copy.deepcopy(model)
    SAM(SGD(model.parameters(), lr=0.0), rho=rho).step(closure_of(model, x, y))
    assert all(
        torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True)
    )


def test_weights_come_back_when_the_closure_fails() -> None:
    model, x, y = problem(torch.float32)
    before = copy.deepcopy(model)
    closure_of(model, x, y)()

    def fails() -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        SAM(SGD(model.parameters(), lr=0.1)).step(fails)
    assert all(
        torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True)
    )


def test_with_gradients_and_without_the_steps_are_equal() -> None:
    results, calls = [], []
    for given in (False, True):
        model, x, y = problem(torch.float32)
        optimizer = SAM(SGD(model.parameters(), lr=0.1))
        closure = Mock(side_effect=closure_of(model, x, y))
        for _ in range(3):
            if given:
                closure_of(model, x, y)()
            optimizer.step(closure)
        results.append(model)
        calls.append(closure.call_count)
    assert calls == [6, 3]
    one, other = results
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_where_the_gradient_vanishes_nothing_moves() -> None:
    theta = nn.Parameter(torch.zeros(3))

    def closure() -> Tensor:
        theta.grad = None
        loss = theta.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    SAM(SGD([theta], lr=0.1)).step(closure)
    assert torch.equal(theta.detach(), torch.zeros(3))


def test_parameters_that_take_no_part_stay() -> None:
    model, x, y = problem(torch.float32)
    never = nn.Parameter(torch.ones(3))
    SAM(SGD([*model.parameters(), never], lr=0.1)).step(closure_of(model, x, y))
    assert torch.equal(never.detach(), torch.ones(3))


def test_batch_statistics_are_counted_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 1))
    once = copy.deepcopy(model)
    x = torch.randn(16, 5)
    once(x)
    optimizer = SAM(SGD(model.parameters(), lr=0.1), rho=1.0)
    model(x).square().mean().backward()

    def closure() -> Tensor:
        optimizer.zero_grad()
        with frozen_statistics(model):
            loss: Tensor = model(x).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    for (name, buffer), expected in zip(model.named_buffers(), once.buffers(), strict=True):
        assert torch.equal(buffer, expected), name
    model(x)
    assert model[1].num_batches_tracked == 2


def test_frozen_statistics_are_given_back_after_an_error() -> None:
    norm = nn.BatchNorm1d(2)
    buffer = norm.running_mean
    with pytest.raises(ValueError, match="expected 2D or 3D"), frozen_statistics(norm):
        norm(torch.ones(1))
    assert norm.running_mean is buffer


def test_a_step_without_closure_is_refused() -> None:
    optimizer = SAM(SGD([nn.Parameter(torch.ones(1))]))
    assert optimizer.needs_closure
    with pytest.raises(UsageError, match=r"`closure` must be .* got None. Call step\(closure\)"):
        optimizer.step()


def test_sparse_gradients_are_refused_and_weights_stay() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    before = table.weight.detach().clone()
    table(torch.tensor([1, 3])).square().sum().backward()
    with pytest.raises(UsageError, match="gradients must be dense and real"):
        SAM(torch.optim.SGD(table.parameters(), lr=0.1)).step(lambda: torch.zeros(()))
    assert torch.equal(table.weight.detach(), before)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(UsageError, match=r"SAM: `rho` must be at least 0; got -0.1"):
        SAM(SGD([torch.ones(1)]), rho=-0.1)
