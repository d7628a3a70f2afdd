"""Twins: trainings that differ in one thing, built by a function that asks for each part."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.data import Batches, Examples, Schema
from fitwell.doctor import Twin, state_digest
from fitwell.doctor._twins._twin import contrast, grow, sample_of, without_augmentation
from fitwell.losses import CrossEntropy
from fitwell.optim import SGD
from fitwell.train import Member, Supervised, Trainer, evaluate


def problem(rows: int = 96) -> Examples:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, 4, generator=generator)
    schema = Schema(kind="tensor", input_shape=(4,), target_kind="class", class_names=("no", "yes"))
    return Examples(inputs=inputs, targets=(inputs.sum(dim=1) > 0).long(), schema=schema)


TRAIN, VALID = problem(96), problem(64)


def build(twin: Twin, seed: int) -> Member:
    torch.manual_seed(seed)
    model = twin.model(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    return Member(
        model=model,
        objective=Supervised(twin.loss(CrossEntropy())),
        optimizer=SGD(model.parameters(), lr=twin.lr(0.1)),
        train=Batches(twin.examples(TRAIN), twin.batch_size(16), shuffle=True, seed=seed),
        valid=Batches(VALID, 64),
        epochs=twin.epochs(3),
        seed=seed,
    )


def test_a_twin_without_changes_is_the_training_itself():
    found = grow("test", build, [Twin()], seeds=2)["as it is"]
    for number, loss in enumerate(found.train):
        torch.manual_seed(number)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        trainer = Trainer(model, Supervised(CrossEntropy()), SGD(model.parameters(), lr=0.1))
        trainer.fit(Batches(TRAIN, 16, shuffle=True, seed=number), epochs=3)
        expected = trainer.evaluate(Batches(TRAIN, 256))["loss"]
        assert loss == pytest.approx(expected, rel=1e-5)
    assert found.parameters == 4 * 8 + 8 + 8 * 2 + 2
    assert len(found.curves[0]) == 3


def test_each_change_arrives_and_all_are_measured_with_one_objective():
    smoothed = Twin(name="smoothed", changes={"loss": lambda _: CrossEntropy(label_smoothing=0.5)})
    longer = Twin(name="longer", changes={"epochs": lambda epochs: epochs * 3})
    half = Twin(name="half", changes={"examples": lambda all_: all_.select(range(48))})
    found = grow("test", build, [Twin(), smoothed, longer, half], seeds=1)
    assert len(found["longer"].curves[0]) == 9
    assert found["longer"].train[0] < found["as it is"].train[0]
    assert len(found["half"].members[0].train.examples) == 48
    member = found["smoothed"].members[0]
    plain = evaluate(Supervised(CrossEntropy()), member.model, Batches(TRAIN, 96))["loss"]
    assert found["smoothed"].train[0] == pytest.approx(plain, rel=1e-5)


def test_a_training_that_is_lost_has_infinite_loss():
    fast = Twin(name="fast", changes={"lr": lambda lr: lr * 1e30})
    found = grow("test", build, [Twin(), fast], seeds=1)
    assert found["fast"].train == (float("inf"),)
    assert found["as it is"].train[0] < 1


def test_random_generators_stay_as_they_were():
    before = state_digest()
    grow("test", build, [Twin()], seeds=1)
    sample_of("test", build)
    assert state_digest() == before


def test_build_must_ask_for_what_a_twin_changes():
    twin = Twin(name="calm", changes={"weight_decay": lambda _: 0.0})
    with pytest.raises(UsageError, match=r"must ask the twin for its weight decay.*twin\.weight_d"):
        grow("test", build, [Twin(), twin], seeds=1)
    with pytest.raises(UsageError, match="`seeds` must be at least 1"):
        grow("test", build, [Twin()], seeds=0)


def test_a_sample_is_what_the_first_batch_holds():
    assert sample_of("test", build).shape == (96, 4)


def test_batches_must_have_a_first_part() -> None:
    def named(twin: Twin, seed: int) -> Member:
        member = build(twin, seed)
        member.train = [{"inputs": TRAIN.inputs}]
        return member

    with pytest.raises(UsageError, match=r"first part the model takes; got dict\. Give pairs"):
        sample_of("test", named)


def test_intervals_of_several_contrasts_hold_together():
    one, other = [1.0, 2.0, 4.0], [0.0, 0.0, 0.0]
    _, (low, high) = contrast(one, other)
    _, (lower, higher) = contrast(one, other, among=5)
    assert (higher - lower) / (high - low) == pytest.approx(9.925 / 4.303, rel=1e-3)


def test_large_examples_are_measured_in_the_batches_that_fit():
    wide = Examples(
        inputs=torch.zeros(8, 2000),
        targets=torch.zeros(8).long(),
        schema=Schema(kind="tensor", input_shape=(2000,), target_kind="class", class_names=("a",)),
    )
    assert without_augmentation(Batches(wide, 2)).batch_size == 2
    assert without_augmentation(Batches(TRAIN, 2)).batch_size == 256


def test_a_contrast_is_paired():
    mean, (low, high) = contrast([1.0, 12.0, 101.0], [0.0, 10.0, 100.0])
    assert mean == pytest.approx(4 / 3)
    assert -1 < low < 0
    assert high < 4
