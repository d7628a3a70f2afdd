from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.core.errors import UsageError
from fitwell.metrics import Regression

# float64 sums in another order than scikit-learn's.
TOLERANCE = 1e-9


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 60),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
    batch=st.integers(1, 20),
)
def test_scores_equal_scikit_learn(seed: int, count: int, offset: float, batch: int) -> None:
    from sklearn import metrics

    generator = np.random.default_rng(seed)
    y = generator.normal(size=count) + offset
    p = y + generator.normal(size=count)
    ours = Regression()
    for start in range(0, count, batch):
        part = slice(start, start + batch)
        ours.update(torch.from_numpy(p[part]), torch.from_numpy(y[part]))
    mse = metrics.mean_squared_error(y, p)
    expected = {
        "loss": mse,
        "mse": mse,
        "rmse": np.sqrt(mse),
        "mae": metrics.mean_absolute_error(y, p),
        "r2": metrics.r2_score(y, p),
    }
    assert ours.compute() == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


def test_targets_far_from_zero_lose_no_digits() -> None:
    y = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64) + 1e9
    ours = Regression()
    for value in y:
        ours.update(value.reshape(1) + 0.5, value.reshape(1))
    # Squared errors 4 x 0.25; squared distances from the mean 2.25, 0.25, 0.25, 2.25.
    assert ours.compute()["r2"] == pytest.approx(1 - 1 / 5, abs=1e-6)


@pytest.mark.parametrize(("shift", "r2"), [(0.0, 1.0), (1.0, 0.0)])
def test_constant_targets(shift: float, r2: float) -> None:
    ours = Regression()
    ours.update(torch.full((3,), 2.0 + shift), torch.full((3,), 2.0))
    assert ours.compute()["r2"] == r2


def test_regression_refuses_what_would_broadcast() -> None:
    with pytest.raises(
        UsageError, match=r"`outputs` must have the shape of .*\(3,\); got \(3, 1\)"
    ):
        Regression().update(torch.zeros(3, 1), torch.zeros(3))
