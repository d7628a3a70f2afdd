"""Every point of functions that are known is classified right, and the ways out lead down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.doctor import CriticalPoint, Curvature, critical_point, extreme_eigenvalues


class Of(nn.Module):
    """A function of weights alone, at a point."""

    def __init__(self, function: Callable[[Tensor], Tensor], point: list[float]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.tensor(point, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.w).expand(len(x))


def mean(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


NOTHING = (torch.zeros(1, 1), torch.zeros(1))


def at(function: Callable[[Tensor], Tensor], point: list[float], **options: Any) -> CriticalPoint:
    return critical_point(Of(function, point), mean, NOTHING, **options)


def himmelblau(w: Tensor) -> Tensor:
    x, y = w
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


HIMMELBLAU = [
    ((3.0, 2.0), "minimum"),
    ((-3.779310253377747, -3.283185991286170), "minimum"),
    ((-2.805118086952745, 3.131312518250573), "minimum"),
    ((3.584428340330492, -1.848126526964404), "minimum"),
    ((-3.073025750764274, -0.081353044287577), "saddle"),
    ((-0.127961346730785, -1.953714980244545), "saddle"),
    ((0.086677504555246, 2.884254701174932), "saddle"),
    ((3.385154183607017, 0.073851879837668), "saddle"),
    ((-0.270844590667420, -0.923038555964230), "maximum"),
]


@pytest.mark.parametrize(("point", "verdict"), HIMMELBLAU)
@pytest.mark.parametrize("exact_up_to", [500, 0])
def test_tune_18_all_nine_points_of_a_known_function(
    point: tuple[float, float], verdict: str, exact_up_to: int
) -> None:
    found = at(himmelblau, list(point), exact_up_to=exact_up_to)
    assert found.gradient_norm < 1e-7
    assert found.verdict == verdict
    if exact_up_to:  # the ratio of two eigenvalues cannot be estimated
        by_ratio = "like a minimum" if verdict == "minimum" else "saddle point"
        assert found.course_verdict == by_ratio
    assert found.settled
    if verdict == "saddle":
        assert found.escape is not None
        assert found.escape.after < found.loss


@pytest.mark.parametrize(
    ("function", "point", "verdict"),
    [
        (lambda w: w[0] ** 2 - w[1] ** 2, [0.0, 0.0], "saddle"),
        (lambda w: w[0] ** 3 - 3 * w[0] * w[1] ** 2, [0.0, 0.0], "plateau"),
        (lambda w: w[0] ** 4 + w[1] ** 4 + 1, [0.0, 0.0], "plateau"),
        (lambda w: 2.3 + 0 * w.sum(), [1.0, 1.0], "plateau"),
        (lambda w: 2.3 + 1e-9 * (w[0] ** 2 - w[1] ** 2), [0.0, 0.0], "plateau"),
        (lambda w: (w**2).sum(), [0.0, 0.0, 0.0], "minimum"),
        (lambda w: w[0] ** 2 + 0 * w[1], [0.0, 5.0], "minimum"),
        (lambda w: -torch.cosh(w).sum(), [0.0, 0.0], "maximum"),
        (lambda w: (w[0] - 3) ** 2, [1.0], "moving"),
        (lambda w: torch.cos(w[0]), [0.3], "moving"),
        (lambda w: 1e-8 * (w[0] - 3) ** 2, [1.0], "moving"),
    ],
)
def test_tune_18_other_points_that_are_known(
    function: Callable[[Tensor], Tensor], point: list[float], verdict: str
) -> None:
    assert at(function, point).verdict == verdict


def test_a_gradient_that_is_small_by_its_scale_alone_does_not_pass_for_zero() -> None:
    found = at(lambda w: 1e-8 * (w[0] - 3) ** 2, [1.0])
    assert found.gradient_norm < 1e-3
    assert found.course_verdict == "like a minimum"
    assert found.verdict == "moving"
    assert found.downhill.gain == pytest.approx(1)
    assert "stuck is not the same as having no gradient" in str(found)


def toy(w: Tensor) -> Tensor:
    return (1 - w[0] * w[1]) ** 2


def test_tune_20_the_net_of_two_weights() -> None:
    found = at(toy, [0.0, 0.0])
    matrix = Curvature(Of(toy, [0.0, 0.0]), mean, NOTHING).matrix()
    assert torch.equal(matrix, torch.tensor([[0.0, -2.0], [-2.0, 0.0]], dtype=torch.float64))
    assert (found.largest[0], found.smallest[0]) == pytest.approx((2, -2), abs=1e-12)
    assert found.minimum_ratio == 0.5
    assert (found.verdict, found.course_verdict) == ("saddle", "saddle point")
    assert at(toy, [1.0, 1.0]).verdict == "minimum"


def test_tune_21_a_step_from_the_toy_saddle_lowers_the_loss() -> None:
    model = Of(toy, [0.0, 0.0])
    found = critical_point(model, mean, NOTHING)
    escape = found.escape
    assert escape is not None
    direction = escape.weights["w"]
    assert direction[0] == pytest.approx(direction[1].item())  # along (1, 1) or (-1, -1)
    # Along it the toy is (1 - α² / 2)².
    for length, loss in zip(escape.lengths, escape.losses, strict=True):
        assert loss == pytest.approx((1 - length**2 / 2) ** 2, rel=1e-12)
    assert escape.after < escape.before == 1
    assert escape.predicted == pytest.approx(1 - escape.length**2)
    assert escape.gain == pytest.approx(escape.gain_by_curvature)
    assert not model.w.any()
    model.load_state_dict(dict(escape.weights), strict=False)
    assert toy(model.w).item() == escape.after


def test_tune_21_lanczos_finds_the_same_direction_among_many_weights() -> None:
    half = 50_000

    def many(w: Tensor) -> Tensor:
        return (1 - w[:half] @ w[half:]) ** 2

    model = Of(many, [0.0] * (2 * half))
    found = extreme_eigenvalues(
        Curvature(model, mean, NOTHING), largest=1, smallest=1, tolerance=1e-6
    )
    assert found.values == pytest.approx([2, -2])
    down = found.vectors[:, -1]
    torch.testing.assert_close(down[:half], down[half:], rtol=0, atol=1e-8)
    point = critical_point(model, mean, NOTHING, max_products=24)
    assert not point.exact
    assert point.verdict == "saddle"
    assert point.minimum_ratio == pytest.approx(0.5, abs=0.01)
    assert point.escape is not None
    assert point.escape.after < 0.5


def test_tune_21_the_saddle_of_a_network_with_tiny_weights() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 10)
    x -= x.mean(0)
    labels = (x[:, 0] > x[:, 0].median()).long()
    model = nn.Sequential(nn.Linear(10, 300), nn.Tanh(), nn.Linear(300, 2))
    for p in model.parameters():
        nn.init.normal_(p, std=1e-5)
    found = critical_point(model, nn.CrossEntropyLoss(), (x, labels), ends=2)
    assert not found.exact
    assert found.gradient_norm < 1e-3
    assert found.loss == pytest.approx(math.log(2), abs=1e-3)
    assert found.verdict == "saddle"
    escape = found.escape
    assert escape is not None
    assert escape.gain_by_curvature > 0.1
    model.load_state_dict(dict(escape.weights), strict=False)
    loss = nn.functional.cross_entropy(model(x), labels).item()
    assert loss == pytest.approx(escape.after)
    assert loss < found.loss


def test_exact_and_estimated_agree() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    batch = (torch.randn(50, 4).double(), torch.randint(3, (50,)))
    exact = critical_point(model, nn.CrossEntropyLoss(), batch)
    other = critical_point(model, nn.CrossEntropyLoss(), batch, exact_up_to=0, max_products=160)
    assert exact.exact
    assert not other.exact
    values = torch.linalg.eigvalsh(Curvature(model, nn.CrossEntropyLoss(), batch).matrix())
    assert exact.minimum_ratio == pytest.approx((values > 0).double().mean().item())
    assert exact.trace.value == pytest.approx(values.sum().item())
    flat = (values.abs() <= 0.01 * values.abs().max()).double().mean().item()
    assert exact.flat_ratio == pytest.approx(flat)
    assert other.largest == pytest.approx(exact.largest, rel=1e-3)
    assert other.smallest == pytest.approx(exact.smallest, abs=1e-3 * exact.largest[0])
    assert other.trace.value == pytest.approx(exact.trace.value, abs=4 * other.trace.error + 1e-9)
    assert other.minimum_ratio == pytest.approx(exact.minimum_ratio, abs=0.15)
    assert "about" in str(other)
    assert "about" not in str(exact)


def test_the_result_is_plain_data_and_a_picture() -> None:
    found = at(toy, [0.0, 0.0])
    data = found.to_dict()
    assert data["verdict"] == "saddle"
    assert data["escape"]["gain"] == found.escape.gain  # type: ignore[union-attr]
    assert "takes the loss from 1 to 0.25" in str(found)
    assert len(found.figure().axes) == 2
    healthy = at(himmelblau, [3.0, 2.0])
    assert len(healthy.figure().axes) == 1
    assert healthy.to_dict()["escape"] is None
    assert "No negative curvature was found" in str(healthy)


def test_steps_into_infinity_are_no_way_down() -> None:
    def walls(w: Tensor) -> Tensor:
        return w[0] ** 2 - w[1] ** 2 + torch.log(1 - w[1].abs())

    found = at(walls, [0.0, 0.0])
    assert found.escape is None or math.inf in found.escape.losses
    assert np.isfinite(found.loss)


@pytest.mark.parametrize("change", [{"ends": 0}, {"max_products": 20}])
def test_wrong_numbers_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="`ends` must be at least 1 and `max_products` at least 8"):
        at(toy, [0.0, 0.0], **change)
