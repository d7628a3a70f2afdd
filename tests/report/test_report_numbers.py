from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fitwell.report._numbers import (
    duration,
    holm,
    mcnemar,
    metric_label,
    metric_text,
    p_text,
    percent,
    plain,
    rmse_interval,
    short,
)

SAME = 1e-9  # both sides are double precision; log-gamma loses a few digits


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_equals_scipy_and_is_symmetric(b: int, c: int) -> None:
    p = mcnemar(b, c)
    assert p == mcnemar(c, b)
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert p == pytest.approx(expected, rel=SAME)


def test_mcnemar_of_large_counts_is_finite() -> None:
    assert mcnemar(60_000, 60_000) == pytest.approx(1.0)
    assert 0 <= mcnemar(60_000, 50_000) < 1e-12


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (421642.0, "421,642"), (0.00012345, "0.0001234"), (23.168, "23.17"),
     (1234.56, "1,235"), (1e-7, "1e-07"), (-2.25, "−2.25"), (0.5, "0.5"), (3e9, "3e+09")],
)  # fmt: skip
def test_short(value: float, text: str) -> None:
    assert short(value) == text


def test_rounding_never_claims_all_or_nothing() -> None:
    assert percent(0.99999) == "99.9%"
    assert percent(0.00001) == "0.1%"
    assert percent(1.0) == "100.0%"
    assert percent(0.0) == "0.0%"


def test_words() -> None:
    assert metric_text("accuracy", 0.905) == "90.5%"
    assert metric_text("mse", 0.905) == "0.905"
    assert metric_text("mse", None) == "–"
    assert metric_label("r2") == "R²"
    assert metric_label("balanced_accuracy") == "balanced accuracy"
    assert [duration(s) for s in (0.94, 61, 7260)] == ["0.9 s", "1 min 1 s", "2 h 1 min"]
    assert [p_text(p) for p in (1e-9, 0.0123, 0.5)] == ["p < 0.0001", "p = 0.012", "p = 0.50"]
    assert plain({"a": [1, None, True], "b": 0.1}) == "a=1, none, yes, b=0.1"
