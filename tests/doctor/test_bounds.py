"""Bounds, choices among hypotheses, selection: closed forms, enumeration, simulation."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.data import Batches, load_builtin
from fitwell.doctor import (
    choose_hypothesis,
    complexity_curve,
    expected_best,
    expected_maximum,
    generalization_bound,
    growth_function,
    hoeffding_bound,
    hoeffding_deviation,
    hoeffding_sample_size,
    linear_dichotomies,
    selection,
    state_digest,
    vc_bound,
    vc_deviation,
    vc_sample_size,
)
from fitwell.doctor._bounds._hoeffding import log_hoeffding

# Sums of logarithms of binomial coefficients.
CLOSE = 1e-9


def test_intro_44_numbers_of_the_lecture() -> None:
    found = [hoeffding_bound(n, 0.1, 10_000) for n in (100, 500, 1000)]
    assert found[0] == pytest.approx(2707, abs=0.5)
    assert found[1] == pytest.approx(0.91, abs=5e-3)
    assert found[2] == pytest.approx(4.1e-5, abs=5e-7)


def test_intro_45_sample_sizes_of_the_lecture() -> None:
    assert hoeffding_sample_size(0.1, 0.05, 10_000) == 645
    assert hoeffding_sample_size(0.1, 0.1, 10_000) == 611
    exact = [math.log(2 * 10_000 / failure) / (2 * 0.1**2) for failure in (0.05, 0.1)]
    assert exact == pytest.approx([644.9, 610.3], abs=0.1)


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(1, 10**6),
    failure=st.floats(1e-6, 0.999),
    hypotheses=st.integers(1, 10**9),
    bits=st.floats(0, 1e7),
    loss_range=st.floats(0.1, 100),
)
def test_bound_deviation_and_size_are_each_other_solved(
    n: int, failure: float, hypotheses: int, bits: float, loss_range: float
) -> None:
    kept: dict[str, Any] = {"bits": bits, "loss_range": loss_range}
    epsilon = hoeffding_deviation(n, failure, hypotheses, **kept)
    log = log_hoeffding(n, epsilon, hypotheses, **kept)
    assert log == pytest.approx(math.log(failure), abs=1e-6)
    size = hoeffding_sample_size(epsilon, failure, hypotheses, **kept)
    assert size == pytest.approx(n, abs=1)
    # One more and one less than a size lie on both sides of what was asked for.
    wider = hoeffding_sample_size(0.9 * epsilon, failure, hypotheses, **kept)
    assert log_hoeffding(wider, 0.9 * epsilon, hypotheses, **kept) <= math.log(failure) + 1e-6
    if wider > 1:
        before = log_hoeffding(wider - 1, 0.9 * epsilon, hypotheses, **kept)
        assert before > math.log(failure) - 1e-6


def test_intro_47_discretized_parameters_count_as_two_to_their_bits() -> None:
    for bits, parameters in ((1, 3), (8, 2), (4, 16)):
        assert hoeffding_bound(500, 0.1, bits=bits * parameters) == pytest.approx(
            hoeffding_bound(500, 0.1, 2 ** (bits * parameters)), rel=CLOSE
        )
    # The network of a million parameters in 32 bits: beyond all floats, not beyond its logarithm.
    assert hoeffding_bound(100, 0.1, bits=32 * 10**6) == math.inf
    expected = math.log(2) * (1 + 32 * 10**6) - 2 * 100 * 0.1**2
    assert log_hoeffding(100, 0.1, bits=32 * 10**6) == pytest.approx(expected, rel=1e-12)
    needed = hoeffding_sample_size(0.1, 0.05, bits=32 * 10**6)
    assert needed == math.ceil((32 * 10**6 * math.log(2) + math.log(40)) / 0.02)


def test_a_range_of_losses_is_a_unit() -> None:
    assert hoeffding_bound(50, 3.0, 7, loss_range=10) == pytest.approx(hoeffding_bound(50, 0.3, 7))
    assert hoeffding_deviation(50, 0.1, 7, loss_range=10) == pytest.approx(
        10 * hoeffding_deviation(50, 0.1, 7)
    )


def test_intro_47_the_bound_has_the_constants_of_the_textbook() -> None:
    def written(n: int, epsilon: float, dimension: int) -> float:
        growth = sum(math.comb(2 * n, i) for i in range(dimension + 1))
        return float(4 * growth * math.exp(-(epsilon**2) * n / 8))

    for features in (1, 2, 10, 50):
        for n, epsilon in ((5, 0.5), (100, 0.3), (5000, 0.2)):
            found = vc_bound(n, epsilon, features + 1)
            assert found == pytest.approx(written(n, epsilon, features + 1), rel=CLOSE)
    # 100 examples, dimension 1, 90%: the error is at most 0.848 above that of the sample.
    assert vc_deviation(100, 0.1, 1) == pytest.approx(0.848, abs=5e-4)
    # Dimension 3, 0.1, 90%: about 30,000 with the looser polynomial that the book goes on with.
    n = 1000.0
    for _ in range(50):
        n = 8 / 0.1**2 * math.log(4 * ((2 * n) ** 3 + 1) / 0.1)
    assert n == pytest.approx(30_000, rel=0.03)
    assert 0.9 * n < vc_sample_size(0.1, 0.1, 3) < n


@pytest.mark.parametrize("dimension", [1, 3, 20])
def test_the_other_forms_of_the_vc_bound_are_it_solved(dimension: int) -> None:
    epsilon = vc_deviation(3000, 0.05, dimension)
    assert vc_bound(3000, epsilon, dimension) == pytest.approx(0.05, rel=1e-6)
    size = vc_sample_size(0.1, 0.05, dimension)
    assert vc_bound(size, 0.1, dimension) <= 0.05 < vc_bound(size - 1, 0.1, dimension)
    assert vc_bound(3, 0.1, 10**6) == pytest.approx(4 * 2**6 * math.exp(-0.03 / 8))
    assert vc_bound(10**6, 1e-3, 10**5) == math.inf


def labelings(predict: Callable[[Any], Any], parameters: Any) -> int:
    return len({tuple(predict(p)) for p in parameters})


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_growth_function_is_reached_by_thresholds_and_intervals(n: int) -> None:
    x = np.arange(n)
    cuts = np.arange(n + 1) - 0.5
    assert labelings(lambda t: x > t, cuts) == growth_function(n, 1)
    pairs = list(itertools.combinations_with_replacement(cuts, 2))
    assert labelings(lambda p: (x > p[0]) & (x < p[1]), pairs) == growth_function(n, 2)
    assert growth_function(n, n) == growth_function(n, n + 3) == 2**n


def separable(points: np.ndarray, signs: tuple[int, ...]) -> bool:
    rows = -np.array(signs)[:, None] * np.c_[points, np.ones(len(points))]
    found = linprog(
        np.zeros(rows.shape[1]), A_ub=rows, b_ub=-np.ones(len(rows)), bounds=(None, None)
    )
    return bool(found.status == 0)


@pytest.mark.parametrize(("n", "features"), [(3, 1), (3, 2), (4, 2), (6, 2), (4, 3), (5, 3)])
def test_intro_47_linear_classifiers_have_dimension_features_plus_one(
    n: int, features: int
) -> None:
    points = np.random.default_rng(n).normal(size=(n, features))
    count = sum(separable(points, signs) for signs in itertools.product((-1, 1), repeat=n))
    assert count == linear_dichotomies(n, features)
    assert (count == 2**n) == (n <= features + 1)
    assert count <= growth_function(n, features + 1)


def test_half_of_the_labelings_are_linear_at_the_capacity() -> None:
    for features in (1, 5, 30):
        n = 2 * (features + 1)
        assert 2 * linear_dichotomies(n, features) == 2**n


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), sets=st.integers(1, 4))
def test_the_choice_is_that_of_brute_force(seed: int, count: int, sets: int) -> None:
    random = np.random.default_rng(seed)
    everything = random.integers(0, 4, count) / 4
    samples = random.integers(0, 4, (sets, count)) / 4
    found = choose_hypothesis(everything, samples)
    for number in range(sets):
        best = min(range(count), key=lambda h: everything[h])
        chosen = min(range(count), key=lambda h, n=number: samples[n, h])  # type: ignore[misc]
        assert found.h_all[number] == best
        assert found.h_train[number] == chosen
        assert found.ideal[number] == everything[best]
        assert found.reached[number] == everything[chosen]
        assert found.ideal_on_train[number] == samples[number, best]
        assert found.reached_on_train[number] == samples[number, chosen]
        assert found.deviation[number] == max(abs(everything - samples[number]))
        assert found.excess[number] == everything[chosen] - everything[best]
        assert found.is_good(1.0)[number] == (found.deviation[number] <= 0.5)


def test_two_hypotheses_in_closed_form() -> None:
    # The better one is never wrong on the samples where it is tied or ahead: reached is known.
    everything = np.array([0.3, 0.1])
    samples = np.array([[0.2, 0.0], [0.0, 0.2], [0.4, 0.1], [0.1, 0.1], [0.3, 0.2], [0.0, 0.5]])
    curve = complexity_curve(everything, samples, sizes=(1, 2))
    assert curve.ideal == (0.3, 0.1)
    assert curve.reached == pytest.approx((0.3, (3 * 0.1 + 3 * 0.3) / 6))
    assert curve.train == pytest.approx((samples[:, 0].mean(), samples.min(axis=1).mean()))
    assert curve.gap == pytest.approx(
        [a - b for a, b in zip(curve.reached, curve.train, strict=True)]
    )
    assert (curve.best, curve.rival) == (2, 1)  # of the largest with the runner-up
    assert curve.control == pytest.approx(0.1 - 0.3)
    assert curve.value == 0  # on the sets of odd number, the second one is never chosen


def test_the_largest_set_is_compared_with_the_runner_up() -> None:
    # The second hypothesis is better and is found: a little better on average, or by far.
    random = np.random.default_rng(0)
    everything = np.array([0.3, 0.1])
    clear = complexity_curve(everything, random.binomial(50, everything, (40, 2)) / 50, (1, 2))
    assert (clear.best, clear.rival, clear.found) == (2, 1, False)
    assert clear.interval[1] < 0
    assert "with 2 and 0.3 with 1 of them" in str(clear)
    samples = [[0.2, 0.0], [0.0, 0.2], [0.2, 0.1], [0.1, 0.0], [0.3, 0.2], [0.0, 0.5]]
    lucky = complexity_curve(everything, samples, (1, 2))
    assert lucky.best == 2
    assert lucky.interval[0] < lucky.value < 0 < lucky.interval[1]
    assert lucky.found is None
    assert "Insufficient evidence" in str(lucky)
    alone = complexity_curve(everything, samples, (2,))
    assert (alone.found, alone.value, alone.rival) == (None, 0, 2)
    assert json.loads(json.dumps(alone.to_dict()))["interval"] == [None, None]


def test_too_many_hypotheses_are_found_and_few_sets_are_no_evidence() -> None:
    random = np.random.default_rng(0)
    everything = np.r_[0.2, np.full(499, 0.3)]
    samples = random.binomial(20, everything, (200, 500)) / 20
    curve = complexity_curve(everything, samples, (1, 10, 500))
    assert curve.found is True
    assert curve.best == 1
    assert curve.interval[0] > 0 == curve.control
    assert "500 hypotheses are too many" in str(curve)
    few = complexity_curve(everything, samples[[0, 1, 2, 3]] * 0 + [[0.1] * 500] * 4, (1, 500))
    assert few.found is False  # the first of all is chosen
    noisy = complexity_curve([0.2, 0.3], [[0.0, 0.1], [0.1, 0.0], [0.0, 0.1], [0.0, 0.1]], (1, 2))
    assert noisy.found is None
    assert json.loads(json.dumps(noisy.to_dict()))["best"] == 1


def test_the_best_of_equals_is_that_of_scipy() -> None:
    for n, k, share in ((1, 1, 0.3), (10, 3, 0.5), (200, 1000, 0.9), (50, 10**6, 0.02)):
        j = np.arange(n)
        logs = k * stats.binom.logcdf(j, n, share)
        assert expected_best(n, k, share) == pytest.approx(-np.expm1(logs).sum() / n, rel=1e-9)
    assert expected_best(40, 1, 0.35) == pytest.approx(0.35)
    assert [expected_best(9, 5, share) for share in (0.0, 1.0)] == [0, 1]


def test_the_largest_of_normal_numbers_in_closed_form() -> None:
    assert expected_maximum(1) == pytest.approx(0, abs=1e-12)
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-6)
    assert expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-6)
    # Many examples: binomial counts become normal.
    above = (expected_best(10**5, 100, 0.5) - 0.5) / math.sqrt(0.25 / 10**5)
    assert above == pytest.approx(expected_maximum(100), rel=0.01)


def test_intro_49_a_single_candidate_needs_no_correction() -> None:
    found = selection([0.8], 200)
    assert found.value == found.control == 0.8
    assert found.interval == pytest.approx(found.control_interval)
    assert selection([0.8] * 20, 200).value == 0.8  # equal scores: nothing was chosen
    assert found.found is False
    assert found.by_chance == pytest.approx(0, abs=1e-12)
    assert found.bound == hoeffding_deviation(200, 0.05)


POPULATIONS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "three equals": lambda random: np.full(3, 0.8),
    "many equals": lambda random: np.full(300, 0.8),
    "spread": lambda random: random.normal(0.8, 0.03, 50),
    "mostly bad": lambda random: 0.85 - random.exponential(0.1, 40).clip(0, 0.7),
    "one far ahead": lambda random: np.r_[0.9, np.full(29, 0.7)],
}


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "correlated"])
def test_intro_49_the_corrected_score_is_unbiased_and_its_interval_covers(
    name: str, shared: bool
) -> None:
    random = np.random.default_rng(1)
    n, sets = 200, 400
    truth = np.stack([POPULATIONS[name](random) for _ in range(sets)]).clip(0, 1)
    if shared:  # all are wrong about the difficult examples
        difficulty = random.random((sets, 1, n))
        own = random.random((*truth.shape, n), dtype=np.float32) < 0.3
        drawn = np.where(own, random.random((*truth.shape, n), dtype=np.float32), difficulty)
        scores = (drawn < truth[:, :, None]).mean(axis=2)
    else:
        scores = random.binomial(n, truth) / n
    ties = np.where(scores == scores.max(axis=1, keepdims=True), random.random(scores.shape), -1)
    chosen = truth[np.arange(sets), ties.argmax(axis=1)]
    found = [selection(some, n) for some in scores]
    low, high = np.array([one.interval for one in found]).T
    inside = int(((low <= chosen) & (chosen <= high)).sum())
    assert stats.binomtest(inside, sets, 0.95, alternative="less").pvalue > 1e-3
    off = np.array([one.value for one in found]) - chosen
    raw = np.array([one.control for one in found]) - chosen
    single = math.sqrt(0.8 * 0.2 / n)  # noise of one score
    sure = 3 * off.std() / math.sqrt(sets)
    if shared:  # on the side of caution
        assert off.mean() < 0.1 * single + sure
    else:
        assert abs(off.mean()) < 0.4 * single + sure
        assert abs(off.mean()) < 0.3 * abs(raw.mean()) + sure


def test_the_choice_among_many_is_found_and_among_few_it_is_not() -> None:
    random = np.random.default_rng(0)
    few = selection(random.binomial(200, 0.8, 3) / 200, 200)
    assert few.found is False
    assert "hardly raised" in str(few)
    many = selection(random.binomial(200, 0.8, 3000) / 200, 200)
    assert many.found is True
    assert many.inflation == pytest.approx(expected_best(200, 3000, 0.8) - 0.8, rel=0.25)
    assert many.by_chance == pytest.approx(many.inflation, rel=0.25)
    ahead = selection([0.95, *random.binomial(1000, 0.7, 50) / 1000], 1000)
    assert ahead.found is False
    between = selection(
        np.array([144, 152, 155, 157, 159, 160, 161, 163, 165, 168, 172]) / 200, 200
    )
    assert between.found is None
    assert "Insufficient evidence" in str(between)
    plain = json.loads(json.dumps(many.to_dict()))
    assert len(plain["scores"]) == 1000
    assert plain["scores"][0] == max(plain["scores"]) == many.control


def test_scores_may_be_rounded_to_four_decimals() -> None:
    exact = selection(np.array([271, 280, 281]) / 360, 360)
    assert selection([0.7528, 0.7778, 0.7806], 360).value == exact.value
    assert selection(np.float32([271 / 360, 280 / 360, 281 / 360]), 360).value == exact.value


def test_scores_at_the_ends_have_numbers_too() -> None:
    for scores in ([1.0] * 5, [0.0] * 5, [0.0, 1.0]):
        found = selection(scores, 30)
        assert 0 <= found.interval[0] <= found.value <= found.interval[1] <= 1


class Rounded(nn.Module):
    """One number of few bits decides: a threshold on the first feature."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        above = x[:, 0] - self.threshold
        return torch.stack([-above, above], dim=1)


def few_bits(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 2, generator=random)
    return [(x, (x[:, 0] > 0.5).long())]


def test_a_model_of_few_bits_has_a_bound_that_says_something() -> None:
    found = generalization_bound(Rounded(), few_bits(1000, 0), few_bits(500, 1), bits=8)
    assert found.value == hoeffding_deviation(1000, 0.05, bits=8)
    assert found.interval == (-found.value, found.value)
    assert found.found is found.vacuous is False
    assert abs(found.control) <= found.value
    assert (found.parameters, found.n) == (1, 1000)
    assert found.log10_failure < 0
    assert hoeffding_deviation(found.needed, 0.05, bits=8) <= found.aim
    assert "says something" in str(found)


def test_intro_46_the_bound_of_a_real_network_is_vacuous_beside_its_gap() -> None:
    splits = load_builtin("digits")
    train, valid = Batches(splits.train, 64, shuffle=True), Batches(splits.valid, 256)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        for x, y in train:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    before = state_digest(model, train, valid)
    found = generalization_bound(model, train, valid)
    assert state_digest(model, train, valid) == before
    assert found.parameters == 64 * 32 + 32 + 32 * 10 + 10
    assert found.n == len(splits.train)
    assert found.value == hoeffding_deviation(found.n, 0.05, bits=32 * found.parameters)
    assert found.found is True
    assert found.value >= 1
    assert "vacuous" in str(found)
    assert f"the measured gap is {found.control:.3f}, 95% interval" in str(found)
    assert found.control_interval[0] <= found.control <= found.control_interval[1] < 0.2
    with torch.no_grad():
        x, y = splits.valid.inputs, splits.valid.targets
        wrong = model.eval()(next(iter(Batches(splits.valid, len(x))))[0]).argmax(1) != y
    assert found.valid_error == pytest.approx(float(wrong.float().mean()))
    assert found.log10_failure > 1000
    assert json.loads(json.dumps(found.to_dict()))["found"] is True


def test_errors_of_ones_own_count() -> None:
    def off(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs[:, 0] - targets).abs() > 0.5

    x = torch.linspace(-1, 1, 40)[:, None]
    found = generalization_bound(nn.Identity(), [(x, x[:, 0])], [(x, x[:, 0] + 1)], wrong=off)
    assert (found.train_error, found.valid_error, found.parameters) == (0, 1, 0)
    with pytest.raises(UsageError, match="`wrong` must be given unless outputs are scores"):
        generalization_bound(nn.Identity(), [(x, x)], [(x, x)])


class Pixels(nn.Module):
    """Two classes for each pixel, with statistics of a training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.register_buffer("places", torch.arange(100.0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-x, x], dim=1)


def test_pixels_of_one_picture_are_no_further_examples() -> None:
    x = torch.ones(30, 1, 4, 5)
    right, half = torch.ones(30, 4, 5).long(), torch.ones(30, 4, 5).long()
    half[:10, :2] = 0
    masked = half.clone()
    masked[:10, 2:] = -100  # ten pictures that are wrong wherever they have targets
    masked[10] = -1  # and one without any
    found = generalization_bound(Pixels(), [(x, right)], [(x, half)])
    assert found.n == 30
    assert found.value == hoeffding_deviation(30, 0.05, bits=32 * 2)  # two running statistics
    assert found.parameters == 2
    assert found.valid_error == pytest.approx(10 / 30 / 2)
    assert found.train_error == 0
    left = generalization_bound(Pixels(), [(x, masked)], [(x, right)])
    assert (left.n, left.train_error) == (29, pytest.approx(10 / 29))
    said = generalization_bound(
        Pixels(), [(x, right)], [(x, half)], wrong=lambda o, t: o.argmax(dim=1) != t
    )
    assert (said.n, said.valid_error) == (30, found.valid_error)
    assert said.control_interval == found.control_interval
    with pytest.raises(UsageError, match="a part must have targets of 0 or more"):
        generalization_bound(Pixels(), [(x, right * -1)], [(x, right)])
    for wrong, words in (
        (lambda o, t: (o.argmax(dim=1) != t).sum(), r"for each of 30 examples; got shape \(\)"),
        (lambda o, t: 2.0 * (o.argmax(dim=1) == t), "with other numbers"),
    ):
        with pytest.raises(UsageError, match=words):
            generalization_bound(Pixels(), [(x, right)], [(x, half)], wrong=wrong)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: hoeffding_bound(0, 0.1), "hoeffding_bound: `n` must be above 0"),
        (lambda: hoeffding_bound(5, -0.1), "hoeffding_bound: `epsilon` must be above 0"),
        (lambda: hoeffding_bound(5, 0.1, 0), "hoeffding_bound: `hypotheses` must be at least 1"),
        (lambda: hoeffding_bound(5, 0.1, loss_range=0), "`loss_range` must be above 0"),
        (lambda: hoeffding_deviation(5, 1.0), "hoeffding_deviation: `failure` must lie in"),
        (lambda: hoeffding_sample_size(0.1, 0.1, bits=-1), "`bits` at least 0; got 1 and -1"),
        (lambda: growth_function(0, 1), "growth_function: the number of examples"),
        (lambda: linear_dichotomies(1, 0), "linear_dichotomies: the number of examples"),
        (lambda: vc_bound(5, 0.0, 1), "vc_bound: `epsilon` must be above 0"),
        (lambda: vc_deviation(5, 0.0, 1), "vc_deviation: `failure` must lie in"),
        (lambda: vc_sample_size(0.0, 0.1, 1), "vc_sample_size: `epsilon` must be above 0"),
        (lambda: vc_sample_size(0.1, 0.1, 0), "vc_sample_size: the number of examples"),
        (lambda: choose_hypothesis([0.1], [0.1, 0.2]), "a loss for each hypothesis"),
        (lambda: choose_hypothesis([], []), "must be numbers, at least one"),
        (lambda: choose_hypothesis([math.nan], [0.1]), "must be numbers, at least one"),
        (lambda: complexity_curve([0.1], [[0.1]] * 3, [1]), "must be four rows or more"),
        (lambda: complexity_curve([0.1], [[0.1]] * 4, [2]), "`sizes` must grow from 1"),
        (lambda: complexity_curve([0.1], [[0.1]] * 4, []), "`sizes` must grow from 1"),
        (lambda: selection([], 5), "selection: `scores` must be shares"),
        (lambda: selection([1.5], 5), "selection: `scores` must be shares"),
        (lambda: selection([0.5], 0), "selection: `scores` must be shares"),
        (lambda: selection([0.5, 0.8123], 200), "got 0.8123, which would be 162.5 of them. Give"),
        (lambda: expected_best(5, 0, 0.5), "expected_best: `share` must lie in"),
        (lambda: expected_best(5, 3, 50), "Give an accuracy, not a percentage"),
        (lambda: expected_maximum(0), "expected_maximum: `candidates` must be .*. Count all"),
        (lambda: generalization_bound(Rounded(), [], []), "must give at least one pair"),
        (
            lambda: generalization_bound(Rounded(), [], [], failure=2),
            "generalization_bound: `failure`",
        ),
        (
            lambda: generalization_bound(Rounded(), [], [], aim=0),
            "generalization_bound: `aim` must",
        ),
        (lambda: generalization_bound(Rounded(), [], [], bits=-1), "`bits` be at least 0"),
        (lambda: complexity_curve([0.1], [[0.1, 0.2]], [1]), "complexity_curve: `train_losses`"),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        call()


def test_pictures_are_drawn() -> None:
    random = np.random.default_rng(0)
    everything = np.linspace(0.4, 0.2, 50)
    samples = random.binomial(20, everything, (30, 50)) / 20
    for result in (
        selection(random.binomial(200, 0.8, 30) / 200, 200),
        complexity_curve(everything, samples, (1, 5, 20, 50)),
        generalization_bound(Rounded(), few_bits(100, 0), few_bits(50, 1), bits=8),
        generalization_bound(Rounded(), few_bits(10, 0), few_bits(50, 1), bits=10**6),
    ):
        (axes,) = result.figure().axes
        assert axes.get_xlabel()
