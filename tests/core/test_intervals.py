from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, t

from fitwell.core.errors import UsageError
from fitwell.core.intervals import corrected_t_interval, slope_interval, t_quantile
from fitwell.metrics import wilson_interval


@settings(deadline=None, max_examples=100)
@given(count=st.integers(1, 10**6), share=st.floats(0, 1), level=st.sampled_from([0.5, 0.9, 0.95]))
def test_wilson_interval_equals_scipy(count: int, share: float, level: float) -> None:
    from scipy.stats import binomtest

    successes = round(share * count)
    low, high = wilson_interval(successes, count, level=level)
    theirs = binomtest(successes, count).proportion_ci(level, method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= low <= successes / count <= high <= 1


def test_wilson_interval_without_tries_knows_nothing() -> None:
    assert wilson_interval(0, 0) == (0, 1)


def test_wilson_interval_refuses_impossible_counts() -> None:
    with pytest.raises(UsageError, match=r"`successes` must lie in 0 ... count; got 4 of 3"):
        wilson_interval(4, 3)
    with pytest.raises(UsageError, match=r"`level` must lie in \(0, 1\); got 95"):
        wilson_interval(1, 3, level=95)


# Halving an angle eighty times, against SciPy's own series.
QUANTILE = 1e-9


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 49, 400])
@pytest.mark.parametrize("share", [0.55, 0.9, 0.975, 0.999])
def test_t_quantiles_equal_scipy(freedom: int, share: float) -> None:
    assert t_quantile(share, freedom) == pytest.approx(t.ppf(share, freedom), rel=QUANTILE)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_the_corrected_interval_is_the_wider_t_interval(ratio: float) -> None:
    scores = [0.91, 0.95, 0.9, 0.97, 0.93]
    spread = np.sqrt((1 / 5 + ratio) * np.var(scores, ddof=1))
    expected = t.interval(0.95, 4, loc=np.mean(scores), scale=spread)
    assert corrected_t_interval(scores, ratio) == pytest.approx(expected, rel=QUANTILE)
    if ratio:
        low, high = corrected_t_interval(scores, 0.0)
        assert corrected_t_interval(scores, ratio)[0] < low < high


def test_an_interval_of_one_score_is_refused() -> None:
    with pytest.raises(UsageError, match="`scores` must be at least two"):
        corrected_t_interval([0.9], 0.25)
    with pytest.raises(UsageError, match="`level` must lie in"):
        corrected_t_interval([0.9, 0.8], 0.25, level=1.0)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(-9, 9)), min_size=3, max_size=12).filter(
        lambda points: all(len(set(some)) > 1 for some in zip(*points, strict=True))
    )
)
def test_slopes_are_those_of_scipy(points: list[tuple[int, int]]) -> None:
    x, y = zip(*points, strict=True)
    line = linregress(x, y)
    half = t.ppf(0.95, len(x) - 2) * line.stderr
    slope, (low, high) = slope_interval(x, y, level=0.9)
    assert (slope, low, high) == pytest.approx(
        (line.slope, line.slope - half, line.slope + half), abs=1e-6
    )


def test_a_slope_needs_two_places_and_its_interval_three_points() -> None:
    assert slope_interval([0, 2], [1, 5]) == (2, (-math.inf, math.inf))
    with pytest.raises(UsageError, match="`x` must be at least two places"):
        slope_interval([1, 1], [0, 1])
