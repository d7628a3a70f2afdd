"""Accuracy by angle and by scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.train import accuracy_by_angle, accuracy_by_scale
from fitwell.train._beside._poses import _posed


class Widest(nn.Module):
    """Class 0 where the image is wider than it is high, else class 1."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (x.amax((1, axis)).gt(0.5).sum(1).float() for axis in (3, 2))
        return torch.stack([columns, rows], dim=1)


class Bright(nn.Module):
    """Class 1 where the mean is above a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([self.threshold - mean, mean - self.threshold], dim=1)


def bars(count: int) -> list[tuple[Tensor, Tensor]]:
    """Lying bars, class 0, and standing ones, class 1, in two batches."""
    lying = torch.zeros(count, 1, 16, 16)
    lying[:, :, 7:9, 2:14] = 1
    return [
        (lying, torch.zeros(count, dtype=torch.long)),
        (lying.mT.contiguous(), torch.ones(count, dtype=torch.long)),
    ]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 7, 7)])
def test_cnn_16_quarter_turns_are_those_of_rot90(quarters: int, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, dtype=torch.float64)
    turned = _posed(x, 90 * quarters, 1.0, 0.0)
    torch.testing.assert_close(turned, torch.rot90(x, quarters, (2, 3)), rtol=1e-9, atol=1e-9)


def test_cnn_16_half_a_turn_of_a_long_image_and_the_fill_of_its_corners() -> None:
    x = torch.rand(2, 1, 4, 10, dtype=torch.float64)
    half = _posed(x, 180, 1.0, 0.3)
    torch.testing.assert_close(half, x.flip(2, 3), rtol=1e-9, atol=1e-9)
    # A quarter of it shows the middle square, and beside it the fill.
    quarter = _posed(x, 90, 1.0, 0.3)
    torch.testing.assert_close(quarter[..., 3:7], torch.rot90(x[..., 3:7], 1, (2, 3)))
    torch.testing.assert_close(quarter[..., :2], torch.full_like(quarter[..., :2], 0.3))


def test_cnn_16_doubling_shows_the_middle_and_halving_leaves_a_border() -> None:
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    middle = F.interpolate(x, scale_factor=2, mode="bilinear")[..., 4:12, 4:12]
    torch.testing.assert_close(_posed(x, 0, 2.0, 0.0), middle, rtol=1e-9, atol=1e-9)
    small = _posed(x, 0, 0.5, 0.7)
    torch.testing.assert_close(small[..., 2:6, 2:6], F.avg_pool2d(x, 2))
    assert bool((small[..., :2, :] == 0.7).all())


def test_cnn_16_accuracy_by_angle_is_what_is_known() -> None:
    model = Widest().train()
    found = accuracy_by_angle(model, bars(3), angles=(-90, -20, 0, 30, 60, 90, 180))
    assert found == {-90: 0, -20: 1, 0: 1, 30: 1, 60: 0, 90: 0, 180: 1}
    assert model.training


def test_cnn_16_accuracy_by_scale_is_what_is_known() -> None:
    full = torch.ones(4, 1, 8, 8)
    batches = [(full, torch.tensor([1, 1, 1, 0]))]
    # At half the scale a quarter of the image is left.
    found = accuracy_by_scale(Bright(0.3), batches, scales=(0.5, 1.0, 2.0))
    assert found == {0.5: 0.25, 1.0: 0.75, 2.0: 0.75}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy_by_angle(Widest(), bars(1), angles=()), "`angles` must hold at least"),
        (lambda: accuracy_by_scale(Widest(), bars(1), scales=()), "`scales` must hold at least"),
        (lambda: accuracy_by_scale(Widest(), bars(1), scales=(0.0,)), "must be above 0; got 0.0"),
        (lambda: accuracy_by_angle(Widest(), []), "`batches` must hold at least one image"),
        (
            lambda: accuracy_by_angle(Widest(), [(torch.rand(2, 5), torch.rand(2))]),
            r"must give images \(B, C, H, W\) and whole labels \(B,\); got \(2, 5\) and \(2,\)",
        ),
    ],
)
def test_what_cannot_be_posed_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
