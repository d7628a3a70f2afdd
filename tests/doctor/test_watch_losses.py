"""Losses of every step, and their steps: put aside, missing, late, or from a device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fitwell
from fitwell.data import Batches
from fitwell.doctor import Watch
from fitwell.doctor._watch import _losses, _watch
from fitwell.doctor._watch._losses import Losses
from fitwell.train import Supervised

from .watched import examples, network, sgd

STEP, TICK = 300e-6, 1.5e-6


class HandClock:
    """Each reading takes a moment; steps take what they are given."""

    def __init__(self) -> None:
        self.now = 0.0
        self.readings = 0

    def __call__(self) -> float:
        self.readings += 1
        self.now += TICK
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr(_watch, "_CLOCK", made)
    return made


def as_tensor(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("given", [as_tensor, float], ids=["tensor", "number"])
def test_steps_that_are_put_aside_are_all_there(
    clock: HandClock, given: Callable[[float], Any]
) -> None:
    model = network()
    values = [math.sin(i) for i in range(300)]
    with Watch(model, sgd(model)) as watch:
        for value in values:
            if watch._look is not None:
                model(torch.ones(4, 6)).sum().backward()
            clock.now += STEP
            watch.step(given(value))
            if watch.steps % 50 == 0:  # asked while steps are put aside
                assert len(watch.record()["loss"]["step"]) == watch.steps
    record = watch.record()
    assert record["steps"] == len(values)
    assert record["loss"]["loss"] == values
    assert record["loss"]["step"] == list(range(1, 301))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that were not put aside."""
    found: list[int] = []
    take = Watch._take

    def counting(watch: Watch, *given: Any) -> None:
        take(watch, *given)
        found.append(watch.steps)

    monkeypatch.setattr(Watch, "_take", counting)
    return found


def check_account(watch: Watch, clock: HandClock, seconds: float) -> None:
    """The account holds the budget but for two looks, and hides nothing."""
    cost = watch.record()["cost"]
    ours = clock.readings / 2 * TICK / clock.now  # from one reading to the next
    look = cost["seconds_per_look"] / seconds
    assert ours <= cost["share"] + look
    assert cost["share"] <= cost["budget"] + 2 * look  # most of the first one is free
    assert watch._account.sampler.training == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize(("step", "most"), [(STEP, 0.4), (10 * STEP, 1.0)])
def test_the_account_holds_the_budget_with_steps_put_aside(
    clock: HandClock, counted: list[int], step: float, most: float
) -> None:
    model = network()
    with Watch(model, sgd(model)) as watch:
        for _ in range(1500):
            if watch._look is not None:
                model(torch.ones(4, 6)).sum().backward()
            clock.now += step
            watch.step(1.0)
    check_account(watch, clock, 1500 * step)
    assert len(watch.record()["looks"]["step"]) > 3
    assert len(counted) <= most * 1500  # where steps take long, all may be counted


def test_a_trainer_puts_aside_too_and_keeps_the_account(
    clock: HandClock, counted: list[int]
) -> None:
    model = network()
    watch = fitwell.watch()

    def slow(outputs: Tensor, targets: Tensor) -> Tensor:
        clock.now += STEP
        return F.cross_entropy(outputs, targets)

    optimizer = fitwell.optim.SGD(model.parameters(), lr=0.1)
    trainer = fitwell.Trainer(model, Supervised(slow), optimizer, observers=[watch])
    history = trainer.fit(Batches(examples(), 8), Batches(examples(), 8), epochs=30)
    record = watch.record()
    assert record["steps"] == len(history.losses) == 240
    assert record["loss"]["loss"] == pytest.approx(history.losses)
    assert record["loss"]["step"] == list(range(1, 241))
    assert len(counted) < 150
    clock.now -= 240 * STEP  # measuring took as long again, and is not in the account
    check_account(watch, clock, 240 * STEP)


def test_a_look_is_never_put_aside(clock: HandClock) -> None:
    """Also where a watch is bound anew in the middle of a rest."""
    model = network()
    optimizer = sgd(model)
    watch = Watch(model, optimizer)
    for _ in range(40):
        clock.now += STEP
        watch.step(1.0)
    assert watch._rests > watch._rested
    watch._sampler.urgent = True
    watch.bind(model, optimizer)
    assert watch._look is not None
    watch.step(1.0)
    assert watch._pair is not None  # its first step was taken at once
    watch.close()


def test_an_ill_loss_is_not_put_aside(clock: HandClock) -> None:
    model = network()
    watch = Watch(model, sgd(model))
    for _ in range(40):
        clock.now += STEP
        watch.step(torch.tensor(1.0))
    assert watch._rests > watch._rested
    watch.step(torch.tensor(math.inf), (torch.tensor([[math.nan]]), None))
    assert watch._look is not None
    found = watch.summary()["nonfinite"]
    assert found["loss_step"] == 41
    assert found["batch"] == ["inputs"]
    watch.close()


def test_steps_without_a_loss_are_steps() -> None:
    losses = Losses(capacity=8)
    for step in range(1, 13):
        kept = losses.put_aside if step % 2 else losses.add
        kept(float(step) if step % 3 == 0 else None)
    curve = losses.curve()
    assert curve["width"] == 2
    assert curve["step"] == [4, 6, 10, 12]
    assert curve["loss"] == [3.0, 6.0, 9.0, 12.0]
    assert Losses().curve() == {"step": [], "loss": [], "width": 1}


def test_means_that_come_late_fill_the_steps_they_are_of() -> None:
    losses = Losses()
    for step in range(1, 8):
        losses.add(None)
        if step in (3, 6):
            losses.add_mean(float(step), step)
    losses.add(9.0)
    assert losses.curve()["step"] == [1, 2, 3, 4, 5, 6, 8]
    assert losses.curve()["loss"] == [3.0, 3.0, 3.0, 6.0, 6.0, 6.0, 9.0]


class Elsewhere(Tensor):
    """A tensor that says it is not on the CPU."""

    is_cpu = False


def elsewhere(value: float) -> Tensor:
    return torch.tensor(value).as_subclass(Elsewhere)


def test_losses_on_a_device_are_copied_and_read_later() -> None:
    losses = Losses()
    loss = elsewhere(1.0)
    for number in range(3):
        assert not losses.put_aside(loss)
        losses.add(loss)
        loss += 1  # a buffer that the loop writes into
        if number == 1:
            assert losses.put_aside(None)
    assert losses.curve()["loss"] == [1.0, 2.0, 3.0]
    assert losses.curve()["step"] == [1, 2, 4]


def test_illness_that_is_read_late_is_told_and_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_losses, "_MOST", 6)
    model = network()
    watch = Watch(model, sgd(model))
    for step in range(6):
        assert not watch._sampler.urgent
        watch.step(elsewhere(math.nan if step == 2 else 1.0))
    assert watch._losses.first_nonfinite == 3
    assert watch._look is not None
    assert watch.notes[-1].startswith("a loss that is not finite was read too late")
    watch.close()


def test_losses_that_cannot_be_read_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_losses, "_MOST", 2)

    def broken(waiting: Any) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(_losses, "_fetched", broken)
    model = network()
    with Watch(model, sgd(model)) as watch:
        watch.step(elsewhere(1.0))
        watch.step(elsewhere(1.0))
        watch.step(4.0)
    assert "losses were lost: RuntimeError: the device is gone" in watch.notes
    assert watch.record()["loss"]["step"] == [3]
