from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fitwell.core.significance import holm, mcnemar, rmse_interval, signed_rank
from fitwell.report._significance import accuracy_difference, normal_quantiles, rmse_difference

SAME = 1e-9  # both sides are double precision; log-gamma loses a few digits


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_equals_scipy_and_is_symmetric(b: int, c: int) -> None:
    p = mcnemar(b, c)
    assert p == mcnemar(c, b)
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert p == pytest.approx(expected, rel=SAME)


def test_mcnemar_of_large_counts_is_finite() -> None:
    assert mcnemar(60_000, 60_000) == pytest.approx(1.0)
    assert 0 <= mcnemar(60_000, 50_000) < 1e-12


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=60))
def test_signed_rank_equals_scipy_with_ties_and_zeros(differences: list[int]) -> None:
    p = signed_rank(differences)
    assert p == pytest.approx(signed_rank([-d for d in differences]), rel=SAME)
    if not any(differences):
        assert p == 1
        return
    if sum(d != 0 for d in differences) <= 25:
        return
    expected = stats.wilcoxon(differences, method="asymptotic", correction=False).pvalue
    assert p == pytest.approx(expected, rel=SAME)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-6, 6).filter(bool), min_size=1, max_size=9))
def test_signed_rank_of_few_counts_all_signs(differences: list[int]) -> None:
    ranks = stats.rankdata(np.abs(differences))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(ranks))))
    far = np.abs(signs @ ranks) >= abs(float(np.sign(differences) @ ranks)) - SAME
    assert signed_rank(differences) == pytest.approx(far.mean(), rel=SAME)


def test_two_examples_never_tell_models_apart() -> None:
    assert signed_rank([1.0, 2.0]) == pytest.approx(0.5)


def test_signed_rank_is_near_the_exact_test_and_sees_a_shift() -> None:
    random = np.random.default_rng(3)
    differences = random.normal(0.3, 1, 40)
    exact = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank(differences.tolist()) == pytest.approx(exact, abs=0.01)
    assert signed_rank((differences + 2).tolist()) < 1e-6


def test_holm_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [q for _, q in pairs] == sorted(q for _, q in pairs)


def test_rmse_interval_covers_and_scales() -> None:
    rest = [math.sin(7 * i) for i in range(200)]
    low, high = rmse_interval(rest)
    rmse = math.sqrt(sum(r * r for r in rest) / len(rest))
    assert low < rmse < high
    assert rmse_interval([3 * r for r in rest]) == pytest.approx((3 * low, 3 * high))
    assert rmse_interval([2.0, -2.0, 2.0]) == pytest.approx((2.0, 2.0))


def test_accuracy_difference_is_near_the_normal_interval() -> None:
    won, lost, examples = 400, 300, 10_000
    mean = (won - lost) / examples
    spread = math.sqrt(((won + lost) / examples - mean**2) / examples)
    expected = (mean - 1.96 * spread, mean + 1.96 * spread)
    # Monte Carlo error of a 2.5% quantile of 10,000 draws, and steps of one example
    assert accuracy_difference(won, lost, examples) == pytest.approx(expected, abs=0.1 * spread)


def test_accuracy_difference_is_the_same_again_and_turns_round() -> None:
    low, high = accuracy_difference(12, 7, 100)
    assert (low, high) == accuracy_difference(12, 7, 100)
    assert accuracy_difference(7, 12, 100) == pytest.approx((-high, -low), abs=0.011)
    assert accuracy_difference(0, 0, 5) == (0, 0)


def test_rmse_difference_equals_scipy_up_to_chance() -> None:
    random = np.random.default_rng(5)
    one, two = random.normal(0, 1.2, 150) ** 2, random.normal(0, 1.0, 150) ** 2

    def difference(a: Any, b: Any, axis: int) -> Any:
        return np.sqrt(a.mean(axis=axis)) - np.sqrt(b.mean(axis=axis))

    expected = stats.bootstrap(
        (one, two), difference, paired=True, vectorized=True, method="percentile",
        n_resamples=4_000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    low, high = rmse_difference(one.tolist(), two.tolist())
    wide = high - low
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.06 * wide)
    assert (low, high) == rmse_difference(one.tolist(), two.tolist())
    assert rmse_difference(one.tolist(), one.tolist()) == (0, 0)


def test_normal_quantiles_are_the_means_of_sorted_draws() -> None:
    draws = np.sort(np.random.default_rng(0).normal(size=(20_000, 9)), axis=1)
    assert normal_quantiles(9) == pytest.approx(draws.mean(axis=0).tolist(), abs=0.02)
    assert normal_quantiles(1) == pytest.approx([0.0], abs=SAME)
