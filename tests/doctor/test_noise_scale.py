"""The gradient noise scale: equal to closed forms on linear models, honest about its interval."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.core.errors import TrainingError, UsageError
from fitwell.doctor import gradient_noise_scale, state_digest
from fitwell.doctor._probes._noise_scale import estimate

from ..train.problems import batches, network

DIMS = 3
Pairs = list[tuple[Tensor, Tensor]]


def linear(count: int, size: int, deviation: float, seed: int = 0) -> Pairs:
    """Give batches of a linear law with weights of 1 and noise.

    At weights of 0 the gradient of a squared error is g = -2 y x, so that E g = -2 w and
    E |g|² = 4 (|w|² (D + 2) + s² D): the noise scale is (|w|² (D + 1) + s² D) / |w|² = 4 + s².
    """
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count * size, DIMS, generator=random)
    y = x.sum(dim=1, keepdim=True) + deviation * torch.randn(count * size, 1, generator=random)
    return list(zip(x.split(size), y.split(size), strict=True))


def untrained() -> nn.Linear:
    model = nn.Linear(DIMS, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


@pytest.mark.parametrize("deviation", [0.0, 2.0])
def test_it_is_that_of_a_linear_model_with_known_covariance(deviation: float) -> None:
    found = gradient_noise_scale(untrained(), F.mse_loss, linear(400, 32, deviation), most=400)
    assert found.signal == pytest.approx(4 * DIMS, rel=0.1)
    assert found.noise == pytest.approx(4 * DIMS * (4 + deviation**2), rel=0.1)
    assert found.value == pytest.approx(4 + deviation**2, rel=0.1)
    assert found.interval[0] < 4 + deviation**2 < found.interval[1]
    assert found.interval[1] < 1.4 * found.interval[0]


def test_noise_and_signal_are_those_of_the_batch_gradients() -> None:
    pairs = linear(6, 5, 1.0)
    gradients = np.array([(-2 * y * x).mean(dim=0).numpy() for x, y in pairs], dtype=np.float64)
    found = gradient_noise_scale(untrained(), F.mse_loss, pairs)
    assert found.noise == pytest.approx(5 * gradients.var(axis=0, ddof=1).sum(), rel=1e-4)
    products = gradients @ gradients.T
    between = (products.sum() - np.trace(products)) / (6 * 5)
    assert found.signal == pytest.approx(between, rel=1e-4)
    assert found.batches == 6


def test_the_interval_covers_the_truth_in_19_of_20() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(400):  # batches of 4 whose gradients have mean 1 and variance 8 / 4, per entry
        gradients = 1 + math.sqrt(2) * random.normal(size=(16, 20))
        products = gradients @ gradients.T
        _, _, (low, high) = estimate(products.diagonal().tolist(), products.sum(0).tolist(), 4)
        covered += low <= 8 <= high
        assert math.isfinite(high)
    assert 0.92 * 400 < covered < 0.98 * 400


def test_a_batch_far_above_near_and_far_below() -> None:
    model, pairs = untrained(), linear(64, 16, 2.0)
    sides = {
        size: gradient_noise_scale(model, F.mse_loss, pairs, most=64, batch_size=size)
        for size in (512, 8, None)
    }
    assert (sides[512].found, sides[512].side) == (True, "above")
    assert "wasted" in str(sides[512])
    assert (sides[8].found, sides[8].side) == (False, "near")
    assert (sides[None].found, sides[None].control) == (False, 16)
    noisy = gradient_noise_scale(model, F.mse_loss, linear(200, 32, 40.0), most=200, batch_size=1)
    assert (noisy.found, noisy.side) == (False, "below")
    plain = json.loads(json.dumps(noisy.to_dict(), allow_nan=False))
    assert plain["side"] == "below"
    assert sides[8].figure().axes[0].get_xscale() == "log"


def test_without_signal_there_is_no_upper_end() -> None:
    random = torch.Generator().manual_seed(3)
    pairs = [
        (torch.randn(8, DIMS, generator=random), torch.randn(8, 1, generator=random))
        for _ in range(16)
    ]
    found = gradient_noise_scale(untrained(), F.mse_loss, pairs)
    assert found.interval[1] == math.inf
    assert found.found is False
    huge = gradient_noise_scale(untrained(), F.mse_loss, pairs, batch_size=10**6)
    assert huge.found is None
    assert "Insufficient evidence" in str(huge)
    huge.figure()


def test_everything_stays_as_it_was() -> None:
    model, source = network(dropout=0.5), batches(16)
    before = state_digest(model, source)
    found = gradient_noise_scale(model, F.cross_entropy, source, most=7)
    assert found.batches == 6  # the short one is passed over
    assert state_digest(model, source) == before


def test_frozen_parameters_are_left_out_and_unused_ones_count_nothing() -> None:
    pairs = linear(16, 8, 1.0)
    plain = gradient_noise_scale(untrained(), F.mse_loss, pairs)

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.unused = untrained(), nn.Parameter(torch.ones(3))
            self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.frozen * self.inner(x)

    found = gradient_noise_scale(Beside(), F.mse_loss, pairs)
    assert found.value == pytest.approx(plain.value)


def test_wrong_arguments() -> None:
    pairs = linear(8, 4, 1.0)
    with pytest.raises(UsageError, match="`factor` must be above 1"):
        gradient_noise_scale(untrained(), F.mse_loss, pairs, factor=1.0)
    with pytest.raises(UsageError, match="at least 4 of the same size; got 3 of 4"):
        gradient_noise_scale(untrained(), F.mse_loss, pairs[:3])
    with pytest.raises(UsageError, match="must have parameters to train"):
        gradient_noise_scale(untrained().requires_grad_(False), F.mse_loss, pairs)
    with pytest.raises(UsageError, match="`loss` must depend on parameters"):
        gradient_noise_scale(untrained(), lambda o, t: F.mse_loss(o.detach(), t), pairs)
    pairs[1][0][0, 0] = math.nan
    with pytest.raises(TrainingError, match="gradient of batch 1 is not finite"):
        gradient_noise_scale(untrained(), F.mse_loss, pairs)


class Shifted(nn.Module):
    """A linear model behind batch normalization."""

    def __init__(self, *, running: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(DIMS, affine=False, eps=1e-12, track_running_stats=running)
        self.inner = untrained()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(self.norm(x))
        return found


def test_batch_norm_stands_still_at_the_statistics_of_all_batches() -> None:
    pairs = linear(16, 8, 1.0)
    found = gradient_noise_scale(Shifted(), F.mse_loss, pairs)
    mean = torch.stack([x.mean(0) for x, _ in pairs]).mean(0)
    variance = torch.stack([x.var(0) for x, _ in pairs]).mean(0)
    plain = [((x - mean) / variance.sqrt(), y) for x, y in pairs]
    expected = gradient_noise_scale(untrained(), F.mse_loss, plain)
    assert found.value == pytest.approx(expected.value, rel=1e-4)
    assert found.interval == pytest.approx(expected.interval, rel=1e-4)


def test_batch_norm_without_running_statistics_gives_no_verdict() -> None:
    found = gradient_noise_scale(Shifted(running=False), F.mse_loss, linear(16, 8, 1.0))
    assert found.found is None
    assert found.side is None
    assert "batch normalization without running statistics" in str(found)
