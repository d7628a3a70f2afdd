"""Twins with a better way for the signal: ill networks are found, healthy ones left in peace."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.data import Batches
from fitwell.doctor import Twin, signal_path, state_digest
from fitwell.nn import MLP, Linear
from fitwell.train import Member

from .twin_problems import DIGITS, on_digits

training = partial(on_digits, epochs=12)


def begun(std: float, bias: float) -> Callable[[], nn.Module]:
    """Give a network whose first weights are what they should not be."""

    def make() -> nn.Module:
        model = MLP(64, 10, hidden=(32, 32))
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                nn.init.constant_(module.bias, bias)
        return model

    return make


def test_a_healthy_network_is_left_in_peace_and_as_it_was() -> None:
    build = training(lambda: MLP(64, 10, hidden=(48, 48)))
    before = state_digest()
    found = signal_path(build, stack=1)
    assert state_digest() == before
    assert found.found is False
    assert found.losses.keys() == {"as it is", "normalized", "with skips", "longer"}
    assert "no sigmoid or tanh" in found.not_tried["with ReLU"]
    assert "The signal path does not limit" in found.conclusion
    assert 0.1 < found.gradient_ratios["as it is"] < 10
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["best"] in found.losses
    found.figure().canvas.draw()


def test_in_a_deep_sigmoid_network_the_gradient_vanishes_and_each_twin_trains_better() -> None:
    found = signal_path(
        training(lambda: MLP(64, 10, hidden=(24,) * 5, activation="sigmoid"), epochs=8)
    )
    assert found.found is True
    assert found.interval[0] > 0
    assert found.gradient_ratios["as it is"] < 1e-2
    for name in ("normalized", "with skips", "with ReLU"):
        assert max(found.losses[name]) < min(found.losses["as it is"])
        assert found.gradient_ratios[name] > 10 * found.gradient_ratios["as it is"]
    assert found.not_tried == {}


def test_the_ratio_is_that_of_the_gradients() -> None:
    found = signal_path(training(lambda: MLP(64, 10, hidden=(16, 16)), epochs=1), seeds=2, stack=1)
    logs = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = MLP(64, 10, hidden=(16, 16))
        inputs, targets = next(iter(Batches(DIGITS, 20, shuffle=True, seed=seed)))
        nn.functional.cross_entropy(model(inputs), targets).backward()
        first, last = model.layers[0].weight.grad, model.layers[-1].weight.grad
        logs.append(math.log(float(first.norm() / last.norm())))
    assert found.gradient_ratios["as it is"] == pytest.approx(math.exp(sum(logs) / 2), rel=1e-4)


@pytest.mark.parametrize(("std", "bias"), [(3.0, 0.0), (0.1, -20.0)], ids=["large", "dead"])
def test_bad_first_weights_are_cured_by_normalization(std: float, bias: float) -> None:
    found = signal_path(training(begun(std, bias)), stack=1)
    assert found.found is True
    assert found.best == "normalized"
    assert "the network with normalization trains better" in found.conclusion
    assert ("without a gradient" in found.conclusion) is (bias < 0)


@pytest.mark.parametrize(
    ("epochs", "lr", "expected"), [(2, 0.005, None), (12, 5e-5, False)], ids=["short", "slow"]
)
def test_a_training_cut_short_or_too_slow_is_not_blamed_on_the_signal(
    epochs: int, lr: float, expected: bool | None
) -> None:
    build = training(lambda: MLP(64, 10, hidden=(48, 48)), epochs=epochs, lr=lr)
    found = signal_path(build, stack=1)
    assert found.found is expected
    still = "The loss is still falling: train longer, or ask `learning_rate`"
    assert (still in found.conclusion) is (expected is None)


class Backwards(nn.Module):
    """Layers that are made in another order than they are used in, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.first = nn.Linear(16, 10), nn.Linear(64, 16)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x.flatten(1))))


def test_layers_count_in_the_order_in_which_they_are_used() -> None:
    found = signal_path(training(Backwards, epochs=1), seeds=1, stack=1)
    torch.manual_seed(0)
    model = Backwards()
    inputs, targets = next(iter(Batches(DIGITS, 20, shuffle=True, seed=0)))
    nn.functional.cross_entropy(model(inputs), targets).backward()
    ratio = float(model.first.weight.grad.norm() / model.last.weight.grad.norm())
    assert found.gradient_ratios["as it is"] == pytest.approx(ratio, rel=1e-4)


def test_what_has_no_twin_is_refused() -> None:
    with pytest.raises(UsageError, match=r"signal_path: `build` must give a model of which a twin"):
        signal_path(training(lambda: Linear(64, 10)))

    def deaf(twin: Twin, seed: int) -> Member:
        return training(lambda: MLP(64, 10))(Twin(), seed)

    with pytest.raises(UsageError, match="must ask the twin for its model"):
        signal_path(deaf)
