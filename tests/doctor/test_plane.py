"""Planes through three sets of weights, marks on planes, and how far a valley reaches."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.doctor import (
    LossLine,
    LossPlane,
    PlaneMark,
    interpolation,
    loss_line,
    loss_plane,
    plane_through,
    state_digest,
    trajectory_plane,
)

MSE = nn.MSELoss()
CROSS_ENTROPY = nn.CrossEntropyLoss()
CLOSE = 1e-12  # of float64, over sums of some dozens

State = dict[str, Tensor]


def linear(seed: int = 0) -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(seed)
    x = torch.randn(20, 1, dtype=torch.float64)
    return nn.Linear(1, 1).double(), x, 2 * x + 1


def at(weight: float, bias: float) -> State:
    return {
        "weight": torch.tensor([[weight]], dtype=torch.float64),
        "bias": torch.tensor([bias], dtype=torch.float64),
    }


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()


corner = st.tuples(st.floats(-3, 3), st.floats(-3, 3))


@settings(max_examples=30, deadline=None)
@given(corners=st.tuples(corner, corner, corner))
def test_every_cell_is_the_loss_at_weights_that_lie_there(corners: Any) -> None:
    first, second, third = (np.array(point) for point in corners)
    u, v = second - first, third - first
    area = abs(u[0] * v[1] - u[1] * v[0])
    if area < 1e-2 or np.linalg.norm(u) < 1e-2:
        return
    model, x, y = linear()
    states = [at(*point) for point in corners]
    found = plane_through(model, MSE, (x, y), states, points=4)
    along = u / np.linalg.norm(u)
    across = v - (v @ along) * along
    across /= np.linalg.norm(across)
    for b, row in zip(found.y, found.losses, strict=True):
        for a, loss in zip(found.x, row, strict=True):
            weight, bias = first + a * along + b * across
            expected = float(((weight * x + bias - y) ** 2).mean())
            assert loss == pytest.approx(expected, rel=1e-9, abs=CLOSE)
    spots = [(mark.x, mark.y) for mark in found.marks]
    points = (first, second, third)
    for (p, q), (s, t) in zip(
        itertools.combinations(spots, 2), itertools.combinations(points, 2), strict=True
    ):
        assert math.dist(p, q) == pytest.approx(float(np.linalg.norm(s - t)), rel=1e-9)
    assert found.x[0] < min(a for a, _ in spots) < max(a for a, _ in spots) < found.x[-1]
    assert found.y[0] < 0 < spots[2][1] < found.y[-1]


def test_networks_are_mixed_by_their_shares_of_the_corners_moving_averages_too() -> None:
    model = network(0)
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.randint(3, (30,))
    states: dict[str, State] = {}
    for seed, name in enumerate(("one", "two", "three"), start=1):
        other = network(seed)
        other(torch.randn(50, 4, dtype=torch.float64) * seed)
        states[name] = copy.deepcopy(other.state_dict())
    before = state_digest(model)
    found = plane_through(model, CROSS_ENTROPY, [(x, y)], states, points=4)
    assert state_digest(model) == before
    assert [mark.name for mark in found.marks] == ["one", "two", "three"]
    twin = network(0).eval()
    corners = np.array([[mark.x, mark.y, 1] for mark in found.marks]).T
    for b, row in zip(found.y, found.losses, strict=True):
        for a, loss in zip(found.x, row, strict=True):
            shares = np.linalg.solve(corners, np.array([a, b, 1]))
            mixed = {
                name: sum(
                    share * state[name]
                    for share, state in zip(shares, states.values(), strict=True)
                )
                for name in states["one"]
                if states["one"][name].is_floating_point()
            }
            twin.load_state_dict({**states["one"], **mixed})
            expected = CROSS_ENTROPY(twin(x), y).item()
            assert loss == pytest.approx(expected, rel=1e-9, nan_ok=True)
    for mark, state in zip(found.marks, states.values(), strict=True):
        twin.load_state_dict(state)
        assert mark.loss == pytest.approx(CROSS_ENTROPY(twin(x), y).item(), rel=CLOSE)


def test_numbered_where_nobody_names_them() -> None:
    model, x, y = linear()
    found = plane_through(model, MSE, (x, y), [at(0, 0), at(2, 0), at(0.5, 3)], points=3)
    assert [(mark.name, mark.x, mark.y) for mark in found.marks] == [
        ("1", 0, 0),
        ("2", 2, 0),
        ("3", 0.5, 3),
    ]
    assert found.labels == ("distance from 1 toward 2", "distance toward 3")
    assert not found.path
    names = [text.get_text() for text in found.figure().axes[0].texts]
    assert names == ["1", "2", "3"]


def test_the_path_of_a_training_has_names_and_the_losses_of_the_weights_themselves() -> None:
    model = network(0).eval()
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.randint(3, (30,))
    states = {f"step {seed}": copy.deepcopy(network(seed).state_dict()) for seed in range(1, 5)}
    found = trajectory_plane(model, CROSS_ENTROPY, (x, y), states, points=3)
    assert [mark.name for mark in found.marks] == list(states)
    assert [(mark.x, mark.y) for mark in found.marks] == list(found.path)
    for mark, state in zip(found.marks, states.values(), strict=True):
        model.load_state_dict(state)
        assert mark.loss == pytest.approx(CROSS_ENTROPY(model(x), y).item(), rel=CLOSE)
    data = found.to_dict()
    assert data["marks"][0]["name"] == "step 1"
    assert data["labels"] == ["first direction", "second direction"]


def test_how_far_a_parabola_reaches_is_known() -> None:
    places = tuple(k / 100 for k in range(-300, 301))
    line = LossLine(positions=places, losses=tuple(1 + p * p for p in places))
    assert line.centre == 1
    assert line.reach() == pytest.approx((1, 1), abs=0.01)
    assert line.reach(5) == pytest.approx((2, 2), abs=0.01)
    assert line.reach(11) == (math.inf, math.inf)
    steep = LossLine(positions=(-1.0, 0.0, 1.0, 2.0), losses=(math.inf, 1.0, 1.5, 2.5))
    assert steep.reach() == (1, 1.5)
    assert math.isnan(LossLine(positions=(0.5, 1.0), losses=(1.0, 2.0)).reach()[0])
    assert math.isnan(LossLine(positions=(0.0, 1.0), losses=(0.0, 2.0)).reach()[1])


def test_a_valley_reaches_farther_along_than_across() -> None:
    x = tuple(k / 20 for k in range(-40, 41))
    losses = tuple(tuple(1 + a * a + 16 * b * b for a in x) for b in x)
    found = LossPlane(x=x, y=x, losses=losses)
    assert found.reach() == pytest.approx((1, 1, 0.25, 0.25), abs=0.02)
    assert found.at(0.0, 1.0) == 17
    assert math.isnan(found.at(0.01, 0.0))
    assert found.lowest == pytest.approx((0, 0))
    assert found.at(*found.highest) == 69
    beside = LossPlane(x=(1.0, 2.0), y=x, losses=tuple((1.0, 2.0) for _ in x))
    assert all(math.isnan(distance) for distance in beside.reach())


def test_progress_counts_every_point() -> None:
    model, x, y = linear()
    seen: list[tuple[int, int]] = []

    def note(done: int, of: int) -> None:
        seen.append((done, of))

    loss_plane(model, MSE, (x, y), points=3, progress=note)
    assert seen == [(k, 9) for k in range(1, 10)]
    seen.clear()
    loss_line(model, MSE, (x, y), points=4, progress=note)
    interpolation(model, MSE, (x, y), at(0, 0), at(1, 1), points=5, progress=note)
    assert seen[:4] == [(k, 4) for k in range(1, 5)]
    assert seen[-1] == (5, 5)


def test_marks_are_written_where_they_are() -> None:
    marks = tuple(PlaneMark(name=str(k), x=k / 10, y=0.5, loss=1.0) for k in range(10))
    plane = LossPlane(x=(0.0, 1.0), y=(0.0, 1.0), losses=((1.0, 2.0), (3.0, 4.0)), marks=marks)
    texts = plane.figure().axes[0].texts
    assert [text.get_text() for text in texts] == ["0", "9"]  # many are named at both ends alone


MODEL = nn.Linear(1, 1).double()
BATCH = (torch.ones(3, 1).double(), torch.zeros(3, 1).double())
BAD: list[tuple[Any, dict[str, Any], str]] = [
    ([at(0, 0), at(1, 1)], {}, "`states` must be three state dicts; got 2"),
    ([at(0, 0), at(1, 1), at(2, 2)], {}, "`states` must not lie on one line"),
    ([at(0, 0), at(0, 0), at(2, 1)], {}, "`states` must not lie on one line"),
    ([at(0, 0), at(1, 0), {}], {}, "`states` must have all .* got none for"),
    ([at(0, 0), at(1, 0), at(0, 1)], {"margin": -0.5}, "`margin` must be 0 or more; got -0.5"),
    ([at(0, 0), at(1, 0), at(0, 1)], {"points": 1}, "`points` must be at least 2; got 1"),
    ([at(0, 0), at(1, 0), at(0, 1)], {"mode": "test"}, "`mode` must be 'eval' or 'train'"),
]


@pytest.mark.parametrize(("states", "change", "message"), BAD)
def test_wrong_arguments_are_refused(states: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"plane_through: {message}"):
        plane_through(MODEL, MSE, BATCH, states, **change)
