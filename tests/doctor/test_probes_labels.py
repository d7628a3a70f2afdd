"""Probes of the labels: planted noise is found and counted, clean labels are not accused."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from fitwell.core.errors import UsageError
from fitwell.data import load_builtin
from fitwell.doctor import (
    confident_joint,
    label_noise,
    label_order,
    label_permutation,
    noise_share,
)


def digits(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = load_digits(return_X_y=True)
    return inputs[:count], labels[:count].astype(np.int64)


def noisy(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Change a share of the labels to another class; give them and where they were changed."""
    random = np.random.default_rng(0)
    wrong = random.random(len(labels)) < share
    moved = (labels + random.integers(1, 10, size=len(labels))) % 10
    return np.where(wrong, moved, labels), wrong


# Confident learning


def by_loops(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Count as the definition says, one row after the other."""
    classes = probs.shape[1]
    limits = [
        np.mean([p[j] for p, label in zip(probs, labels, strict=True) if label == j])
        if j in labels
        else np.inf
        for j in range(classes)
    ]
    counts = np.zeros((classes, classes), dtype=int)
    for label, p in zip(labels, probs, strict=True):
        candidates = [j for j in range(classes) if p[j] >= limits[j] - 1e-6]
        if candidates:
            counts[label, max(candidates, key=lambda j: (p[j], -j))] += 1
    return counts


@given(count=st.integers(1, 30), classes=st.integers(2, 5), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_the_confident_joint_is_as_defined(count: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.ones(classes), size=count)
    labels = random.integers(classes, size=count)
    counts = confident_joint(labels, probs)
    assert counts.tolist() == by_loops(labels, probs).tolist()
    share = noise_share(labels, probs)
    assert -1e-12 <= share <= 1
    joint = np.zeros((classes, classes))
    for name in range(classes):
        row = counts[name].astype(float)
        if row.sum() == 0:
            row[name] = 1
        joint[name] = row / row.sum() * np.mean(labels == name)
    assert share == pytest.approx(1 - np.trace(joint))


def test_sure_and_right_probabilities_find_no_noise_and_count_every_wrong_label() -> None:
    labels = np.arange(60) % 3
    sure = np.eye(3)[labels]
    assert noise_share(labels, sure) == 0
    wrong = labels.copy()
    wrong[:6] = (wrong[:6] + 1) % 3
    assert noise_share(wrong, sure) == pytest.approx(0.1)
    assert confident_joint(wrong, sure).sum() == 60


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_planted_noise_is_found_and_its_rows_are_named(share: float) -> None:
    inputs, right = digits()
    labels, wrong = noisy(right, share)
    found = label_noise((inputs, labels))
    assert found.found is True
    assert found.value == pytest.approx(share, abs=0.07)
    assert found.interval[0] < wrong.mean() + 0.06
    assert found.interval[1] > wrong.mean() - 0.06
    doubted = np.zeros(len(labels), dtype=bool)
    doubted[list(found.suspects)] = True
    assert wrong[doubted].mean() > 0.7  # precision
    assert doubted[wrong].mean() > 0.65  # recall
    assert found.control < 0.5 * found.value + 0.03
    assert "rows are doubted" in found.conclusion


def test_clean_labels_are_not_accused() -> None:
    found = label_noise(digits())
    assert found.found is not True
    assert found.value < 0.07
    assert len(found.suspects) < 30
    assert found.accuracy > 0.9


def test_a_weak_model_does_not_make_labels_wrong() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, size=(600, 2))
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int64)  # which no line divides
    weak = label_noise((x, labels))
    assert weak.value > 0.2  # misled
    assert weak.control > 0.2  # and known to be
    assert weak.found is not True
    better = label_noise((x, labels), classifier="boosting", folds=3)
    assert better.value < 0.1


def test_probabilities_of_ones_own_are_taken() -> None:
    inputs, right = digits(200)
    labels, wrong = noisy(right, 0.2)
    found = label_noise((inputs, labels), probs=np.eye(10)[right])
    assert found.value == pytest.approx(wrong.mean(), abs=1e-9)
    assert set(found.suspects) == set(np.flatnonzero(wrong))


# Permuted labels


def test_labels_shuffled_apart_from_their_rows_are_told() -> None:
    inputs, labels = digits(200)
    healthy = label_permutation((inputs, labels), folds=2)
    shuffled = np.random.default_rng(1).permutation(labels)
    apart = label_permutation((inputs, shuffled), folds=2, margin=0.1)
    assert healthy.found is False
    assert healthy.value > 0.85
    assert healthy.control == pytest.approx(0.1, abs=0.04)
    assert apart.found is True
    assert apart.value == pytest.approx(apart.control, abs=0.05)
    assert "Nothing can be learned" in apart.conclusion


# Order


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 1], [0, 1, 2, 2, 2, 1], [0, 0, 1, 1, 2, 2]])
def test_mean_and_range_of_an_order_equal_all_orders(labels: list[int]) -> None:
    shares = np.array([np.mean(np.diff(order) == 0) for order in permutations(labels)])
    found = label_order(np.array(labels))
    assert found.value == pytest.approx(np.mean(np.diff(labels) == 0))
    assert found.control == pytest.approx(shares.mean())
    half = 1.959963984540054 * shares.std()
    assert found.interval[1] == pytest.approx(min(1.0, shares.mean() + half))
    assert found.found is None  # too few rows


def test_sorted_rows_are_found_and_classes_counted() -> None:
    data = load_builtin("digits").train
    assert data.targets is not None
    order = data.targets.argsort()
    assert label_order(data).found is False
    found = label_order(data.select(order))
    assert found.found is True
    assert found.value > 0.99
    assert sum(found.counts.values()) == len(data)
    assert len(found.figure().axes[0].patches) == 10
    alternating = np.arange(100) % 2
    assert label_order(alternating).found is False  # far from random, and harmless


def test_one_class_is_no_evidence() -> None:
    assert label_order(np.zeros(50, dtype=int)).found is None


# All


def test_results_are_plain_data_sentences_and_pictures() -> None:
    inputs, labels = digits(100)
    for result in (
        label_noise((inputs, labels), folds=2),
        label_permutation((inputs, labels), permutations=2, folds=2),
        label_order(labels),
    ):
        plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert plain["conclusion"] == str(result)
        assert str(result).endswith(".")
        assert result.figure().axes


def test_wrong_arguments() -> None:
    inputs, labels = digits(50)
    with pytest.raises(UsageError, match="must have classes as targets"):
        label_noise((inputs, labels + 0.5))
    with pytest.raises(UsageError, match="`probs` must have a row per example"):
        label_noise((inputs, labels), probs=np.ones((3, 10)))
    with pytest.raises(UsageError, match=r"`probs` must be \(N, K\)"):
        confident_joint(labels, np.ones((50, 3)))
    with pytest.raises(UsageError, match="labels must be 0 or more"):
        label_noise((inputs, labels - 1))
    with pytest.raises(UsageError, match="`permutations` must be at least 1"):
        label_permutation((inputs, labels), permutations=0)
    with pytest.raises(UsageError, match="must have classes as targets"):
        label_order(inputs)
    with pytest.raises(UsageError, match="at least two labels"):
        label_order(labels[:1])
