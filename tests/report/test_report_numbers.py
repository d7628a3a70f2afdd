from __future__ import annotations

import pytest

from fitwell.report._numbers import (
    duration,
    memory,
    metric_label,
    metric_text,
    p_text,
    percent,
    plain,
    short,
)


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
    assert [memory(n) for n in (12, 4_096, 412_000_000, 1.25e9)] == [
        "12 bytes", "4.1 kB", "412 MB", "1.25 GB",
    ]  # fmt: skip
    assert plain({"a": [1, None, True], "b": 0.1}) == "a=1, none, yes, b=0.1"
