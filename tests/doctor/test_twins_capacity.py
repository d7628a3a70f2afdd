"""Twins of other sizes: what limits the training loss is named, and nothing where nothing does."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.data import Batches
from fitwell.doctor import Build, Twin, capacity, state_digest
from fitwell.doctor._twins._capacity import _judged
from fitwell.doctor._twins._compare import Gain, capped, gain, ignorant_loss
from fitwell.doctor._twins._surgery import with_skips
from fitwell.nn import MLP, Linear
from fitwell.optim import SGD
from fitwell.train import Member, Supervised

from .twin_problems import DIGITS
from .twin_problems import on_digits as training


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
            epochs=twin.epochs(epochs),
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
    found = capacity(line(epochs), stack=1)
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
    found = capacity(deep(residual=False), stack=1)
    assert found.limit == "optimization"
    assert found.found is True
    assert found.interval[0] > 0
    assert min(found.losses["deeper"]) > max(found.losses["shallower"])
    assert min(found.losses["deeper"]) > 0.95 * math.log(10)
    assert "Optimization limits" in found.conclusion


def test_tune_02_with_ways_around_its_layers_the_deeper_network_trains_better() -> None:
    found = capacity(deep(residual=True), stack=1)
    assert found.limit != "optimization"
    assert sum(found.losses["deeper"]) < sum(found.losses["shallower"])
    assert max(found.losses["deeper"]) < 1


def test_a_bottleneck_is_model_bias() -> None:
    found = capacity(
        training(lambda: MLP(64, 10, hidden=(2,), activation="tanh"), lr=0.01), stack=1
    )
    assert found.limit == "bias"
    assert "the wider network trains better" in found.conclusion
    assert found.parameters["wider"] > found.parameters["as it is"]


def test_a_healthy_network_is_limited_by_neither_and_stays_as_it_was() -> None:
    build = training(lambda: MLP(64, 10, hidden=(48, 48)))
    calls: list[int] = []
    before = state_digest()
    found = capacity(build, watch=lambda population: calls.append(population.epoch), stack=1)
    assert state_digest() == before
    assert (found.limit, found.found) == ("neither", False)
    assert found.losses.keys() == {"as it is", "shallower", "deeper", "wider", "longer"}
    assert calls[-1] == 40
    for name, curve in found.curves.items():
        assert len(curve) == (40 if name == "longer" else 20)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["limit"] == "neither"
    labels = [text.get_text() for text in found.figure().axes[0].get_yticklabels()]
    assert labels[0] == f"as it is\n{found.parameters['as it is']:,} parameters"


def test_where_no_twin_learns_nothing_is_said_about_size() -> None:
    build = training(lambda: MLP(64, 10, hidden=(8,) * 6, activation="sigmoid"), epochs=1)
    found = capacity(build, stack=1)
    assert (found.limit, found.found) == ("unknown", None)
    assert "No twin learns anything: ask `signal_path`" in found.conclusion


def test_one_seed_says_nothing() -> None:
    found = capacity(training(lambda: Linear(64, 10), epochs=1), seeds=1, stack=1)
    assert (found.limit, found.found) == ("unknown", None)
    assert "Insufficient evidence" in str(found)


def judged(**losses: tuple[float, ...]) -> str:
    named = {"as it is": losses.pop("own"), **losses}
    return _judged(named, (2.0, 2.0, 2.0), 0.1, large=named["as it is"][0] > 0.1)[0]


def test_the_rule_on_numbers() -> None:
    own, same = (1.0, 1.01, 0.99), (1.01, 1.02, 0.98)
    better, worse = (0.5, 0.52, 0.49), (2.0, 2.1, 1.9)
    mixed = (0.3, 1.4, 0.6)
    assert judged(own=own, shallower=same, deeper=same, wider=same) == "neither"
    assert judged(own=own, shallower=worse, deeper=same, wider=better) == "bias"
    assert judged(own=own, shallower=better, deeper=better, wider=better) == "unknown"
    assert judged(own=own, shallower=better, deeper=worse, wider=same) == "optimization"
    assert judged(own=own, shallower=same, deeper=worse, wider=same) == "optimization"
    assert judged(own=own, shallower=same, deeper=worse, wider=better) == "bias"
    assert judged(own=own, shallower=same, deeper=(0.0, 1.0, 0.2), wider=better) == "bias"
    assert judged(own=own, shallower=same, deeper=mixed, wider=same) == "unknown"
    assert judged(own=own) == "unknown"
    small = (0.01, 0.02, 0.01)
    assert judged(own=small, shallower=small, deeper=worse, wider=small) == "neither"


def test_a_size_that_gains_no_more_than_a_longer_training_says_nothing() -> None:
    own, same, better = (1.0, 1.01, 0.99), (1.01, 1.02, 0.98), (0.5, 0.52, 0.49)
    sizes = {"own": own, "shallower": same, "deeper": same, "wider": better}
    assert judged(**sizes, longer=same) == "bias"
    assert judged(**sizes, longer=(0.9, 0.9, 0.89)) == "bias"  # gains less, and slows down
    assert judged(**sizes, longer=(0.5, 0.5, 0.5)) == "unknown"
    assert judged(**{**sizes, "wider": (0.1, 0.1, 0.1)}, longer=(0.5, 0.5, 0.5)) == "unknown"
    assert judged(own=own, shallower=same, deeper=same, wider=same, longer=better) == "neither"
    worse, fast = (2.0, 2.1, 1.9), (0.4, 0.4, 0.4)
    assert judged(own=own, shallower=same, deeper=worse, wider=same, longer=same) == "optimization"
    assert judged(own=own, shallower=same, deeper=worse, wider=same, longer=fast) == "unknown"


@pytest.mark.parametrize(("epochs", "lr"), [(2, 0.005), (20, 5e-5)], ids=["short", "slow"])
def test_a_training_cut_short_or_too_slow_is_not_blamed_on_size(epochs: int, lr: float) -> None:
    found = capacity(training(lambda: MLP(64, 10, hidden=(48, 48)), epochs=epochs, lr=lr), stack=1)
    assert (found.limit, found.found) == ("unknown", None)
    still = "The loss is still falling: train longer, or ask `learning_rate`"
    assert (still if lr > 1e-4 else "ask `signal_path`, and `learning_rate`") in found.conclusion


def test_without_epochs_there_is_no_longer_twin() -> None:
    def build(twin: Twin, seed: int) -> Member:
        return training(lambda: twin.model(MLP(64, 10, hidden=(8,))), epochs=1)(Twin(), seed)

    found = capacity(build, seeds=1, stack=1)
    assert set(found.not_tried) == {"longer", "shallower"}
    assert "Write twin.epochs(...)" in found.not_tried["longer"]


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

    found = capacity(build, stack=1)
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


def test_knowing_nothing_is_the_same_of_sorted_examples_and_of_sequences() -> None:
    order = DIGITS.targets.argsort()
    rows = DIGITS.select(order.tolist())
    counts = torch.bincount(DIGITS.targets).double() / len(DIGITS)
    entropy = float(-(counts * counts.log()).sum())

    def build(batches: Any) -> Build:
        def made(twin: Twin, seed: int) -> Member:
            member = training(lambda: Linear(64, 10))(twin, seed)
            member.train = batches
            return member

        return made

    assert ignorant_loss(build(Batches(rows, 10)), 0) == pytest.approx(entropy, rel=1e-3)
    many = list(Batches(rows, 1)) * 12
    assert ignorant_loss(build(many), 0) == pytest.approx(entropy, rel=0.02)
    ragged = [(torch.zeros(4, 64, n), torch.zeros(4, n)) for n in (3, 5)]
    assert ignorant_loss(build(ragged), 0) == 0.0


def test_a_loss_is_not_cut_below_that_before_training() -> None:
    assert capped((50.0, 3.0, math.nan), 2.3, (9.0, 8.0)) == (9.0, 3.0, 9.0)
    assert capped((50.0,), 2.3) == (4.6,)


def test_what_has_no_twin_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match=r"capacity: `build` must give a model of which a twin"):
        capacity(training(lambda: nn.Sequential(nn.Flatten(), nn.PReLU())))


def test_the_model_must_be_asked_for() -> None:
    def build(twin: Twin, seed: int) -> Member:
        return training(lambda: Linear(64, 10))(Twin(), seed)

    with pytest.raises(UsageError, match=r"capacity: `build` must ask the twin for its model"):
        capacity(build)
    with pytest.raises(UsageError, match="`seeds` must be at least 1; got 0"):
        capacity(training(lambda: Linear(64, 10)), seeds=0)
