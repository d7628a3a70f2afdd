"""The spread over seeds: known distributions are found, and weighed against the held-out sample."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from fitwell.core.errors import TrainingError, UsageError
from fitwell.data import Batches, Examples, Schema
from fitwell.doctor import SeedSpread, Twin, seed_spread, state_digest
from fitwell.doctor._twins._seed_spread import deviation_interval, sampling_error
from fitwell.doctor._twins._twin import Build
from fitwell.metrics import Classification
from fitwell.train import Member, Supervised

from ..train.problems import examples, network


def numbers(count: int, seed: int = 0) -> Examples:
    x = torch.randn(count, 1, generator=torch.Generator().manual_seed(seed))
    schema = Schema(kind="tensor", input_shape=(1,), target_kind="number")
    return Examples(inputs=x, targets=x[:, 0], schema=schema)


VALID = numbers(400)


class Offset(nn.Module):
    """Adds a number to its inputs that is drawn from a normal distribution when it is made."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.offset = nn.Parameter(deviation * torch.randn(()))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] + self.offset


def mean_of(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


def drawing(deviation: float) -> Build:
    """Give trainings whose held-out loss is the mean of VALID plus a drawn number."""

    def build(twin: Twin, seed: int) -> Member:
        torch.manual_seed(seed)
        model = Offset(deviation)
        return Member(
            model=model,
            objective=Supervised(mean_of),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
            train=Batches(numbers(8), 8),
            valid=Batches(VALID, 64),
            seed=seed,
        )

    return build


def drawn(deviation: float, seeds: range) -> list[float]:
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        found.append(float(VALID.inputs.mean() + deviation * torch.randn(())))
    return found


def test_the_spread_is_that_of_the_scores() -> None:
    before = state_digest(VALID)
    found = seed_spread(drawing(0.5), seeds=6, seed=3, stack=1)
    assert state_digest(VALID) == before
    expected = drawn(0.5, range(3, 9))
    assert found.scores == pytest.approx(expected, abs=1e-5)
    assert found.value == pytest.approx(stdev(expected), rel=1e-4)
    assert found.mean == pytest.approx(fmean(expected), rel=1e-4)
    assert found.mean_interval == pytest.approx(
        stats.t.interval(0.95, 5, fmean(expected), stats.sem(expected)), rel=1e-3
    )
    assert found.interval[0] < found.value < found.interval[1]
    assert found.least_difference == pytest.approx(
        stats.t.ppf(0.975, 5) * stdev(expected) * math.sqrt(2), rel=1e-4
    )


def test_the_control_is_the_standard_error_of_the_held_out_mean() -> None:
    member = drawing(0.5)(Twin(), 0)
    exact = float(VALID.inputs.std()) / math.sqrt(len(VALID))
    assert sampling_error(member, "loss") == pytest.approx(exact, rel=0.2)  # of 100 parts
    member.valid = Batches(VALID.select(range(80)), 64)  # whose parts are single examples
    exact = float(VALID.inputs[:80].std()) / math.sqrt(80)
    assert sampling_error(member, "loss") == pytest.approx(exact, rel=1e-4)
    pairs = [(x[None], y[None]) for x, y in zip(VALID.inputs[:80], VALID.targets[:80], strict=True)]
    member.valid = pairs
    assert sampling_error(member, "loss") == pytest.approx(exact, rel=1e-4)
    member.valid = pairs[:2]
    assert sampling_error(member, "loss") == pytest.approx(
        abs(float(VALID.inputs[0] - VALID.inputs[1])) / 2, rel=1e-4
    )
    member.valid = pairs[:1]
    assert math.isnan(sampling_error(member, "loss"))


def test_the_control_of_an_accuracy_is_its_binomial_error() -> None:
    held_out = examples(100, seed=5)
    model = network()
    member = Member(
        model=model,
        objective=Supervised(F.cross_entropy, lambda device: Classification(3, device)),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
        train=Batches(held_out, 100),
        valid=Batches(held_out, 64),
    )
    share = member.evaluate(Batches(held_out, 64))["accuracy"]
    assert sampling_error(member, "accuracy") == pytest.approx(math.sqrt(share * (1 - share) / 99))


def test_numbers_of_an_objectives_own_are_taken_for_means() -> None:
    class Own:
        def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return model(batch[0]).mean(), {}

        def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
            outputs = torch.cat([model(batch[0]) for batch in batches])
            return {"loss": float(outputs.mean())}

    member = drawing(0.5)(Twin(), 0)
    member.valid = Batches(VALID.select(range(80)), 64)
    plain = sampling_error(member, "loss")
    member.objective = Own()
    assert sampling_error(member, "loss") == pytest.approx(plain, rel=1e-4)


def test_seeds_are_weighed_against_the_held_out_sample() -> None:
    wide, narrow = seed_spread(drawing(1.0)), seed_spread(drawing(0.003))
    assert wide.found is True
    assert str(wide).startswith("Seeds matter more")
    assert narrow.found is False
    assert str(narrow).startswith("The held-out sample matters more")
    assert wide.control == pytest.approx(narrow.control, rel=1e-3)
    near = seed_spread(drawing(1 / math.sqrt(len(VALID))))
    assert near.found is None
    assert "Insufficient evidence" in str(near)
    plain = json.loads(json.dumps(wide.to_dict(), allow_nan=False))
    assert plain["scores"] == list(wide.scores)
    assert wide.figure().axes[0].get_yticklabels()[0].get_text() == "each seed"


def test_the_interval_of_a_deviation_is_that_of_chi_square_and_covers() -> None:
    for count in (2, 8, 200):
        low, high = deviation_interval(2.0, count)
        points = stats.chi2.ppf([0.975, 0.025], count - 1)
        assert (low, high) == pytest.approx(tuple(2 * np.sqrt((count - 1) / points)), rel=1e-6)
    deviations = np.random.default_rng(0).normal(size=(2000, 8)).std(axis=1, ddof=1)
    unit = deviation_interval(1.0, 8)
    covered = np.mean((deviations * unit[0] <= 1) & (1 <= deviations * unit[1]))
    assert 0.935 < covered < 0.965


def test_differences_below_the_least_come_by_chance_in_19_of_20() -> None:
    random = np.random.default_rng(1)
    known = random.normal(size=(4000, 8)).std(axis=1, ddof=1)
    difference = np.abs(random.normal(size=4000) - random.normal(size=4000))
    exceeded = difference > stats.t.ppf(0.975, 7) * known * math.sqrt(2)
    assert exceeded.mean() == pytest.approx(0.05, abs=0.01)


def spread(value: float) -> SeedSpread:
    return SeedSpread(
        value=value,
        interval=(value, value),
        control=1.0,
        found=None,
        conclusion="",
        metric="loss",
        mean=0.0,
        mean_interval=(0.0, 0.0),
        least_difference=1.0,
        scores=(0.0,),
    )


@pytest.mark.parametrize("effect", [0.3, 0.8, 1.5, 3.0])
def test_seeds_needed_give_the_power_that_was_asked_for(effect: float) -> None:
    def power(seeds: int) -> float:
        freedom, shift = 2 * seeds - 2, effect * math.sqrt(seeds / 2)
        return float(stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, shift))

    seeds = spread(2.0).seeds_for(2.0 * effect)
    assert power(seeds) > 0.79
    assert seeds == 2 or power(seeds - 2) < 0.8
    assert spread(2.0).seeds_for(2.0 * effect, power=0.95) > seeds


def test_seeds_needed_for_tiny_and_for_huge_differences() -> None:
    assert spread(1.0).seeds_for(0.01) == pytest.approx(2 * (1.96 + 0.8416) ** 2 * 1e4, rel=1e-3)
    assert spread(0.0).seeds_for(0.5) == 2


def test_a_seed_that_is_not_used_is_seen() -> None:
    plain = drawing(0.5)
    found = seed_spread(lambda twin, seed: plain(twin, 0), seeds=3, stack=1)
    assert found.value == 0
    assert found.found is None
    assert str(found).startswith("The seed is not used")
    assert "see whether `build` uses its seed" in str(found)


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="`seeds` must be at least 2"):
        seed_spread(drawing(1.0), seeds=1)
    with pytest.raises(UsageError, match="`metric` must be one of loss; got 'accuracy'"):
        seed_spread(drawing(1.0), seeds=2, metric="accuracy")
    with pytest.raises(UsageError, match="`difference` must be above 0"):
        spread(1.0).seeds_for(0.0)
    with pytest.raises(TrainingError, match="must end with a finite loss"):
        seed_spread(drawing(math.inf), seeds=2)

    def unmeasured(twin: Twin, seed: int) -> Member:
        member = drawing(1.0)(twin, seed)
        member.valid = None
        return member

    with pytest.raises(UsageError, match="`build` must set `valid`"):
        seed_spread(unmeasured, seeds=2)
