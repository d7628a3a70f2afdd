from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fitwell.core.errors import UsageError
from fitwell.metrics import Calibration, calibration

SAME = 1e-12  # float64 sums in another order
DRAWS = 200
COVERED = 0.95 - 3 * (0.95 * 0.05 / DRAWS) ** 0.5  # three standard errors of a share of DRAWS


def draw(seed: int, count: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, dtype=torch.float64, generator=generator)
    return logits.softmax(1), torch.randint(classes, (count,), generator=generator)


def by_hand(probs: Tensor, targets: Tensor, bins: int) -> tuple[float, list[int]]:
    """Equations 1 to 3 of the source, an example at a time."""
    members: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for row, target in zip(probs.tolist(), targets.tolist(), strict=True):
        confidence = max(row)
        for place in range(bins):
            if place / bins < confidence <= (place + 1) / bins:
                members[place].append((confidence, row.index(confidence) == target))
    error = 0.0
    for found in filter(None, members):
        accuracy = sum(right for _, right in found) / len(found)
        error += len(found) * abs(accuracy - sum(c for c, _ in found) / len(found))
    return error / len(probs), [len(found) for found in members]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 60),
    classes=st.integers(2, 6),
    bins=st.integers(1, 20),
)
def test_error_and_bins_equal_a_loop_over_examples(
    seed: int, count: int, classes: int, bins: int
) -> None:
    probs, targets = draw(seed, count, classes)
    found = calibration(probs, targets, bins=bins)
    error, counts = by_hand(probs, targets, bins)
    assert found.ece == pytest.approx(error, abs=SAME)
    assert [row.count for row in found.bins] == counts
    low, high = found.ece_interval
    assert 0 <= low <= found.ece <= high <= 1
    assert sum(row.correct for row in found.bins) == round(found.accuracy * count)
    for row in found.bins:
        if row.count:
            assert row.low < (row.confidence or 0) <= row.high + SAME
        else:
            assert (row.confidence, row.accuracy) == (None, None)


def simulated(generator: torch.Generator, count: int, power: float) -> tuple[Calibration, float]:
    """A model of two classes whose true chance of being right is a power of its confidence."""
    confidence = 0.5 + 0.5 * torch.rand(count, generator=generator, dtype=torch.float64)
    chance = confidence**power
    targets = (torch.rand(count, generator=generator, dtype=torch.float64) > chance).long()
    found = calibration(torch.stack([confidence, 1 - confidence], 1), targets, bins=10)
    gaps = (confidence * 10).ceil().long().bincount(chance - confidence, minlength=11)
    return found, float(gaps.abs().sum() / count)


@pytest.mark.parametrize("power", [1.0, 1.2, 3.0])
@pytest.mark.parametrize("count", [40, 1000])
def test_interval_covers_the_true_error(power: float, count: int) -> None:
    generator = torch.Generator().manual_seed(7)
    draws = [simulated(generator, count, power) for _ in range(DRAWS)]
    covered = [found.ece_interval[0] <= true <= found.ece_interval[1] for found, true in draws]
    assert sum(covered) / DRAWS >= COVERED
    if power == 3 and count == 1000:  # far too confident, and enough examples to show it
        assert all(found.ece_interval[0] > 0 for found, _ in draws)


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_not() -> None:
    probs = torch.eye(2)[[0, 1] * 50]
    right = torch.tensor([0, 1] * 50)
    assert calibration(probs, right).ece == 0
    assert calibration(probs, 1 - right).ece == 1
    assert calibration(probs, right).bins[-1].count == 100


def test_one_bin_gives_the_gap_of_the_means() -> None:
    probs, targets = draw(3, 50, 4)
    found = calibration(probs, targets, bins=1)
    assert found.ece == pytest.approx(abs(found.accuracy - found.confidence), abs=SAME)


def test_result_is_plain_data() -> None:
    found = calibration(*draw(0, 30, 3)).to_dict()
    assert json.loads(json.dumps(found))["bins"][-1].keys() == {
        "low", "high", "count", "correct", "confidence", "accuracy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("probs", "targets", "words"),
    [
        (torch.ones(3), torch.zeros(3).long(), r"shapes \(N, K\) and \(N,\)"),
        (torch.ones(3, 2) / 2, torch.zeros(2).long(), r"got \(3, 2\) and \(2,\)"),
        (torch.ones(0, 2), torch.zeros(0).long(), "N at least 1"),
        (torch.ones(3, 2), torch.zeros(3).long(), "add up to 1; got rows that are off by up to 1"),
        (torch.tensor([[2.0, -1.0]]), torch.zeros(1).long(), "lowest value -1"),
        (torch.tensor([[float("nan"), 1.0]]), torch.zeros(1).long(), "add up to 1"),
    ],
)
def test_what_are_no_probabilities_is_refused(probs: Tensor, targets: Tensor, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        calibration(probs, targets)


@pytest.mark.parametrize("bad", [{"bins": 0}, {"level": 1.0}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="`bins` must be at least 1 and `level` in"):
        calibration(torch.eye(2), torch.arange(2), **bad)  # type: ignore[arg-type]
