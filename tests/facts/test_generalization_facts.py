"""The theory of generalization, seen: each claim of the lecture where all data are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from fitwell.doctor import (
    choose_hypothesis,
    complexity_curve,
    expected_best,
    hoeffding_bound,
)

# Sums of exact probabilities in another order.
ROUNDING = 1e-12
LARGEST = 10_000
"""Of the thresholds: hypotheses are the whole numbers up to it, as in the lecture."""


def creatures(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Give counts of edge pixels of drawings of two kinds, one with more lines than the other."""
    kind = random.random(count) < 0.5
    edges = np.where(kind, random.lognormal(8.0, 0.5, count), random.lognormal(7.4, 0.5, count))
    return edges.clip(0, LARGEST).astype(int), kind


def threshold_losses(edges: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Give the error rate of every threshold: kind is 1 from so many edges on."""
    ones = np.bincount(edges[kind], minlength=LARGEST + 2)[: LARGEST + 2]
    zeros = np.bincount(edges[~kind], minlength=LARGEST + 2)[: LARGEST + 2]
    missed = np.r_[0, ones.cumsum()][1 : LARGEST + 1]  # kind 1, fewer edges
    false = zeros.sum() - np.r_[0, zeros.cumsum()][1 : LARGEST + 1]
    rates: np.ndarray = (missed + false) / len(edges)
    return rates


def test_intro_41_every_threshold_is_measured_as_by_brute_force() -> None:
    edges, kind = creatures(np.random.default_rng(0), 300)
    losses = threshold_losses(edges, kind)
    assert len(losses) == LARGEST
    for h in (1, 2, 500, 2000, 9_999, 10_000, *edges[:20]):
        assert losses[max(h, 1) - 1] == np.mean((edges >= max(h, 1)) != kind)


@pytest.mark.parametrize("size", [20, 200, 2000])
def test_intro_41_the_loss_on_the_training_set_is_never_above_that_of_the_best(size: int) -> None:
    random = np.random.default_rng(size)
    edges, kind = creatures(random, 5000)
    everything = threshold_losses(edges, kind)
    below = 0
    for _ in range(100):
        rows = random.integers(0, len(edges), size)
        found = choose_hypothesis(everything, threshold_losses(edges[rows], kind[rows]))
        assert found.reached_on_train <= found.ideal_on_train
        assert found.reached >= found.ideal
        below += found.reached_on_train < found.ideal  # a small training loss is no surprise
    assert below > 30


def test_intro_42_a_good_training_set_is_never_a_bad_choice() -> None:
    random = np.random.default_rng(0)
    good = tight = 0
    for hypotheses in (1, 2, 3, 10, 50):
        shape = (20_000, hypotheses)
        everything = random.random(shape) ** random.integers(1, 4)
        near = random.random((20_000, 1)) ** 2
        sample = (everything + near * random.uniform(-1, 1, shape)).clip(0, 1)
        found = choose_hypothesis(everything, sample)
        for delta in (0.02, 0.1, 0.3, 1.0):
            held = found.is_good(delta)
            assert (found.excess[held] <= delta + ROUNDING).all()
            good += int(held.sum())
        assert (found.excess <= 2 * found.deviation + ROUNDING).all()
        # And each step of it.
        half = found.deviation
        assert (found.reached <= found.reached_on_train + half + ROUNDING).all()
        assert (found.reached_on_train <= found.ideal_on_train).all()
        assert (found.ideal_on_train <= found.ideal + half + ROUNDING).all()
        tight += int((found.excess > found.deviation).sum())
    assert good > 50_000
    assert tight > 100  # the factor 2 is needed
    worst = choose_hypothesis([0.5, 0.4], [0.45, 0.45])  # two at the same loss on the sample
    assert worst.excess == pytest.approx(2 * worst.deviation)


LOSSES = {
    "right or wrong, half": lambda random, shape: random.random(shape) < 0.5,
    "right or wrong, rare": lambda random, shape: random.random(shape) < 0.05,
    "even": lambda random, shape: random.random(shape),
    "at both ends": lambda random, shape: random.beta(0.3, 0.3, shape),
    "skewed": lambda random, shape: random.beta(1, 9, shape),
}
MEANS = {
    "right or wrong, half": 0.5,
    "right or wrong, rare": 0.05,
    "even": 0.5,
    "at both ends": 0.5,
    "skewed": 0.1,
}


@pytest.mark.parametrize("name", LOSSES)
def test_intro_43_frequencies_are_never_above_the_bound_of_hoeffding(name: str) -> None:
    random = np.random.default_rng(0)
    trials = 20_000
    for n in (1, 5, 20, 60):
        means = LOSSES[name](random, (trials, n)).mean(axis=1)
        for epsilon in (0.05, 0.1, 0.2, 0.4):
            bound = hoeffding_bound(n, epsilon)
            often = int((np.abs(means - MEANS[name]) > epsilon).sum())
            # Beyond binomial error: a count that the bound makes less likely than 1 in 10⁵.
            assert bound >= 1 or often <= stats.binom.isf(1e-5, trials, bound)


def test_intro_43_exact_probabilities_are_below_the_bound_and_come_near() -> None:
    nearest = 0.0
    for n, share in itertools.product((1, 7, 30, 200), (0.02, 0.3, 0.5, 0.9)):
        hits = np.arange(n + 1)
        chance = stats.binom.pmf(hits, n, share)
        for epsilon in np.linspace(0.02, 0.6, 30):
            exact = chance[np.abs(hits / n - share) > epsilon + ROUNDING].sum()
            assert exact <= hoeffding_bound(n, epsilon) + ROUNDING
            nearest = max(nearest, exact / hoeffding_bound(n, epsilon))
    assert nearest > 0.4


SMALL = [(0, 1, 1, 0, 0), (1, 1, 0, 0, 0), (0.5, 0.25, 0, 1, 1)]
"""Losses of three hypotheses on the five examples that are all there is."""


def samples(n: int) -> Iterator[tuple[int, ...]]:
    """Give every training set of so many of five examples: all are equally likely."""
    return itertools.product(range(5), repeat=n)


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("epsilon", [0.1, 0.3, 0.5])
def test_intro_44_the_derivation_holds_step_by_step(n: int, epsilon: float) -> None:
    losses = np.array(SMALL, dtype=float)
    everything = losses.mean(axis=1)
    sets = np.array(list(samples(n)))
    sample = losses[:, sets].mean(axis=2).T  # (sets, hypotheses)
    bad_for = np.abs(sample - everything) > epsilon
    # 1. A set is bad if it is bad for some hypothesis: the bad sets are a union.
    found = choose_hypothesis(everything, sample)
    bad = ~found.is_good(2 * epsilon)
    assert (bad == bad_for.any(axis=1)).all()
    # 2. The probability of a union is at most the sum.
    each = bad_for.mean(axis=0)
    assert bad.mean() <= each.sum() + ROUNDING
    # 3. Each is at most that of Hoeffding, which does not depend on the hypothesis.
    one = 2 * math.exp(-2 * n * epsilon**2)
    assert one == pytest.approx(hoeffding_bound(n, epsilon))
    assert (each <= one + ROUNDING).all()
    # 4. Equal terms: their sum is so many times one of them.
    assert sum([one] * len(losses)) == pytest.approx(hoeffding_bound(n, epsilon, len(losses)))
    assert bad.mean() <= hoeffding_bound(n, epsilon, len(losses)) + ROUNDING
    # 5. What is not bad is a good choice.
    assert (found.excess[~bad] <= 2 * epsilon + ROUNDING).all()


@pytest.mark.parametrize("hypothesis", SMALL)
def test_intro_44_the_inequality_of_hoeffding_holds_step_by_step(
    hypothesis: tuple[float, ...],
) -> None:
    losses = np.array(hypothesis)
    mean, n = losses.mean(), 4
    sums = losses[np.array(list(samples(n)))].sum(axis=1) - n * mean
    for epsilon in (0.1, 0.25, 0.45):
        above = (sums > n * epsilon + ROUNDING).mean()
        for slope in (0.1, 1.0, 4 * epsilon, 6.0):
            # a. Markov: for every slope s, P(S > nε) ≤ exp(-snε) E exp(sS).
            moment = np.exp(slope * sums).mean()
            assert above <= math.exp(-slope * n * epsilon) * moment + ROUNDING
            # b. Examples are independent: the expectation of the product is the product.
            single = np.exp(slope * (losses - mean)).mean()
            assert moment == pytest.approx(single**n)
            # c. Hoeffding's lemma for losses in [0, 1].
            assert single <= math.exp(slope**2 / 8) + ROUNDING
        # d. The best slope is 4ε.
        slopes = np.linspace(0.01, 10, 1000)
        exponents = n * slopes**2 / 8 - slopes * n * epsilon
        assert exponents.min() >= -2 * n * epsilon**2 - ROUNDING
        assert n * (4 * epsilon) ** 2 / 8 - 4 * epsilon * n * epsilon == pytest.approx(
            -2 * n * epsilon**2
        )
        assert above <= math.exp(-2 * n * epsilon**2) + ROUNDING
        # e. The other side likewise: twice.
        both = (np.abs(sums) > n * epsilon + ROUNDING).mean()
        assert both <= hoeffding_bound(n, epsilon) + ROUNDING


LEVELS = (1, 2, 4, 8, 16)


def nested_bins() -> np.ndarray:
    """Give labels of 16 cells: two constants first, then all of 2, 4, 8 and 16 equal bins."""
    rows: list[np.ndarray] = []
    seen: set[bytes] = set()
    for level in LEVELS:
        codes = np.arange(2**level)[:, None] >> np.arange(level) & 1
        for row in np.repeat(codes.astype(np.int8), 16 // level, axis=1):
            if row.tobytes() not in seen:
                seen.add(row.tobytes())
                rows.append(row)
    return np.array(rows)


def test_intro_48_the_loss_of_what_is_chosen_is_u_shaped() -> None:
    hypotheses = nested_bins()
    sizes = [2**level for level in LEVELS]
    assert len(hypotheses) == sizes[-1]
    # Class 1 is likely in the first quarter, a little further on, and nowhere sure.
    truth = np.array([0.9] * 4 + [0.25] * 3 + [0.55] + [0.1] * 8)
    random = np.random.default_rng(0)

    def loss(ones: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        """Of every hypothesis, from the weights of both classes in each cell."""
        wrong: np.ndarray = hypotheses @ (zeros - ones) + ones.sum(axis=0)
        return wrong.T

    everything = loss(truth / 16, (1 - truth) / 16)
    n, sets = 20, 60
    cells = random.integers(0, 16, (sets, n))
    labels = random.random((sets, n)) < truth[cells]
    ones, zeros = np.zeros((16, sets)), np.zeros((16, sets))
    for number in range(sets):
        np.add.at(ones[:, number], cells[number], labels[number] / n)
        np.add.at(zeros[:, number], cells[number], ~labels[number] / n)
    train = loss(ones, zeros)
    # The best of all labels of bins is the vote in each, by brute force over all of them.
    for level in LEVELS:
        votes = np.minimum(*(c.reshape(level, -1, sets).sum(axis=1) for c in (ones, zeros)))
        assert train[:, : 2**level].min(axis=1) == pytest.approx(votes.sum(axis=0))
    curve = complexity_curve(everything, train, sizes)
    assert list(curve.ideal) == sorted(curve.ideal, reverse=True)
    assert list(curve.train) == sorted(curve.train, reverse=True)
    # The U: down while the best gets better, up when it does not and there is more to choose from.
    assert list(curve.reached[:3]) == sorted(curve.reached[:3], reverse=True)
    assert list(curve.reached[2:]) == sorted(curve.reached[2:])
    assert curve.best == sizes[2]
    assert curve.found is True
    assert curve.control <= 0
    # The gap: small for few hypotheses, largest for all of them; so is the worst deviation.
    assert max(curve.gap[:3]) < curve.gap[3] < curve.gap[4]
    worst = [choose_hypothesis(everything[:k], train[:, :k]).deviation.mean() for k in sizes]
    assert worst == sorted(worst)


def test_intro_48_more_examples_allow_more_hypotheses() -> None:
    random = np.random.default_rng(1)
    everything = np.r_[0.4, np.full(50, 0.35), np.full(2000, 0.5), 0.1]
    best = {}
    for n in (10, 1000):
        train = random.binomial(n, everything, (40, len(everything))) / n
        best[n] = complexity_curve(everything, train, (1, 51, len(everything))).best
    assert best[10] < best[1000] == len(everything)


def test_intro_49_three_candidates_generalize_as_their_bound_says() -> None:
    random = np.random.default_rng(0)
    n, trials = 100, 20_000
    truth = np.array([0.75, 0.8, 0.82])
    scores = random.binomial(n, truth, (trials, 3)) / n
    chosen = scores.argmax(axis=1)
    off = np.take_along_axis(scores, chosen[:, None], 1)[:, 0] - truth[chosen]
    for epsilon in (0.1, 0.15, 0.2):
        any_off = int((np.abs(scores - truth) > epsilon).any(axis=1).sum())
        bound = hoeffding_bound(n, epsilon, 3)
        assert bound >= 1 or any_off <= stats.binom.isf(1e-5, trials, bound)
        assert (np.abs(off) > epsilon).sum() <= any_off
    assert 0 < off.mean() < math.sqrt(0.8 * 0.2 / n)  # too good, by less than the noise of one


def test_intro_49_of_a_million_random_candidates_the_best_is_lucky_by_the_predicted_amount() -> (
    None
):
    random = np.random.default_rng(0)
    n, candidates, times = 256, 10**6, 12
    best, again = [], []
    for _ in range(times):
        labels = random.integers(0, 2**64, 4, dtype=np.uint64)  # of 256 examples
        right, winner = 0, labels
        for _ in range(4):
            answers = random.integers(0, 2**64, (candidates // 4, 4), dtype=np.uint64)
            hits = n - np.bitwise_count(answers ^ labels).sum(axis=1, dtype=np.int64)
            if hits.max() > right:
                right, winner = int(hits.max()), answers[hits.argmax()]
        best.append(right / n)
        fresh = random.integers(0, 2**64, 4, dtype=np.uint64)
        again.append(1 - np.bitwise_count(winner ^ fresh).sum() / n)
    predicted = expected_best(n, candidates, 0.5)
    assert predicted - 0.5 > 0.14
    error = np.std(best, ddof=1) / math.sqrt(times)
    assert np.mean(best) == pytest.approx(predicted, abs=4 * error)
    assert 4 * error < 0.02
    assert np.mean(again) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(n * times))
