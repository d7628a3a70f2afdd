"""The learning rate: too high, too low and right are told apart, and not blamed for others."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from fitwell.core.errors import TrainingError, UsageError
from fitwell.data import Batches, Examples, Schema
from fitwell.doctor import LearningRates, Twin, learning_rate, state_digest
from fitwell.doctor._twins._rivals import Start, bounded, rivals_of, winner
from fitwell.doctor._twins._twin import Build, Grown
from fitwell.train import Member, Supervised

DIMS = 12


def linear_data(count: int, seed: int, noise: float = 0.3, slope: float = 0.5) -> Examples:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, DIMS, generator=random)
    y = slope * x.sum(dim=1) + noise * torch.randn(count, generator=random)
    schema = Schema(kind="tensor", input_shape=(DIMS,), target_kind="number")
    return Examples(inputs=x, targets=y, schema=schema)


TRAIN, VALID = linear_data(192, 0), linear_data(200, 1)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.flatten() - targets).square().mean()


def build_with(
    lr: float = 0.05,
    *,
    size: int = 16,
    epochs: int = 8,
    train: Examples = TRAIN,
    valid: Examples | None = VALID,
    zero: bool = False,
) -> Build:
    def build(twin: Twin, seed: int) -> Member:
        torch.manual_seed(seed)
        model = nn.Linear(DIMS, 1)
        if zero:
            nn.init.zeros_(model.weight)
        return Member(
            model=model,
            objective=Supervised(squared),
            optimizer=torch.optim.SGD(model.parameters(), lr=twin.lr(lr)),
            train=Batches(twin.examples(train), twin.batch_size(size), shuffle=True, seed=seed),
            valid=None if valid is None else Batches(valid, 200),
            epochs=twin.epochs(epochs),
            seed=seed,
        )

    return build


def test_a_rate_that_is_right() -> None:
    before = state_digest(TRAIN, VALID)
    found = learning_rate(build_with(), stack=1)
    assert state_digest(TRAIN, VALID) == before
    assert (found.found, found.verdict) == (False, "right")
    assert (found.lr, found.epochs, found.whole_epochs) == (0.05, 2, 8)
    assert found.control == pytest.approx(0.09, rel=0.25)
    assert found.rivals[0].loss == found.control
    assert found.suggestion is not None
    assert found.suggestion_interval is not None
    assert 0.005 < found.suggestion < 0.2  # beyond 2 / (D + 2) = 0.14 steps of one row diverge
    assert found.suggestion_interval[0] <= found.suggestion <= found.suggestion_interval[1]
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["conclusion"] == str(found)
    assert found.figure().axes[0].get_ylabel() == "training loss after 2 epochs"


@pytest.mark.parametrize("lr", [5.0, 1e9])
def test_a_rate_that_is_a_hundred_times_too_high_or_more(lr: float) -> None:
    found = learning_rate(build_with(lr), stack=1)
    assert (found.found, found.verdict) == (True, "too high")
    assert found.best * lr < 0.14
    assert found.interval[1] < found.control
    assert found.control < 5  # that of the model before training: there is no worse
    found.figure()


def test_a_rate_that_is_a_thousand_times_too_low() -> None:
    found = learning_rate(build_with(5e-5), factors=(10.0,), stack=1)
    assert (found.found, found.verdict) == (True, "too low")
    assert found.best * found.lr == pytest.approx(found.suggestion)  # what the range test gave
    assert found.interval[1] < found.control
    assert "is too low" in str(found)


def test_without_held_out_examples_the_training_loss_decides() -> None:
    found = learning_rate(build_with(5e-5, valid=None), stack=1)
    assert found.verdict == "too low"
    assert math.isnan(found.rivals[0].held_out)
    assert "held-out" not in str(found)


def test_a_rate_that_learns_noise_faster_is_not_better() -> None:
    noise = linear_data(24, 0, 1.0, slope=0.0)
    build = build_with(1e-4, size=8, train=noise, valid=linear_data(200, 1, 1.0, 0.0), zero=True)
    found = learning_rate(build, factors=(300.0,), stack=1)
    assert min(rival.loss for rival in found.rivals) < 0.9 * found.control
    assert found.found is False


def test_a_network_that_no_rate_helps() -> None:
    plain = build_with()

    class Dead(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * super().forward(x)

    def build(twin: Twin, seed: int) -> Member:
        model = Dead(DIMS, 1)
        member = plain(twin, seed)
        return Member(
            model=model,
            objective=member.objective,
            optimizer=torch.optim.SGD(model.parameters(), lr=member.base_rates[0]),
            train=member.train,
            valid=member.valid,
            epochs=member.epochs,
        )

    found = learning_rate(build, seeds=2, stack=1)
    assert (found.found, found.verdict, found.suggestion) == (False, "none learns", None)
    assert found.suggestion_interval is None
    assert "is not the fault" in str(found)
    found.figure()


def test_one_seed_proves_nothing() -> None:
    found: LearningRates = learning_rate(build_with(5e-5), seeds=1, stack=1)
    assert found.found is None
    assert "Insufficient evidence" in str(found)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["found"] is None
    found.figure()


def test_one_seed_of_a_healthy_training_proves_nothing_either() -> None:
    found = learning_rate(build_with(), seeds=1, stack=1)
    assert (found.found, found.verdict) == (None, None)


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="`factors` must be positive with one that is not 1"):
        learning_rate(build_with(), factors=(1.0,))
    with pytest.raises(UsageError, match=r"`share` in \(0, 1\]"):
        learning_rate(build_with(), share=0.0)
    with pytest.raises(UsageError, match="must give a rate above 0"):
        learning_rate(build_with(0.0))
    with pytest.raises(UsageError, match=r"must ask the twin for its .*, or"):
        learning_rate(lambda twin, seed: build_with()(Twin(), seed))
    broken = linear_data(64, 0)
    broken.inputs[3, 0] = math.nan
    with pytest.raises(TrainingError, match="not finite before any step"):
        learning_rate(build_with(train=broken))


def grown(name: str, train: list[float], valid: list[float] | None = None) -> Grown:
    return Grown(
        name=name,
        parameters=1,
        train=tuple(train),
        valid=tuple({"loss": loss} for loss in valid) if valid else ({},) * len(train),
        curves=(),
        members=(),
    )


START = Start(train=(4.0,) * 4, valid=(5.0,) * 4)
OWN = grown("as it is", [1.0, 1.1, 0.9, 1.2], [1.4, 1.5, 1.3, 1.6])


def test_the_interval_of_a_rival_is_that_of_a_paired_t_test_of_logarithms() -> None:
    other = grown("other", [0.8, 0.8, 0.7, 0.9], [1.2, 1.2, 1.1, 1.3])
    own, found, again = rivals_of(OWN, [(2.0, other), (3.0, other)], START)
    ratios = np.log(np.array(other.train) / np.array(OWN.train))
    half = stats.t.ppf(1 - 0.025 / 2, 3) * stats.sem(ratios)
    expected = own.loss * np.exp([ratios.mean() - half, ratios.mean() + half])
    assert own.loss == pytest.approx(stats.gmean(OWN.train))
    assert own.interval == (own.loss, own.loss)
    assert found.interval == pytest.approx(tuple(expected), rel=1e-6)
    assert found.held_out == pytest.approx(stats.gmean([1.2, 1.2, 1.1, 1.3]))
    assert found.better is True
    assert (again.factor, again.loss) == (3.0, found.loss)


def test_losses_below_0_are_compared_as_they_are() -> None:
    own = grown("as it is", [-1.0, -1.2, -1.1, -0.9])
    lower = grown("lower", [-2.0, -2.1, -2.2, -1.9])
    _, found = rivals_of(own, [(2.0, lower)], Start(train=(4.0,) * 4, valid=(math.inf,) * 4))
    gains = np.array(own.train) - np.array(lower.train)
    half = stats.t.ppf(0.975, 3) * stats.sem(gains)
    assert found.interval == pytest.approx((-2.05 - half, -2.05 + half))


@pytest.mark.parametrize(
    ("train", "valid", "better"),
    [
        ([0.99, 1.08, 0.88, 1.18], [1.2, 1.3, 1.1, 1.4], False),  # too little
        ([0.8, 0.9, 0.7, 1.0], [1.39, 1.49, 1.31, 1.6], False),  # not on held-out examples
        ([0.3, 1.4, 0.9, 0.5], [1.2, 1.3, 1.1, 1.4], None),  # not for sure
        ([0.8, 0.9, 0.7, 1.0], [0.4, 1.9, 0.9, 1.7], None),  # not for sure on held-out examples
        ([0.8, 0.9, 0.7, 1.0], [1.2, 1.3, 1.1, 1.4], True),
        ([math.inf, 1e30, 0.7, 1.0], [math.nan, 1e30, 1.1, 1.4], None),  # lost by half of the seeds
        ([math.inf, 1e30, 7.0, 1.3], [math.nan, 1e30, 1.1, 1.4], False),  # lost, and never better
    ],
)
def test_a_rival_must_be_better_on_both_by_a_margin(
    train: list[float], valid: list[float], better: bool | None
) -> None:
    assert rivals_of(OWN, [(2.0, grown("other", train, valid))], START)[1].better is better


def test_what_ends_above_its_beginning_counts_as_that() -> None:
    assert bounded([0.5, 7.0, math.inf, math.nan], [1.0, 2.0, 3.0, 4.0]) == [0.5, 2.0, 3.0, 4.0]


def test_the_winner_is_better_first_and_lowest_then() -> None:
    small = grown("unsure", [0.1, 1.4, 0.9, 0.1], [1.2, 1.3, 1.1, 1.4])
    sure = grown("sure", [0.8, 0.9, 0.7, 1.0], [1.2, 1.3, 1.1, 1.4])
    surer = grown("surer", [0.7, 0.8, 0.6, 0.9], [1.2, 1.3, 1.1, 1.4])
    _, *rivals = rivals_of(OWN, [(2.0, small), (3.0, sure), (4.0, surer)], START)
    assert winner(rivals).name == "surer"
    assert winner(rivals[:1]).name == "unsure"
