"""Pictures of the error surface: every cell is the loss there, directions have their lengths."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.doctor import (
    LossLine,
    LossPlane,
    interpolation,
    loss_line,
    loss_plane,
    random_direction,
    trajectory_plane,
)
from fitwell.nn import CNN

MSE = nn.MSELoss()
CROSS_ENTROPY = nn.CrossEntropyLoss()


def line_model() -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(20, 1, dtype=torch.float64)
    return nn.Linear(1, 1).double(), x, 2 * x + 1


def test_intro_03_the_grid_of_a_linear_model_equals_brute_force() -> None:
    model, x, y = line_model()
    first = {"weight": torch.ones(1, 1).double()}
    second = {"bias": torch.ones(1).double()}
    batches = [(x[:15], y[:15]), (x[15:], y[15:])]
    found = loss_plane(model, MSE, batches, first, second, span=2, points=9)
    w, b = model.weight.item(), model.bias.item()
    for row, dy in enumerate(np.linspace(-2, 2, 9)):
        for column, dx in enumerate(np.linspace(-2, 2, 9)):
            answers = (w + dx) * x.numpy() + (b + dy)
            expected = ((answers - y.numpy()) ** 2).mean()
            assert found.losses[row][column] == pytest.approx(expected, abs=1e-12)
    assert (found.x, found.y) == (found.y, tuple(np.linspace(-2, 2, 9)))


def trained() -> tuple[nn.Module, Tensor, Tensor, list[dict[str, Tensor]]]:
    torch.manual_seed(0)
    x = torch.randn(60, 4)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    states = []
    for step in range(200):
        if step % 20 == 0:
            states.append(copy.deepcopy(model.state_dict()))
        optimizer.zero_grad()
        CROSS_ENTROPY(model(x), y).backward()
        optimizer.step()
    return model, x, y, [*states, copy.deepcopy(model.state_dict())]


def test_intro_03_a_trained_network_stands_in_the_lowest_cell() -> None:
    model, x, y, _ = trained()
    for seed in range(2):
        found = loss_plane(model, CROSS_ENTROPY, (x, y), points=7, seed=seed)
        assert found.lowest == (0, 0)
        line = loss_line(model, CROSS_ENTROPY, (x, y), points=9, seed=seed)
        assert line.lowest == 0


def test_each_filter_of_the_direction_is_as_long_as_that_of_the_network() -> None:
    model = CNN(1, 3, widths=(4, 6))
    direction = random_direction(model, seed=1)
    again = random_direction(model, seed=1)
    for name, weight in model.named_parameters():
        assert torch.equal(direction[name], again[name])
        if weight.dim() < 2:
            assert not direction[name].any()
        else:
            torch.testing.assert_close(
                direction[name].flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1)
            )
    by_layer = random_direction(model, scale="layer")
    plain = random_direction(model, scale="none")
    for name, weight in model.named_parameters():
        if weight.dim() >= 2:
            assert by_layer[name].norm().item() == pytest.approx(weight.norm().item(), rel=1e-5)
        else:
            assert plain[name].any()


def test_networks_that_differ_by_scales_alone_have_one_picture() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-14), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(16, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False)),
    ).double()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        scale = torch.tensor([10.0, 0.1, 3.0, 1.0]).double()
        twin[0].weight.mul_(scale.view(-1, 1, 1, 1))  # undone by batch norm
        twin[4].weight.mul_(7)
        twin[6].weight.div_(7)
    batch = (torch.randn(30, 1, 4, 4).double(), torch.randint(3, (30,)))
    one, other = (
        loss_line(m, CROSS_ENTROPY, batch, points=7, mode="train", seed=2) for m in (model, twin)
    )
    assert one.losses == pytest.approx(other.losses, rel=1e-9)
    plain = [
        loss_line(
            m, CROSS_ENTROPY, batch, random_direction(m, scale="none"), points=7, mode="train"
        )
        for m in (model, twin)
    ]
    assert plain[0].losses != pytest.approx(plain[1].losses, rel=1e-2)


def test_every_point_of_a_line_is_the_loss_there() -> None:
    model, x, y, _ = trained()
    direction = random_direction(model, seed=5)
    found = loss_line(model, CROSS_ENTROPY, (x, y), direction, low=-0.5, high=1.5, points=5)
    twin = copy.deepcopy(model)
    for position, loss in zip(found.positions, found.losses, strict=True):
        for (name, p), own in zip(twin.named_parameters(), model.parameters(), strict=True):
            p.data = own.detach() + position * direction[name]
        assert loss == pytest.approx(CROSS_ENTROPY(twin(x), y).item(), rel=1e-6)
    assert found.positions == (-0.5, 0.0, 0.5, 1.0, 1.5)


def test_interpolation_passes_both_ends_and_moving_averages() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(30, 4), torch.randint(3, (30,))
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    states = []
    for _ in range(2):
        for p in model.parameters():
            nn.init.normal_(p)
        model.train()
        for _ in range(5):
            model(x)
        states.append(copy.deepcopy(model.state_dict()))
    found = interpolation(model, CROSS_ENTROPY, (x, y), *states, points=4)
    assert found.positions == pytest.approx((-0.5, 0, 1 / 6, 5 / 6, 1, 1.5))
    model.eval()
    for position, loss in zip(found.positions, found.losses, strict=True):
        mixed = {
            name: t + position * (states[1][name] - t) if t.is_floating_point() else t
            for name, t in states[0].items()
        }
        model.load_state_dict(mixed)
        expected = CROSS_ENTROPY(model(x), y).item()
        assert loss == pytest.approx(expected, rel=1e-4, nan_ok=True)


def test_networks_with_permuted_units_are_parted_by_a_barrier() -> None:
    model, x, y, states = trained()
    order = torch.arange(16).roll(5)
    twin = dict(states[-1])
    twin["0.weight"], twin["0.bias"] = twin["0.weight"][order], twin["0.bias"][order]
    twin["2.weight"] = twin["2.weight"][:, order]
    apart = interpolation(model, CROSS_ENTROPY, (x, y), states[-1], twin, points=9)
    at = dict(zip(apart.positions, apart.losses, strict=True))
    assert at[0.0] == pytest.approx(at[1.0], rel=1e-5)
    assert apart.barrier > 0.1
    near = interpolation(model, CROSS_ENTROPY, (x, y), states[-2], states[-1], points=9)
    assert near.barrier < 0.01


def test_a_path_in_a_plane_lies_in_it() -> None:
    model, x, y = line_model()
    path = [(-1.0, 2.0), (0.0, 1.5), (1.0, 1.2), (2.0, 1.0)]
    states = [
        {"weight": torch.tensor([[w]]).double(), "bias": torch.tensor([b]).double()}
        for w, b in path
    ]
    found = trajectory_plane(model, MSE, (x, y), states, points=5)
    assert sum(found.explained) == pytest.approx(1)
    assert found.path[-1] == pytest.approx((0, 0), abs=1e-12)
    lengths = [math.dist(a, b) for a, b in itertools.pairwise(found.path)]
    assert lengths == pytest.approx([math.dist(a, b) for a, b in itertools.pairwise(path)])
    singular = np.linalg.svd(np.array(path) - np.array(path[-1]))[1]
    assert found.explained == pytest.approx(singular**2 / (singular**2).sum())


def test_the_path_of_a_training_goes_down_on_its_plane() -> None:
    model, x, y, states = trained()
    found = trajectory_plane(model, CROSS_ENTROPY, (x, y), states, points=9)
    assert len(found.path) == len(states)
    assert sum(found.explained) > 0.8
    assert found.x[0] < min(a for a, _ in found.path) < max(a for a, _ in found.path) < found.x[-1]
    figure = found.figure()
    assert "of the path" in figure.axes[0].get_xlabel()


def test_infinite_losses_stay_in_the_picture_as_holes() -> None:
    class Log(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(super().forward(x))

    model = Log(1, 1)
    nn.init.constant_(model.weight, 1.0)
    nn.init.constant_(model.bias, 0.5)
    batch = (torch.ones(3, 1), torch.zeros(3, 1))
    direction = {"weight": torch.ones(1, 1)}
    line = loss_line(model, MSE, batch, direction, low=-3, high=1, points=5)
    assert [math.isfinite(v) for v in line.losses] == [False, False, True, True, True]
    assert line.lowest == -1 or line.lowest == 0
    plane = loss_plane(model, MSE, batch, direction, {"bias": torch.ones(1)}, span=3, points=5)
    assert math.isfinite(plane.losses[2][2])
    assert not math.isfinite(plane.losses[0][0])
    plane.figure()
    nothing = LossPlane(x=(0.0, 1.0), y=(0.0,), losses=((math.nan, math.inf),))
    assert math.isnan(nothing.lowest[0])


def test_results_are_plain_data_and_pictures() -> None:
    line = LossLine(positions=(-1.0, 0.0, 0.5, 1.0, 2.0), losses=(3.0, 1.0, 4.0, 2.0, 5.0))
    assert line.barrier == pytest.approx(2.5)
    assert math.isnan(LossLine(positions=(0.2, 0.8), losses=(1.0, 2.0)).barrier)
    assert line.to_dict()["losses"][2] == 4
    assert len(line.figure().axes[0].lines) == 3
    flat = LossPlane(x=(0.0, 1.0), y=(0.0, 1.0), losses=((0.0, 1.0), (2.0, -1.0)))
    assert flat.lowest == (1, 1)
    assert flat.to_dict()["y"] == [0, 1]
    assert len(flat.figure().axes) == 2


MODEL = nn.Linear(2, 2)
BATCH = (torch.ones(3, 2), torch.zeros(3, dtype=torch.long))
STATE = MODEL.state_dict()
BAD: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    (loss_line, (), {"points": 1}, "loss_line: `points` must be at least 2; got 1"),
    (loss_line, (), {"low": 1.0}, "the ends must be finite and ascending; got 1.0 and 1.0"),
    (loss_line, ({"w": torch.ones(2)},), {}, r"`direction` must fit .* got the names \['w'\]"),
    (loss_line, ({"weight": torch.ones(3)},), {}, r"got the shapes {'weight': \(3,\)}"),
    (loss_plane, (), {"span": math.inf}, "the ends must be finite"),
    (loss_plane, (STATE, {"w": torch.ones(2)}), {}, "`second` must fit"),
    (interpolation, (STATE, {}), {}, r"`end` must have all .* got none for \['bias', 'weight'\]"),
    (trajectory_plane, ([STATE] * 2,), {}, "three or more state dicts; got 2"),
    (trajectory_plane, ([STATE] * 3,), {}, "`trajectory` must move; got equal weights"),
    (trajectory_plane, ([STATE] * 3,), {"margin": -1.0}, "`margin` must be 0 or more; got -1.0"),
]


@pytest.mark.parametrize(("function", "more", "change", "message"), BAD)
def test_wrong_arguments_are_refused(
    function: Any, more: tuple[Any, ...], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        function(MODEL, CROSS_ENTROPY, BATCH, *more, **change)


def test_wrong_directions_are_refused() -> None:
    with pytest.raises(UsageError, match="`scale` must be 'filter', 'layer' or 'none'; got 'row'"):
        random_direction(MODEL, scale="row")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="must have a trainable parameter; got none"):
        random_direction(nn.Identity())
