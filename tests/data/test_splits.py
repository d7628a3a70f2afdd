"""Splits equal scikit-learn's for the same seed, and nothing crosses from one part to another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from fitwell.core.errors import DataError, UsageError
from fitwell.data import cut, grouped_split, shuffle_split, stratified_split, time_split

# A busy machine must not fail a test of algebra.
BRISK = settings(deadline=None, max_examples=40)
SEEDS = st.integers(0, 2**31 - 1)
SHARES = st.floats(0.05, 0.9)


@BRISK
@given(count=st.integers(2, 200), share=SHARES, seed=SEEDS)
def test_shuffle_split_equals_scikit_learn(count: int, share: float, seed: int) -> None:
    assume(np.ceil(share * count) < count)
    splitter = ShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    train, test = next(splitter.split(np.zeros(count)))
    stays, held = shuffle_split(count, share, seed)
    np.testing.assert_array_equal(stays, train)
    np.testing.assert_array_equal(held, test)


@BRISK
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    share=SHARES,
    seed=SEEDS,
    shuffle=st.randoms(use_true_random=False),
)
def test_stratified_split_equals_scikit_learn(counts, share, seed, shuffle) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    shuffle.shuffle(labels)
    held_rows = int(np.ceil(share * len(labels)))
    assume(min(held_rows, len(labels) - held_rows) >= len(counts))
    splitter = StratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    train, test = next(splitter.split(np.zeros(len(labels)), labels))
    stays, held = stratified_split(np.array(labels), share, seed)
    np.testing.assert_array_equal(stays, train)
    np.testing.assert_array_equal(held, test)


@BRISK
@given(groups=st.lists(st.integers(0, 9), min_size=2, max_size=80), share=SHARES, seed=SEEDS)
def test_grouped_split_equals_scikit_learn(groups: list[int], share: float, seed: int) -> None:
    distinct = len(set(groups))
    assume(distinct > 1)
    assume(np.ceil(share * distinct) < distinct)
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    train, test = next(splitter.split(np.zeros(len(groups)), groups=groups))
    stays, held = grouped_split(groups, share, seed)
    np.testing.assert_array_equal(stays, train)
    np.testing.assert_array_equal(held, test)


@BRISK
@given(
    groups=st.lists(st.text("abc", max_size=3), min_size=8, max_size=60),
    valid=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    seed=SEEDS,
)
def test_groups_never_leak(groups: list[str], valid: float, test: float, seed: int) -> None:
    assume(len(set(groups)) >= 8)
    parts = cut(len(groups), mode="grouped", valid=valid, test=test, seed=seed, keys=groups)
    held = {name: {groups[row] for row in rows} for name, rows in parts.items()}
    assert not held["train"] & held["valid"]
    assert not held["train"] & held["test"]
    assert not held["valid"] & held["test"]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(groups)))


@BRISK
@given(times=st.lists(st.integers(0, 30), min_size=10, max_size=60), share=st.floats(0.1, 0.5))
def test_time_split_never_puts_an_earlier_row_in_the_later_part(
    times: list[int], share: float
) -> None:
    assume(sorted(times)[len(times) - int(np.ceil(share * len(times)))] > min(times))
    stays, held = time_split(times, share)
    assert np.array(times)[stays].max() < np.array(times)[held].min()
    assert sorted([*stays, *held]) == list(range(len(times)))
    assert len(held) >= np.ceil(share * len(times))


def test_by_time_puts_the_parts_in_order_of_time() -> None:
    times = np.random.default_rng(0).permutation(100)
    parts = cut(100, mode="by_time", valid=0.2, test=0.1, keys=times)
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 70,
        "test": 10,
        "valid": 20,
    }
    assert times[parts["train"]].max() < times[parts["valid"]].min()
    assert times[parts["valid"]].max() < times[parts["test"]].min()


@BRISK
@given(
    count=st.integers(20, 200),
    valid=st.floats(0.05, 0.45),
    test=st.one_of(st.just(0.0), st.floats(0.05, 0.45)),
    seed=SEEDS,
)
def test_parts_of_a_cut_are_all_rows_once(count, valid, test, seed) -> None:
    parts = cut(count, valid=valid, test=test, seed=seed)
    assert set(parts) == ({"train", "valid", "test"} if test else {"train", "valid"})
    assert sorted(np.concatenate(list(parts.values()))) == list(range(count))


def test_the_seed_decides_the_cut() -> None:
    first, again, other = (cut(50, seed=seed)["valid"].tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"valid": 0.0}, "`valid` and `test` must be shares that leave rows"),
        ({"valid": 0.6, "test": 0.5}, r"got valid=0\.6, test=0\.5"),
        ({"mode": "stratified"}, "mode 'stratified' needs class labels"),
        ({"mode": "grouped"}, "mode 'grouped' needs a column to go by"),
        ({"mode": "grouped", "keys": [1] * 10}, "at least two groups; got 1"),
        ({"mode": "by_time", "keys": [1] * 10}, "`times` must differ enough"),
        ({"mode": "stratified", "labels": np.arange(10) % 4}, r"one row per class.* 4 classes"),
    ],
)
def test_a_cut_that_cannot_be_made_says_why(arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        cut(10, **arguments)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="leave both parts at least one row"):
        shuffle_split(1, 0.5, 0)


def test_a_class_with_one_member_cannot_be_stratified() -> None:
    with pytest.raises(DataError, match="class 7 has one member"):
        stratified_split(np.array([1, 1, 1, 7]), 0.5, 0)
