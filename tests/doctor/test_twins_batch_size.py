"""The batch size: too few steps and too much noise are told apart from sizes that are right."""

from __future__ import annotations

import json

import pytest

from fitwell.core.errors import TrainingError, UsageError
from fitwell.doctor import Twin, batch_size, state_digest
from fitwell.doctor._twins._batch_size import _twin

from .test_twins_rate import TRAIN, VALID, build_with, linear_data


def test_batches_that_are_right() -> None:
    before = state_digest(TRAIN, VALID)
    found = batch_size(build_with(), stack=1)
    assert state_digest(TRAIN, VALID) == before
    assert (found.found, found.verdict, found.batch_size) == (False, "right", 16)
    assert [rival.name for rival in found.rivals] == [
        "as it is",
        "batches × 0.25",
        "batches × 0.25, rate too",
        "batches × 4",
        "batches × 4, rate too",
    ]
    assert found.control == found.rivals[0].loss == pytest.approx(0.09, rel=0.25)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["conclusion"] == str(found)
    assert found.figure().axes[0].get_yticklabels()[0].get_text() == "as it is"


def test_batches_of_all_examples_make_too_few_steps() -> None:
    found = batch_size(build_with(size=192), factors=(0.25,), stack=1)
    assert (found.found, found.verdict, found.best) == (True, "too large", 0.25)
    assert found.interval[1] < found.control
    # Full batches at small rates: four steps of a quarter go as far as one whole step.
    assert "another rate may do as well" in str(found)
    found.figure()


def test_batches_of_one_example_at_a_high_rate_are_too_noisy() -> None:
    # The excess error at rate r is about r D / (2 - r (D + 2)) of the noise: 2.6 times, against 0.2
    # with 8 examples.
    found = batch_size(build_with(0.1, size=1), factors=(8.0,), scaled=False, seeds=5, stack=1)
    assert (found.found, found.verdict, found.best) == (True, "too small", 8.0)
    assert found.control > 2 * found.value
    assert len(found.rivals) == 2


def test_a_size_that_learns_noise_faster_is_not_better() -> None:
    noise = linear_data(24, 0, 1.0, slope=0.0)
    build = build_with(0.03, size=24, train=noise, valid=linear_data(200, 1, 1.0, 0.0), zero=True)
    found = batch_size(build, factors=(0.25,), scaled=False, stack=1)
    assert found.value < 0.95 * found.control
    assert (found.found, found.verdict) == (False, "right")


def test_a_rate_that_is_too_low_is_not_blamed_on_the_size() -> None:
    found = batch_size(build_with(1e-3), factors=(4.0,), stack=1)
    assert found.found is False
    found = batch_size(build_with(1e-9), factors=(4.0,), seeds=2, stack=1)
    assert (found.found, found.verdict) == (False, "none learns")
    assert "not the fault" in str(found)


def test_one_seed_proves_nothing() -> None:
    found = batch_size(build_with(size=192), factors=(0.25,), scaled=False, seeds=1, stack=1)
    assert found.found is None
    assert "Insufficient evidence" in str(found)
    found.figure()


def test_one_seed_of_a_healthy_training_proves_nothing_either() -> None:
    found = batch_size(build_with(), seeds=1, stack=1)
    assert (found.found, found.verdict) == (None, None)


def test_sizes_that_make_no_other_batches_are_left_out() -> None:
    found = batch_size(build_with(size=100), scaled=False, seeds=1, stack=1)
    assert [rival.name for rival in found.rivals] == ["as it is", "batches × 0.25"]
    assert found.not_tried == {"batches × 4": "there are 192 examples for batches of 400"}
    assert "not tried: batches × 4" in str(found)
    with pytest.raises(UsageError, match=r"must make batches of other sizes; .* examples as they"):
        batch_size(build_with(size=2), factors=(0.25,), stack=1)


def test_a_size_keeps_two_examples_for_their_statistics() -> None:
    sized = _twin(0.25, False).changes["batch_size"]
    assert [sized(size) for size in (1, 2, 4, 16, 100)] == [1, 2, 2, 4, 25]


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="`factors` must be positive with one that is not 1"):
        batch_size(build_with(), factors=(1.0, -2.0), stack=1)
    with pytest.raises(UsageError, match="`factors` must be positive"):
        batch_size(build_with(), seeds=0, stack=1)
    with pytest.raises(UsageError, match="must ask the twin for its batch size"):
        batch_size(lambda twin, seed: build_with()(Twin(), seed))
    broken = linear_data(64, 0)
    broken.inputs[3, 0] = float("inf")
    with pytest.raises(TrainingError, match="not finite before any step"):
        batch_size(build_with(train=broken), stack=1)
