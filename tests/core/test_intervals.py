from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.core.errors import UsageError
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
