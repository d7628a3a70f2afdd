"""Sharpness: each measure is its formula, and only a comparison gives a verdict."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from fitwell.core.errors import TrainingError, UsageError
from fitwell.doctor import sharpness, state_digest

SAME = 1e-9  # double precision
FOUND = 1e-3  # eigenvalues are found up to a residual of a hundredth
Pairs = list[tuple[Tensor, Tensor]]


def pairs(count: int = 2, size: int = 16) -> Pairs:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(count * size, 4, generator=random, dtype=torch.float64)
    return list(zip(x.split(size), (x[:, 0] > x[:, 1] ** 2).long().split(size), strict=True))


def net(seed: int = 0, *, hidden: int = 6, steps: int = 60) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 2)).double()
    x, y = (torch.cat(some) for some in zip(*pairs(), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


class Bowl(nn.Module):
    """A quadratic of its weights: half of the sum of heights times squares; inputs do nothing."""

    def __init__(self, weights: list[float], heights: list[float]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float64))
        self.heights = torch.tensor(heights, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return (self.heights * self.weights**2).sum() / 2 + 0 * x.sum(dim=1)


def mean(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs.mean()


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def loss_of(model: nn.Module, vector: Tensor, batch: tuple[Tensor, Tensor] | None = None) -> Tensor:
    named, place = {}, 0
    for name, p in model.named_parameters():
        named[name] = vector[place : place + p.numel()].view(p.shape)
        place += p.numel()
    x, y = batch or (torch.cat(some) for some in zip(*pairs(), strict=True))
    return F.cross_entropy(functional_call(model, named, (x,)), y)


def test_tune_25_a_bowl_in_closed_form() -> None:
    weights, heights, eps = [0.5, -2.0, 0.0], [3.0, 0.1, 7.0], 0.01
    found = sharpness(Bowl(weights, heights), mean, pairs(), eps=eps, rho=0.05, adaptive_rho=0.5)
    w, h = np.array(weights), np.array(heights)
    low = (h * w**2).sum() / 2
    high = (h * (np.abs(w) + eps * (np.abs(w) + 1)) ** 2).sum() / 2
    assert found.loss == pytest.approx(low)
    assert found.value == pytest.approx(100 * (high - low) / (1 + low), abs=SAME)
    assert found.eigenvalue == pytest.approx(7.0, rel=FOUND)

    def rise(step: Any) -> float:
        return float((h * (w + step) ** 2).sum() / 2 - low)

    g = h * w
    assert found.sam == pytest.approx(rise(0.05 * g / np.linalg.norm(g)), abs=SAME)
    adaptive = 0.5 * w**2 * g / np.linalg.norm(np.abs(w) * g)
    assert found.adaptive_sam == pytest.approx(rise(adaptive), abs=SAME)


def test_tune_25_a_small_box_by_all_of_its_corners() -> None:
    model = net(hidden=1)  # 9 weights
    start = flat(model)
    low = float(loss_of(model, start))
    sides = 0.05 * (start.abs() + 1)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9)), dtype=torch.float64)
    high = max(float(loss_of(model, start + sides * corner)) for corner in corners)
    found = sharpness(model, F.cross_entropy, pairs(), eps=0.05)
    assert found.value == pytest.approx(100 * (high - low) / (1 + low), rel=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("eps", [1e-3, 0.05])
def test_tune_25_equal_to_the_iterations_of_the_source(seed: int, eps: float) -> None:
    # Ten iterations of L-BFGS-B from the weights; both only look for a maximum, so ours is to
    # reach at least theirs, and little more where the box is small and the loss almost plane.
    model = net(seed)
    start = flat(model)

    def negative(vector: Any) -> tuple[float, Any]:
        leaf = torch.tensor(vector, requires_grad=True)
        loss = loss_of(model, leaf)
        loss.backward()
        assert leaf.grad is not None
        return -float(loss.detach()), -leaf.grad.numpy()

    sides = eps * (start.abs() + 1)
    bounds = list(zip((start - sides).tolist(), (start + sides).tolist(), strict=True))
    theirs = minimize(
        negative, start.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 10}
    )
    low = float(loss_of(model, start))
    expected = 100 * (-theirs.fun - low) / (1 + low)
    found = sharpness(model, F.cross_entropy, pairs(), eps=eps)
    assert found.value >= expected * (1 - 1e-6)
    if eps < 0.01:
        assert found.value == pytest.approx(expected, rel=1e-3)


def test_tune_25_steps_of_sam_and_the_eigenvalue_equal_autograd() -> None:
    model = net(3)
    w = flat(model)
    x, y = (torch.cat(some) for some in zip(*pairs(), strict=True))
    batches = [(x[:20], y[:20]), (x[20:], y[20:])]
    plain = adaptive = 0.0
    for batch in batches:
        leaf = w.clone().requires_grad_()
        low = loss_of(model, leaf, batch)
        (g,) = torch.autograd.grad(low, leaf)
        share = len(batch[0]) / len(x)
        plain += share * float(loss_of(model, w + 0.05 * g / g.norm(), batch) - low.detach())
        relative = 0.5 * w**2 * g / (w.abs() * g).norm()
        adaptive += share * float(loss_of(model, w + relative, batch) - low.detach())
    found = sharpness(model, F.cross_entropy, batches)
    assert found.sam == pytest.approx(plain, abs=SAME)
    assert found.adaptive_sam == pytest.approx(adaptive, abs=SAME)
    top = torch.linalg.eigvalsh(hessian(lambda v: loss_of(model, v), w))[-1]
    assert found.eigenvalue == pytest.approx(float(top), rel=FOUND)


@pytest.mark.parametrize("dimensions", [3, 10])
def test_tune_25_a_random_subspace_has_the_box_of_the_source(dimensions: int) -> None:
    model, eps = net(), 0.01
    start = flat(model)
    random = torch.Generator().manual_seed(5)
    for _ in range(2):
        torch.randint(2, (len(start),), generator=random)  # the corners come first
    axes = torch.randn(len(start), dimensions, generator=random).double()
    axes = axes / axes.norm(dim=0)
    sides = eps * ((torch.linalg.pinv(axes) @ start).abs() + 1)
    low = float(loss_of(model, start))

    def negative(vector: Any) -> tuple[float, Any]:
        leaf = torch.tensor(vector, requires_grad=True)
        loss = loss_of(model, start + axes @ leaf)
        loss.backward()
        assert leaf.grad is not None
        return -float(loss.detach()), -leaf.grad.numpy()

    ends = list(zip((-sides).tolist(), sides.tolist(), strict=True))
    theirs = minimize(negative, np.zeros(dimensions), jac=True, method="L-BFGS-B", bounds=ends)
    given = {"subspace": dimensions, "eps": eps, "draws": 2, "seed": 5}
    found = sharpness(model, F.cross_entropy, pairs(), **given)
    assert found.subspace == pytest.approx(100 * (-theirs.fun - low) / (1 + low), rel=1e-4)
    none = sharpness(model, F.cross_entropy, pairs(), **{**given, "subspace": 0})
    assert none.value == found.value
    assert none.to_dict()["subspace"] is None


def test_random_corners_are_milder_than_the_worst_one() -> None:
    found = sharpness(net(), F.cross_entropy, pairs(), draws=30)
    assert found.control == found.random
    assert found.random < found.random_interval[1] < found.value
    assert found.interval[0] <= found.value <= found.interval[1]


def test_at_a_minimum_to_the_bit_the_worst_corner_is_found_all_the_same() -> None:
    found = sharpness(Bowl([0.0, 0.0], [2.0, 4.0]), mean, pairs(), eps=0.1)
    assert found.value == pytest.approx(100 * (2 + 4) / 2 * 0.1**2)
    assert found.sam == found.adaptive_sam == 0


def test_only_a_comparison_gives_a_verdict() -> None:
    flatter, steeper = Bowl([0.1, 0.1], [1.0, 2.0]), Bowl([0.1, 0.1], [10.0, 20.0])
    alone = sharpness(steeper, mean, pairs())
    assert alone.found is None
    assert "without another solution" in str(alone)
    beside = sharpness(steeper, mean, pairs(), other=flatter)
    assert beside.found is True
    assert beside.control < beside.value == alone.value
    assert beside.other is not None
    assert beside.other["eigenvalue"] == pytest.approx(2, rel=FOUND)
    assert sharpness(flatter, mean, pairs(), other=steeper).found is False
    assert sharpness(flatter, mean, pairs(), other=flatter).found is None


def test_layers_rescaled_against_each_other_are_not_called_sharper() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    rescaled = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    rescaled.load_state_dict(model.state_dict())
    with torch.no_grad():
        for p in rescaled[0].parameters():
            p.mul_(20.0)
        rescaled[2].weight.div_(20.0)
    found = sharpness(rescaled, F.cross_entropy, pairs(), other=model)
    assert found.other is not None
    assert found.loss == pytest.approx(found.other["loss"])
    assert found.eigenvalue > 5 * found.other["eigenvalue"]
    assert found.found is None
    # the bias of the last layer is not rescaled, so the adaptive measure differs only by rounding
    assert found.adaptive_sam == pytest.approx(found.other["adaptive_sam"], rel=1e-6)


def test_all_is_left_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = (nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2))
    model = nn.Sequential(*layers).double().train()
    F.cross_entropy(model(pairs()[0][0]), pairs()[0][1]).backward()
    other, batches = net(), pairs(3)
    before = state_digest(model, other, batches)
    found = sharpness(model, F.cross_entropy, batches, other=other, mode="train", subspace=5)
    assert state_digest(model, other, batches) == before
    again = sharpness(model, F.cross_entropy, batches, other=other, mode="train", subspace=5)
    assert again == found
    json.dumps(found.to_dict())
    found.figure().savefig(tmp_path / "sharpness.png")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eps": 0.0}, "`eps` must be positive and finite; got 0.0"),
        ({"rho": -1.0}, "`rho` must be positive and finite; got -1.0"),
        ({"subspace": -1}, "`subspace` must be 0 or more; got -1"),
        ({"draws": 0}, "`draws` must be positive and finite; got 0"),
        ({"batches": []}, "`batches` must give at least one pair of inputs and targets; got none"),
        ({"model": nn.Flatten()}, "`model` must have a trainable parameter; got none"),
        ({"mode": "test"}, "`mode` must be 'eval' or 'train'; got 'test'"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: dict[str, Any], words: str) -> None:
    usual = {"model": net(steps=0), "loss": F.cross_entropy, "batches": pairs()}
    with pytest.raises(UsageError, match=words):
        sharpness(**{**usual, **given})


def test_a_loss_that_is_not_finite_is_said() -> None:
    with pytest.raises(TrainingError, match="the loss of batch 0 is nan"):
        sharpness(Bowl([float("nan")], [1.0]), mean, pairs())


def test_losses_below_0_are_measured_against_their_size() -> None:
    bowl = Bowl([0.5, -2.0], [3.0, 0.1])
    up = sharpness(bowl, lambda out, _: out.mean() + 4, pairs())
    down = sharpness(bowl, lambda out, _: out.mean() + 4 - 2 * up.loss, pairs())
    assert down.loss == pytest.approx(-up.loss)
    assert down.value == pytest.approx(up.value)


def test_a_loss_that_is_infinite_nearby_is_infinitely_sharp() -> None:
    def edge(outputs: Tensor, _: Tensor) -> Tensor:
        height = outputs.mean()
        return torch.where(height > 0.05, height / 0, height)

    found = sharpness(Bowl([0.1, 0.1], [3.0, 0.1]), edge, pairs(), eps=0.5)
    assert found.value == math.inf
    assert found.interval == (-math.inf, math.inf)
    assert found.found is None
    json.dumps(found.to_dict())
    found.figure()
