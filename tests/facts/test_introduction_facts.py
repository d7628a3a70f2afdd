"""Truths of the introduction chapter, one test per catalogue row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fitwell.losses import MAE, MSE, CrossEntropy
from fitwell.nn import MLP, count_parameters, fit_perceptron

XOR = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
XOR_LABELS = torch.tensor([-1, 1, 1, -1])
# float64 sums in another order.
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def value_and_gradient(loss: object, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    outputs = outputs.detach().clone().requires_grad_()
    value = loss(outputs, targets)  # type: ignore[operator]
    value.backward()
    assert outputs.grad is not None
    return value.detach(), outputs.grad


def test_intro_02_losses_equal_torch_and_formulas_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(8, 5, dtype=torch.float64)
    probs = torch.randn(8, 5, dtype=torch.float64).softmax(1)
    y = torch.randn(8, dtype=torch.float64)
    out = torch.randn(8, dtype=torch.float64)
    cases = [
        (CrossEntropy(), nn.functional.cross_entropy, logits, probs),
        (MAE(), nn.functional.l1_loss, out, y),
        (MSE(), nn.functional.mse_loss, out, y),
    ]
    for ours, theirs, outputs, targets in cases:
        for one, other in zip(
            value_and_gradient(ours, outputs, targets),
            value_and_gradient(theirs, outputs, targets),
            strict=True,
        ):
            assert torch.equal(one, other)
    # Independent of torch's losses: the gradients in closed form.
    closed = (logits.softmax(1) - probs) / 8
    torch.testing.assert_close(value_and_gradient(CrossEntropy(), logits, probs)[1], closed)
    torch.testing.assert_close(value_and_gradient(MSE(), out, y)[1], 2 * (out - y) / 8)
    torch.testing.assert_close(value_and_gradient(MAE(), out, y)[1], (out - y).sign() / 8)


def quadratic(seed: int, size: int) -> tuple[Tensor, Tensor, float]:
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(size, size, generator=generator, dtype=torch.float64)
    matrix = factor @ factor.T / size + 0.1 * torch.eye(size, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(matrix)
    # Every eigenvector has a part in the start, the steepest one too.
    return matrix, vectors.sum(1), values[-1].item()


def descend(matrix: Tensor, start: Tensor, lr: float, steps: int) -> Tensor:
    theta = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([theta], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        (theta @ matrix @ theta / 2).backward()
        optimizer.step()
    return theta.detach()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 6), share=st.floats(0.01, 0.99))
def test_intro_04_gradient_descent_equals_the_closed_form(
    seed: int, size: int, share: float
) -> None:
    matrix, start, steepest = quadratic(seed, size)
    lr = share * 2 / steepest
    power = torch.linalg.matrix_power(torch.eye(size, dtype=torch.float64) - lr * matrix, 30)
    torch.testing.assert_close(descend(matrix, start, lr, 30), power @ start, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 6), excess=st.floats(0.01, 0.5))
def test_intro_04_gradient_descent_diverges_exactly_above_two_over_the_largest_eigenvalue(
    seed: int, size: int, excess: float
) -> None:
    matrix, start, steepest = quadratic(seed, size)
    edge = 2 / steepest
    above = descend(matrix, start, edge * (1 + excess), 100)
    below = descend(matrix, start, edge * (1 - excess), 100)
    # Along the steepest direction each step multiplies by 1 - lr * steepest = -1 -+ 2 excess.
    _, vectors = torch.linalg.eigh(matrix)
    steep = vectors[:, -1]
    grown = abs(above @ steep / (start @ steep)).item()
    assert grown == pytest.approx((1 + 2 * excess) ** 100, rel=1e-6)
    assert grown > 5
    assert below.norm() < start.norm()
    loss = [x @ matrix @ x for x in (start, below)]
    assert loss[1] < loss[0]


def test_intro_04_at_the_edge_it_neither_converges_nor_diverges() -> None:
    matrix = torch.tensor([[4.0]], dtype=torch.float64)
    start = torch.ones(1, dtype=torch.float64)
    assert descend(matrix, start, 0.5, 101).item() == -1
    assert descend(matrix, start, 0.25, 1).item() == 0


@pytest.mark.parametrize(("features", "hidden"), [(1, 1), (3, 7)])
def test_intro_11_mlp_equals_its_formula_and_a_sequential(features: int, hidden: int) -> None:
    torch.manual_seed(0)
    model = MLP(features, 1, hidden=(hidden,), activation="sigmoid").double()
    plain = nn.Sequential(nn.Linear(features, hidden), nn.Sigmoid(), nn.Linear(hidden, 1)).double()
    for target, source in zip(plain.parameters(), model.parameters(), strict=True):
        target.data.copy_(source.data)
    x = torch.randn(5, features, dtype=torch.float64)
    model(x).sum().backward()
    plain(x).sum().backward()
    assert torch.equal(model(x), plain(x))
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad, **EXACT)
    weight, bias, c, b = (p.detach() for p in model.parameters())
    formula = torch.stack([b + c[0] @ torch.sigmoid(bias + weight @ row) for row in x])
    torch.testing.assert_close(model(x).detach(), formula, **EXACT)
    # theta stacks W, b, c and the scalar b.
    assert count_parameters(model) == hidden * features + hidden + hidden + 1
    assert nn.utils.parameters_to_vector(model.parameters()).numel() == count_parameters(model)


def best_margin(signed: np.ndarray) -> float:
    """Margin of the best threshold through the origin: the distance of the hull of yᵢxᵢ from 0."""
    from scipy.optimize import nnls

    rows, columns = signed.shape
    system = np.vstack([signed.T, np.ones((1, rows))])
    share, _ = nnls(system, np.r_[np.zeros(columns), 1.0])
    return float(np.linalg.norm(signed.T @ (share / share.sum())))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 30), features=st.integers(1, 5))
def test_intro_34_perceptron_keeps_within_the_bound_on_separable_data(
    seed: int, count: int, features: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=generator, dtype=torch.float64)
    direction = torch.randn(features, generator=generator, dtype=torch.float64)
    score = x @ direction / direction.norm() + 0.2
    keep = score.abs() > 0.05
    assume(bool(keep.any()))
    x, y = x[keep], score[keep].sign()
    rows = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    margin = best_margin((rows * y.unsqueeze(1)).numpy())
    bound = (rows.norm(dim=1).max().item() / margin) ** 2
    found = fit_perceptron(x, y, max_passes=math.ceil(bound) + 2)
    assert found.converged
    assert found.mistakes <= bound * (1 + 1e-9)  # a bound of 1 may be rounded down
    assert torch.equal(found.predict(x), y)


def test_intro_34_perceptron_cannot_fit_xor() -> None:
    from scipy.optimize import linprog

    found = fit_perceptron(XOR, XOR_LABELS, max_passes=2000)
    assert not found.converged
    # Proof: no w, b has yᵢ (w · xᵢ + b) ≥ 1 for all i, for the four conditions add up to 0 ≥ 4 ...
    rows = torch.cat([XOR, torch.ones(4, 1, dtype=torch.float64)], 1) * XOR_LABELS.unsqueeze(1)
    assert torch.equal(rows.sum(0), torch.zeros(3, dtype=torch.float64))
    # ... and the linear program agrees, while it finds a threshold for OR.
    free = [(None, None)] * 3
    assert linprog(np.zeros(3), -rows.numpy(), -np.ones(4), bounds=free).status == 2
    either = torch.tensor([-1, 1, 1, 1])
    rows = torch.cat([XOR, torch.ones(4, 1, dtype=torch.float64)], 1) * either.unsqueeze(1)
    assert linprog(np.zeros(3), -rows.numpy(), -np.ones(4), bounds=free).status == 0
    assert fit_perceptron(XOR, either).converged
