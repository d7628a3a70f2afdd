"""Folds equal scikit-learn's for the same seed, and every row is held out once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)

from fitwell.core.errors import UsageError
from fitwell.data import cut_folds

BRISK = settings(deadline=None, max_examples=30)
SEEDS = st.integers(0, 2**31 - 1)
# Two ways of solving the same normal equations in float64.
SOLVED = 1e-9


def same(ours: list[Any], theirs: Iterable[Any]) -> None:
    theirs = list(theirs)
    assert len(ours) == len(theirs)
    for (stays, held), (train, test) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(stays, train)
        np.testing.assert_array_equal(held, test)


@BRISK
@given(folds=st.integers(2, 9), more=st.integers(0, 90), seed=SEEDS)
def test_tune_16_random_folds_equal_scikit_learn(folds: int, more: int, seed: int) -> None:
    count = folds + more
    splitter = KFold(folds, shuffle=True, random_state=seed)
    same(cut_folds(count, folds=folds, seed=seed), splitter.split(np.zeros(count)))
    repeated = RepeatedKFold(n_splits=folds, n_repeats=3, random_state=seed)
    ours = cut_folds(count, folds=folds, repeats=3, seed=seed)
    same(ours, repeated.split(np.zeros(count)))


@BRISK
@given(
    counts=st.lists(st.integers(4, 20), min_size=2, max_size=5),
    folds=st.integers(2, 4),
    seed=SEEDS,
    shuffle=st.randoms(use_true_random=False),
)
def test_tune_16_stratified_folds_equal_scikit_learn(counts, folds, seed, shuffle) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    shuffle.shuffle(labels)
    y = np.array(labels)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    ours = cut_folds(len(y), folds=folds, mode="stratified", seed=seed, labels=y)
    same(ours, splitter.split(y, y))
    repeated = RepeatedStratifiedKFold(n_splits=folds, n_repeats=2, random_state=seed)
    ours = cut_folds(len(y), folds=folds, repeats=2, mode="stratified", seed=seed, labels=y)
    same(ours, repeated.split(y, y))


@BRISK
@given(groups=st.lists(st.integers(0, 9), min_size=8, max_size=80), seed=SEEDS)
def test_tune_16_grouped_folds_equal_scikit_learn(groups: list[int], seed: int) -> None:
    folds = max(2, min(4, len(set(groups))))
    if len(set(groups)) < folds:
        groups = [*groups, 10]
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    ours = cut_folds(len(groups), folds=folds, mode="grouped", seed=seed, keys=groups)
    same(ours, splitter.split(np.zeros(len(groups)), groups=groups))
    for stays, held in ours:
        assert not {groups[i] for i in stays} & {groups[i] for i in held}


@BRISK
@given(folds=st.integers(2, 6), more=st.integers(0, 40))
def test_folds_by_time_equal_scikit_learn(folds: int, more: int) -> None:
    count = folds + 1 + more
    ours = cut_folds(count, folds=folds, mode="by_time", keys=np.arange(count))
    same(ours, TimeSeriesSplit(folds).split(np.zeros(count)))


@BRISK
@given(times=st.lists(st.integers(0, 30), min_size=30, max_size=80))
def test_no_instant_is_torn_apart(times: list[int]) -> None:
    try:
        found = cut_folds(len(times), folds=3, mode="by_time", keys=times)
    except UsageError:
        return
    for stays, held in found:
        assert max(times[i] for i in stays) < min(times[i] for i in held)


@BRISK
@given(
    mode=st.sampled_from(["random", "stratified", "grouped"]),
    count=st.integers(10, 90),
    folds=st.integers(2, 5),
    repeats=st.integers(1, 3),
    seed=SEEDS,
)
def test_hw3_06_each_row_is_held_out_once_in_each_repeat(mode, count, folds, repeats, seed) -> None:
    labels, keys = np.arange(count) % 2, np.arange(count) % 7
    found = cut_folds(
        count, folds=folds, repeats=repeats, mode=mode, seed=seed, labels=labels, keys=keys
    )
    assert len(found) == folds * repeats
    for repeat in range(repeats):
        held = [rows for _, rows in found[repeat * folds : (repeat + 1) * folds]]
        np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.arange(count))
    for stays, rows in found:
        np.testing.assert_array_equal(np.union1d(stays, rows), np.arange(count))
        assert not np.intersect1d(stays, rows).size


def test_hw3_06_the_rows_are_shuffled_and_the_repeats_differ() -> None:
    first, *_, last = cut_folds(100, folds=5, repeats=2, seed=1)
    assert first[1].tolist() != list(range(20))
    assert first[1].tolist() != last[1].tolist()


def test_tune_16_as_many_folds_as_rows_leave_one_out() -> None:
    held = sorted(cut_folds(12, folds=12, seed=3), key=lambda fold: fold[1][0])
    same(held, LeaveOneOut().split(np.zeros(12)))


def ridge(x: npt.NDArray[Any], y: npt.NDArray[Any], decay: float) -> npt.NDArray[Any]:
    """Weights of least squares with the squared weights times `decay` added, without a constant."""
    weights: npt.NDArray[Any] = np.linalg.solve(x.T @ x + decay * np.eye(x.shape[1]), x.T @ y)
    return weights


def problem() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 4))
    return x, x @ np.array([1.0, -2.0, 0.5, 0.0]) + random.normal(size=40)


def errors(x: Any, y: Any, folds: int, decay: float) -> list[float]:
    found = []
    for stays, held in cut_folds(len(y), folds=folds, seed=7):
        off = x[held] @ ridge(x[stays], y[stays], decay) - y[held]
        found.append(float(np.mean(off**2)))
    return found


def test_tune_16_fold_scores_and_their_mean_equal_cross_val_score() -> None:
    x, y = problem()
    theirs = cross_val_score(
        Ridge(alpha=2.0, fit_intercept=False),
        x,
        y,
        cv=KFold(5, shuffle=True, random_state=7),
        scoring=make_scorer(mean_squared_error),
    )
    ours = errors(x, y, 5, 2.0)
    np.testing.assert_allclose(ours, theirs, rtol=SOLVED)
    assert np.mean(ours) == pytest.approx(theirs.mean(), rel=SOLVED)


@pytest.mark.parametrize("decay", [0.0, 0.3, 10.0])
def test_tune_16_leaving_one_out_of_ridge_equals_the_closed_form(decay: float) -> None:
    x, y = problem()
    hat = x @ np.linalg.solve(x.T @ x + decay * np.eye(4), x.T)
    shortcut = (y - hat @ y) / (1 - np.diag(hat))
    assert np.mean(errors(x, y, len(y), decay)) == pytest.approx(
        float(np.mean(shortcut**2)), rel=SOLVED
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"folds": 1}, "`folds` must lie in 2 ... the number of rows, 10; got 1"),
        ({"folds": 11}, "`folds` must lie in 2 ... the number of rows, 10; got 11"),
        ({"folds": 2, "repeats": 0}, "`repeats` must be at least 1"),
        ({"folds": 2, "mode": "grouped"}, "needs a column to go by"),
        ({"folds": 2, "mode": "stratified"}, "needs class labels"),
        ({"folds": 3, "mode": "grouped", "keys": [0, 1] * 5}, "number of groups, 2; got 3"),
        (
            {"folds": 6, "mode": "stratified", "labels": np.array([0, 1] * 5)},
            "members of the largest class; got 6",
        ),
        ({"folds": 3, "mode": "by_time", "keys": [0, 1] * 5}, "got 3 for 2 different times"),
    ],
)
def test_what_cannot_be_dealt_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cut_folds(10, **given)
