"""Two samples: the discrepancy is its formula, its test keeps its level, shifts are found."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.data import load_builtin
from fitwell.doctor import state_digest, two_sample
from fitwell.doctor._probes._two_sample import _discrepancy

from .programs import Tied

SAME = 1e-10  # double precision; distances by the scalar product lose a few digits
ALIBI = 1e-6  # alibi-detect computes in float32
ALIBI_VALUE, ALIBI_P = 0.0463079, 0.0892


def normal(rows: int, columns: int = 3, shift: float = 0.0, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, columns)) + shift


def brute(x: Any, y: Any, width: float) -> float:
    """The formula, pair by pair."""

    def k(a: Any, b: Any) -> float:
        return math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * width**2))

    m, n = len(x), len(y)
    own = sum(k(a, b) for a, b in itertools.permutations(x, 2)) / (m * (m - 1))
    theirs = sum(k(a, b) for a, b in itertools.permutations(y, 2)) / (n * (n - 1))
    across = sum(k(a, b) for a, b in itertools.product(x, y)) / (m * n)
    return own + theirs - 2 * across


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_tune_17_the_discrepancy_is_its_formula(shift: float) -> None:
    x, y = normal(9), normal(7, shift=shift, seed=1)
    found = two_sample(x, y, standardize=False, permutations=19)
    pooled = np.concatenate([x, y])
    apart = [math.dist(a, b) for a, b in itertools.combinations(pooled, 2)]
    assert found.bandwidth == pytest.approx(np.median(apart), abs=SAME)
    assert found.value == pytest.approx(brute(x, y, found.bandwidth), abs=SAME)
    scaled = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    found = two_sample(x, y, permutations=19, bandwidth=1.5)
    assert found.value == pytest.approx(brute(scaled[:9], scaled[9:], 1.5), abs=SAME)


def test_features_are_those_of_a_copy_and_nothing_is_drawn() -> None:
    class Noisy(Tied):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + 0 * torch.rand(()))

    model = Noisy()
    model(torch.ones(2, 8)).sum().backward()
    before = state_digest(model)
    parts = torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(0))
    found = two_sample(*parts, on="features", model=model)
    assert state_digest(model) == before
    with torch.no_grad():
        features = [model.eval()(part).numpy() for part in parts]
    assert two_sample(*features).value == pytest.approx(found.value)


def test_each_permutation_is_the_formula_of_the_permuted_rows() -> None:
    x, y = normal(6), normal(5, shift=1.0, seed=1)
    found = two_sample(x, y, standardize=False, permutations=19, bandwidth=1.0, seed=4)
    pooled, random = np.concatenate([x, y]), np.random.default_rng(4)
    names = np.repeat([0.0, 1.0], [6, 5])
    for value in found.permuted:
        drawn = random.permutation(names)
        assert value == pytest.approx(brute(pooled[drawn == 0], pooled[drawn == 1], 1.0), abs=SAME)
    reached = sum(value >= found.value for value in found.permuted)
    assert found.p_value == (1 + reached) / 20
    assert found.control == pytest.approx(np.mean(found.permuted))


def test_tune_17_equal_to_alibi_detect() -> None:
    # alibi-detect 0.13.0: mmd2_from_kernel_matrix of GaussianRBF(sigma=1.5) on these rows
    x, y = normal(20, seed=3), normal(16, shift=0.5, seed=4)
    found = two_sample(x, y, standardize=False, bandwidth=1.5, permutations=999)
    assert found.value == pytest.approx(ALIBI_VALUE, abs=ALIBI)
    # and the share of 20,000 of its permutations that reach it
    assert found.p_value == pytest.approx(ALIBI_P, abs=4 * math.sqrt(ALIBI_P / 999) + 1e-3)


def test_the_interval_is_the_jackknife() -> None:
    x, y = normal(8), normal(6, shift=1.0, seed=1)
    pooled = np.concatenate([x, y])
    kernel = np.exp(-((pooled[:, None] - pooled[None]) ** 2).sum(axis=2) / 2)
    value, (low, high) = _discrepancy(kernel, 8)
    without_x = [brute(np.delete(x, row, axis=0), y, 1.0) for row in range(8)]
    without_y = [brute(x, np.delete(y, row, axis=0), 1.0) for row in range(6)]
    variance = 7 * np.var(without_x) + 5 * np.var(without_y)
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-6)
    assert value == pytest.approx((low + high) / 2)


def test_tune_17_false_alarms_are_as_few_as_stated() -> None:
    alarms = 0
    for case in range(400):
        random = np.random.default_rng(case)
        x, y = random.standard_t(3, size=(15, 2)), random.standard_t(3, size=(10, 2))
        alarms += two_sample(x, y, permutations=19, seed=case).found is True
    low, high = stats.binom.interval(0.999, 400, 0.05)
    assert low <= alarms <= high


def test_tune_17_shifts_of_place_and_of_spread_are_found() -> None:
    found = two_sample(normal(80), normal(80, shift=0.7, seed=1))
    assert found.found is True
    assert found.p_value == 1 / 200
    assert found.interval[0] > 0
    assert found.value > found.control
    wider = two_sample(normal(80), 2 * normal(80, seed=1))
    assert wider.found is True
    assert "different distributions" in str(wider)


def test_parts_that_are_alike_are_called_so_only_with_enough_rows() -> None:
    many = two_sample(normal(600), normal(600, seed=1))
    assert many.found is False
    assert many.interval[0] < 0 < many.interval[1] < many.planted
    few = two_sample(normal(10), normal(10, seed=2))
    assert few.found is None
    assert "Insufficient evidence" in str(few)
    assert two_sample(normal(10), normal(10, seed=2), margin=5).found is False


def test_the_planted_shift_is_what_such_a_shift_gives() -> None:
    x = normal(400)
    planted = two_sample(x, normal(400, seed=1), margin=1.0).planted
    real = [two_sample(x, normal(400, shift=1.0, seed=s), standardize=False) for s in (2, 3)]
    # the shift widens the pooled rows a little, and with them the bandwidth
    assert planted == pytest.approx(np.mean([one.value for one in real]), rel=0.25)


def test_the_most_foreign_examples_are_those_planted() -> None:
    other = normal(60, seed=1)
    other[[5, 40]] += 6
    found = two_sample(normal(60), other)
    assert set(found.examples[:2]) == {5, 40}


def test_missing_values_count_as_a_difference() -> None:
    x, y = normal(60), normal(60, seed=1)
    y[::2, 1] = np.nan
    assert two_sample(x, normal(60, seed=1)).found is not True
    assert two_sample(x, y).found is True


def test_constant_columns_do_no_harm() -> None:
    x, y = (np.column_stack([normal(30, seed=s), np.full(30, 0.1)]) for s in (0, 1))
    assert two_sample(x, y).value == pytest.approx(two_sample(x[:, :3], y[:, :3]).value, abs=SAME)
    same = two_sample(np.ones((9, 2)), np.ones((9, 2)))
    assert same.found is not True
    assert same.value == pytest.approx(0, abs=SAME)


def test_pictures_and_features_leave_everything_as_it_was(tmp_path: Path) -> None:
    splits = load_builtin("digits")
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 8), nn.ReLU()).train()
    before = state_digest(body)
    alike = two_sample(splits.train, splits.valid, max_examples=150, permutations=99)
    assert alike.found is not True
    inverted = 255 - torch.as_tensor(splits.valid.inputs)
    found = two_sample(
        splits.train.inputs, inverted, on="features", model=body, max_examples=100, permutations=99
    )
    assert found.found is True
    assert state_digest(body) == before
    json.dumps(found.to_dict())
    found.figure().savefig(tmp_path / "two_sample.png")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"other": normal(9, columns=2)}, "`other` must have the columns of `train`; got 2 for 3"),
        ({"other": normal(3)}, "both parts must have at least 4 rows; got 9 and 3"),
        ({"permutations": 9}, "`permutations` must be at least 19, .*; got 9"),
        ({"margin": 0.0}, "`margin` must be positive; got 0.0"),
        ({"bandwidth": -1.0}, "`bandwidth` must be positive and finite, or None; got -1.0"),
        ({"on": "features"}, "`model` must be given for on='features' and only then"),
        ({"model": nn.Linear(3, 3)}, "`model` must be given for on='features' and only then"),
    ],
)
def test_what_cannot_be_tested_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        two_sample(**{"train": normal(9), "other": normal(9, seed=1), **given})
