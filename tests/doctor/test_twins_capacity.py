"""Twins of other sizes: what limits the training loss is named, and nothing where nothing does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.data import Batches, Examples, load_builtin
from fitwell.doctor import Build, Twin, capacity, state_digest
from fitwell.doctor._twins._capacity import _judged
from fitwell.doctor._twins._compare import Gain, gain, ignorant_loss
from fitwell.doctor._twins._surgery import with_skips
from fitwell.losses import CrossEntropy
from fitwell.nn import MLP, Linear
from fitwell.optim import SGD, Adam
from fitwell.train import Member, Supervised

DIGITS: Examples = load_builtin("digits").train.select(range(200))


def training(model: Callable[[], nn.Module], *, epochs: int = 20, lr: float = 0.005) -> Build:
    def build(twin: Twin, seed: int) -> Member:
        torch.manual_seed(seed)
        made = twin.model(model())
        return Member(
            model=made,
            objective=Supervised(CrossEntropy()),
            optimizer=Adam(made.parameters(), lr=lr),
            train=Batches(DIGITS, 20, shuffle=True, seed=seed),
            epochs=epochs,
            seed=seed,
        )

    return build


def bent() -> tuple[Tensor, Tensor]:
    """A line that turns twice."""
    x = torch.linspace(-1, 1, 81)[:, None]
    return x, 2 * (x + 0.5).clamp(min=0) - 4 * (x - 0.3).clamp(min=0)


def line(epochs: int) -> Build:
    x, y = bent()

    def build(twin: Twin, seed: int) -> Member:
        torch.manual_seed(seed)
        model = twin.model(nn.Linear(1, 1))
        return Member(
            model=model,
            objective=Supervised(F.mse_loss),
            optimizer=SGD(model.parameters(), lr=0.1, momentum=0.9),
            train=[(x, y)],
            epochs=epochs,
            seed=seed,
        )

    return build


@pytest.mark.parametrize("epochs", [150, 450])
def test_intro_07_a_line_through_a_bent_target_stays_at_its_residual_and_that_is_model_bias(
    epochs: int,
) -> None:
    x, y = bent()
    columns = torch.cat([x, torch.ones_like(x)], dim=1).double()
    solved = torch.linalg.lstsq(columns, y.double()).solution
    residual = float((columns @ solved - y).square().mean())
    found = capacity(line(epochs))
    assert found.losses["as it is"] == pytest.approx((residual,) * 3, rel=1e-4)
    assert found.limit == "bias"
    assert found.found is True
    assert max(found.losses["deeper"]) < residual / 2
    assert set(found.not_tried) == {"shallower", "wider"}
    assert "Model bias limits: the deeper network trains better" in found.conclusion


def deep(residual: bool) -> Build:
    inputs = torch.zeros(8, 1, 8, 8)

    def model() -> nn.Module:
        plain = MLP(64, 10, hidden=(32,) * 6, activation="sigmoid")
        return with_skips(plain, inputs) if residual else plain

    return training(model, epochs=16 if residual else 20)


def test_tune_02_a_deeper_plain_network_trains_worse_and_that_is_optimization() -> None:
    found = capacity(deep(residual=False))
    assert found.limit == "optimization"
    assert found.found is True
    assert found.interval[0] > 0
    assert min(found.losses["deeper"]) > max(found.losses["shallower"])
    assert min(found.losses["deeper"]) > 0.95 * math.log(10)
    assert "Optimization limits" in found.conclusion


def test_tune_02_with_ways_around_its_layers_the_deeper_network_trains_better() -> None:
    found = capacity(deep(residual=True))
    assert found.limit != "optimization"
    assert sum(found.losses["deeper"]) < sum(found.losses["shallower"])
    assert max(found.losses["deeper"]) < 1


def test_a_bottleneck_is_model_bias() -> None:
    found = capacity(training(lambda: MLP(64, 10, hidden=(2,), activation="tanh"), lr=0.01))
    assert found.limit == "bias"
    assert "the wider network trains better" in found.conclusion
    assert found.parameters["wider"] > found.parameters["as it is"]


def test_a_healthy_network_is_limited_by_neither_and_stays_as_it_was() -> None:
    build = training(lambda: MLP(64, 10, hidden=(48, 48)))
    calls: list[int] = []
    before = state_digest()
    found = capacity(build, watch=lambda population: calls.append(population.epoch))
    assert state_digest() == before
    assert (found.limit, found.found) == ("neither", False)
    assert found.losses.keys() == {"as it is", "shallower", "deeper", "wider"}
    assert calls[-1] == 20
    assert all(len(curve) == 20 for curve in found.curves.values())
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["limit"] == "neither"
    labels = [text.get_text() for text in found.figure().axes[0].get_yticklabels()]
    assert labels[0] == f"as it is\n{found.parameters['as it is']:,} parameters"


def test_where_no_twin_learns_nothing_is_said_about_size() -> None:
    build = training(lambda: MLP(64, 10, hidden=(8,) * 6, activation="sigmoid"), epochs=1)
    found = capacity(build)
    assert (found.limit, found.found) == ("unknown", None)
    assert "No twin learns anything: ask `signal_path`" in found.conclusion


def test_one_seed_says_nothing() -> None:
    found = capacity(training(lambda: Linear(64, 10), epochs=1), seeds=1)
    assert (found.limit, found.found) == ("unknown", None)
    assert "Insufficient evidence" in str(found)


def judged(**losses: tuple[float, ...]) -> str:
    named = {"as it is": losses.pop("own"), **losses}
    return _judged(named, 0.1, large=named["as it is"][0] > 0.1)[0]


def test_the_rule_on_numbers() -> None:
    own, same = (1.0, 1.01, 0.99), (1.01, 1.02, 0.98)
    better, worse = (0.5, 0.52, 0.49), (2.0, 2.1, 1.9)
    mixed = (0.3, 1.4, 0.6)
    assert judged(own=own, shallower=same, deeper=same, wider=same) == "neither"
    assert judged(own=own, shallower=worse, deeper=same, wider=better) == "bias"
    assert judged(own=own, shallower=better, deeper=better, wider=better) == "optimization"
    assert judged(own=own, shallower=same, deeper=worse, wider=better) == "optimization"
    assert judged(own=own, shallower=same, deeper=mixed, wider=same) == "unknown"
    assert judged(own=own) == "unknown"
    small = (0.01, 0.02, 0.01)
    assert judged(own=small, shallower=small, deeper=worse, wider=small) == "neither"


def test_a_gain_is_paired_and_needs_margin_and_interval() -> None:
    assert gain((1.0, 2.0, 3.0), (0.5, 1.5, 2.5), 0.4).counts is True
    assert gain((1.0, 2.0, 3.0), (0.5, 1.5, 2.5), 0.6).counts is False
    assert gain((1.0, 2.0, 3.0), (0.0, 2.1, 2.0), 0.4).counts is None
    assert isinstance(gain((1.0, 1.0), (1.0, 1.0), 0.1), Gain)


def test_a_training_that_is_lost_counts_as_worse_than_knowing_nothing() -> None:
    def build(twin: Twin, seed: int) -> Member:
        member = training(lambda: MLP(64, 10, hidden=(16, 16)), epochs=1)(twin, seed)
        if twin.name == "wider":
            member.optimizer.param_groups[0]["lr"] = member.base_rates[0] = 1e30
        return member

    found = capacity(build)
    assert found.losses["wider"] == (math.inf,) * 3
    assert math.isfinite(found.value)
    assert found.to_dict()["losses"]["wider"] == [None] * 3
    assert "wider inf" in found.conclusion
    found.figure().canvas.draw()


def test_knowing_nothing_loses_as_much_as_the_best_constant() -> None:
    y = bent()[1]
    assert ignorant_loss(line(1), 0) == pytest.approx(float(y.var(correction=0)), rel=1e-4)
    counts = torch.bincount(DIGITS.targets).double() / len(DIGITS)
    entropy = float(-(counts * counts.log()).sum())
    found = ignorant_loss(training(lambda: Linear(64, 10)), 0)
    assert found == pytest.approx(entropy, rel=1e-3)


def test_the_model_must_be_asked_for() -> None:
    def build(twin: Twin, seed: int) -> Member:
        return training(lambda: Linear(64, 10))(Twin(), seed)

    with pytest.raises(UsageError, match=r"capacity: `build` must ask the twin for its model"):
        capacity(build)
    with pytest.raises(UsageError, match="`seeds` must be at least 1; got 0"):
        capacity(training(lambda: Linear(64, 10)), seeds=0)
