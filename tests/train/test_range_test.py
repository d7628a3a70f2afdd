"""The range test sees what a training bears, and leaves no trace."""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import TrainingError, UsageError
from fitwell.optim import SGD, Adam, AdamW
from fitwell.train import RateRange, lr_range_test

from .problems import batches, network, objective, same_weights, weights_of


def literal(
    model: nn.Module, lr: list[float], data: Any, smoothing: float, stop_at: float
) -> tuple[list[float], list[float]]:
    """The algorithm of torch-lr-finder on our problem: its curve of rates and losses."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr[0])
    history: list[float] = []
    best = math.inf
    source: Iterator[Any] = iter(data)
    for number, rate in enumerate(lr):
        optimizer.param_groups[0]["lr"] = rate
        try:
            inputs, targets = next(source)
        except StopIteration:
            source = iter(data)
            inputs, targets = next(source)
        model.train()
        optimizer.zero_grad()
        out = torch.nn.functional.cross_entropy(model(inputs), targets)
        out.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss = out.item()
        if number > 0:
            loss = smoothing * loss + (1 - smoothing) * history[-1]
        best = min(best, loss)
        history.append(loss)
        if loss > stop_at * best:
            break
    return lr[: len(history)], history


@pytest.mark.parametrize("grow", ["exponential", "linear"])
@pytest.mark.parametrize(("smoothing", "stop_at"), [(0.05, 5.0), (0.3, 3.0), (1.0, 1.5)])
def test_opt_14_the_curve_equals_that_of_torch_lr_finder(
    grow: Any, smoothing: float, stop_at: float
) -> None:
    low, high, steps = 1e-5, 10.0, 90
    if grow == "linear":
        rates = [low + k / (steps - 1) * (high - low) for k in range(steps)]
    else:
        rates = [low * (high / low) ** (k / (steps - 1)) for k in range(steps)]
    expected = literal(network(), rates, batches(), smoothing, stop_at)
    model = network()
    found = lr_range_test(
        model, objective(), torch.optim.Adam(model.parameters()), batches(),
        low=low, high=high, steps=steps, grow=grow, smoothing=smoothing, stop_at=stop_at,
    )  # fmt: skip
    assert list(found.rates) == expected[0]
    assert list(found.smoothed) == pytest.approx(expected[1], rel=1e-12)
    assert found.diverged == (len(found.rates) < steps)


# Planted optima ----------------------------------------------------------------------------------


class Bowl(nn.Module):
    """A quadratic whose largest curvature, and with it the largest stable rate, is known."""

    def __init__(self, curvature: float, spread: float) -> None:
        super().__init__()
        scales = torch.logspace(-math.log10(spread), 0, 8, dtype=torch.float64)
        self.scales = curvature * scales
        self.place = nn.Parameter(torch.ones(8, dtype=torch.float64))


def bowl_loss(model: Any, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    return 0.5 * (model.scales * (model.place - noise) ** 2).sum(), {}


def noises(scale: float) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(8, generator=generator, dtype=torch.float64) for _ in range(64)]


CURVATURES = [3.0, 30.0, 200.0, 5e3]


@pytest.mark.parametrize("curvature", CURVATURES)
def test_opt_14_the_loss_rises_above_the_largest_stable_rate(curvature: float) -> None:
    model = Bowl(curvature, spread=1.0)
    optimizer = SGD(model.parameters(), momentum=0.0)
    found = lr_range_test(model, bowl_loss, optimizer, noises(0.0))
    falls = [after < before for before, after in itertools.pairwise(found.losses)]
    stable = [rate < 2 / curvature for rate in found.rates[:-1]]
    assert falls == stable
    assert not all(stable)


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("spread", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_opt_14_the_suggestion_is_in_the_decade_below_the_largest_stable_rate(
    curvature: float, spread: float, noise: float
) -> None:
    model = Bowl(curvature, spread)
    optimizer = SGD(model.parameters(), momentum=0.0)
    found = lr_range_test(model, bowl_loss, optimizer, noises(noise))
    assert found.diverged
    assert found.suggestion is not None
    assert found.range is not None
    assert 0.1 <= found.suggestion * curvature / 2 <= 1
    low, high = found.range
    assert low <= found.suggestion <= high


@pytest.mark.parametrize("curvature", CURVATURES)
def test_opt_14_the_range_holds_the_best_constant_rate(curvature: float) -> None:
    data = noises(0.1)
    model = Bowl(curvature, spread=10.0)
    found = lr_range_test(model, bowl_loss, SGD(model.parameters(), momentum=0.0), data)
    # Every constant rate at once, a row each, over the same data.
    rates = torch.logspace(-6, 1, 57, dtype=torch.float64)
    places = torch.ones(57, 8, dtype=torch.float64)
    for noise in data:
        places -= rates[:, None] * model.scales * (places - noise)
    ends = 0.5 * (model.scales * places**2).sum(dim=1)
    best = rates[ends.nan_to_num(math.inf).argmin()].item()
    assert found.range is not None
    assert found.suggestion is not None
    assert found.range[0] <= best <= found.range[1]
    assert 0.1 < best / found.suggestion < 10


# No trace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, torch.optim.NAdam])
@pytest.mark.parametrize("warm", [False, True])
def test_everything_is_put_back_bit_for_bit(kind: Any, warm: bool) -> None:
    model, data = network(dropout=0.2), batches()
    optimizer = kind(model.parameters(), lr=0.01)

    def steps(count: int) -> list[float]:
        losses = []
        for batch in itertools.islice(data, count):
            loss, _ = objective()(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return losses

    if warm:
        steps(3)
    model[0].eval()
    model[0].weight.grad = torch.full_like(model[0].weight, 0.5)
    before = copy.deepcopy(optimizer.state_dict()), weights_of(model), data.state_dict()
    numbers = torch.get_rng_state(), random.getstate(), np.random.get_state()
    lr_range_test(model, objective(), optimizer, data, steps=25)
    assert same_weights(before[1], weights_of(model))
    torch.testing.assert_close(optimizer.state_dict(), before[0], rtol=0, atol=0)
    assert all(
        torch.equal(one, other) if isinstance(one, Tensor) else one == other
        for one, other in zip(data.state_dict().values(), before[2].values(), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), numbers[0])
    assert random.getstate() == numbers[1]
    assert str(np.random.get_state()) == str(numbers[2])
    assert [part.training for part in model.modules()] == [True, False, True, True, True, True]
    assert torch.equal(model[0].weight.grad, torch.full_like(model[0].weight, 0.5))
    assert model[1].weight.grad is None


def test_training_after_the_test_is_that_without_it() -> None:
    ends = []
    for tested in (False, True):
        model, data = network(dropout=0.2), batches()
        optimizer = AdamW(model.parameters(), lr=0.01)
        torch.manual_seed(5)
        if tested:
            lr_range_test(model, objective(), optimizer, data, steps=15)
        for batch in itertools.chain(data, data):
            loss, _ = objective()(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        ends.append(weights_of(model))
    assert same_weights(*ends)


def test_all_is_put_back_when_it_fails() -> None:
    model = network()
    before = weights_of(model)

    def broken(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        if not same_weights(before, weights_of(model)):
            raise RuntimeError("enough")
        return objective()(model, batch)

    with pytest.raises(RuntimeError, match="enough"):
        lr_range_test(model, broken, SGD(model.parameters()), batches(), low=0.1)
    assert same_weights(before, weights_of(model))


# What else it does -------------------------------------------------------------------------------


def test_groups_keep_their_ratio() -> None:
    model = Bowl(1.0, 1.0)
    other = nn.Parameter(torch.ones(8, dtype=torch.float64))
    groups = [{"params": [model.place], "lr": 0.2}, {"params": [other], "lr": 0.02}]
    optimizer = torch.optim.SGD(groups)
    seen = []

    def both(model: Any, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append([group["lr"] for group in optimizer.param_groups])
        return bowl_loss(model, noise)[0] + other.square().sum(), {}

    found = lr_range_test(model, both, optimizer, noises(0.0), steps=20, high=1e-3)
    assert [first for first, _ in seen] == list(found.rates)
    assert [second / first for first, second in seen] == pytest.approx([0.1] * 20)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.02]


def test_a_test_that_ends_before_the_loss_falls_suggests_nothing() -> None:
    model = Bowl(1.0, 1.0)
    optimizer = SGD(model.parameters(), momentum=0.0)
    found = lr_range_test(model, bowl_loss, optimizer, noises(0.0), low=3.0)
    assert (found.suggestion, found.range, found.steepest) == (None, None, None)
    assert found.diverged
    assert "the loss never fell by more than by chance. Lower `low`; if" in str(found)


@pytest.mark.parametrize("smoothing", [0.05, 0.3, 1.0])
def test_noise_alone_suggests_nothing(smoothing: float) -> None:
    rates = tuple(1e-7 * 1.2**k for k in range(100))
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        losses = (torch.randn(100, generator=generator) + 2.3).tolist()
        smoothed = losses[:1]
        for loss in losses[1:]:
            smoothed.append(smoothing * loss + (1 - smoothing) * smoothed[-1])
        found = RateRange(
            rates=rates,
            losses=tuple(losses),
            smoothed=tuple(smoothed),
            smoothing=smoothing,
            diverged=False,
        )
        assert found.suggestion is None
        assert "Raise `high`, or take more `steps`" in str(found)


def test_it_stops_where_the_loss_is_no_number() -> None:
    model = Bowl(1.0, 1.0)
    count = itertools.count()

    def overflow(model: Any, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, logged = bowl_loss(model, noise)
        return (loss * math.nan if next(count) == 12 else loss), logged

    found = lr_range_test(model, overflow, SGD(model.parameters()), noises(0.0))
    assert found.diverged
    assert len(found.losses) == len(found.rates) == len(found.smoothed) == 12


def test_a_negative_loss_does_not_end_it() -> None:
    model = Bowl(1.0, 1.0)

    def shifted(model: Any, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return bowl_loss(model, noise)[0] - 100, {}

    optimizer = SGD(model.parameters(), momentum=0.0)
    found = lr_range_test(model, shifted, optimizer, noises(0.0), high=1.0, steps=30)
    assert not found.diverged
    assert len(found.rates) == 30


def test_the_result_explains_itself() -> None:
    model = network()
    found = lr_range_test(model, objective(), AdamW(model.parameters()), batches())
    assert found.range is not None
    assert found.suggestion is not None
    text = str(found)
    assert f"begin with {found.suggestion:.2g}" in text
    assert f"from {found.range[0]:.2g} to {found.range[1]:.2g}" in text
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["suggestion"] == found.suggestion
    assert plain["range"] == list(found.range)
    assert (
        RateRange(
            rates=tuple(plain["rates"]),
            losses=tuple(plain["losses"]),
            smoothed=tuple(plain["smoothed"]),
            smoothing=plain["smoothing"],
            diverged=plain["diverged"],
        )
        == found
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0.0}, "`low` and `high` must be 0 < low < high; got 0.0 and 10.0"),
        ({"low": 2.0, "high": 1.0}, "got 2.0 and 1.0"),
        ({"high": math.nan}, "`low` and `high` must be"),
        ({"steps": 9}, "`steps` must be at least 10, better 100; got 9"),
        ({"grow": "slowly"}, "`grow` must be 'exponential' or 'linear'; got 'slowly'"),
        ({"smoothing": 0.0}, "`smoothing` must lie above 0 and at most at 1; got 0.0"),
        ({"stop_at": 1.0}, "`stop_at` must be above 1; got 1.0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    model = network()
    with pytest.raises(UsageError, match=message):
        lr_range_test(model, objective(), SGD(model.parameters()), batches(), **arguments)


def test_no_batches_are_named() -> None:
    model = network()
    with pytest.raises(UsageError, match=r"`batches` must give at least one; got none\.$"):
        lr_range_test(model, objective(), SGD(model.parameters()), [])
    with pytest.raises(UsageError, match="They can be iterated only once"):
        lr_range_test(model, objective(), SGD(model.parameters()), iter(batches()))


def test_a_first_loss_that_is_no_number_is_named() -> None:
    model = network()
    model[0].weight.data.fill_(math.nan)
    with pytest.raises(TrainingError, match="the loss of the first batch is nan, before any step"):
        lr_range_test(model, objective(), SGD(model.parameters()), batches())
