"""Observers decide when training ends and write what it measured."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.data import Batches
from fitwell.optim import SGD
from fitwell.train import EarlyStopping, TimeBudget, Trainer

from .problems import batches, examples, network, objective, same_weights, weights_of


class Script:
    """Stands for a training whose validation values are given."""

    def __init__(self, values: list[float], metric: str = "loss") -> None:
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.measured_model = self.model
        self.history = type("History", (), {"epochs": [], "stopped": None})()
        self.values, self.metric = values, metric

    def stop(self, reason: str) -> None:
        self.history.stopped = reason

    def run(self, observer: EarlyStopping) -> int:
        """Give the number of epochs that were run; the weight is the number of the epoch."""
        for number, value in enumerate(self.values, start=1):
            torch.nn.init.constant_(self.model.weight, number)
            record = {"epoch": number, "step": 10 * number, "train": {}}
            self.history.epochs.append({**record, "valid": {self.metric: value}})
            observer.on_epoch(self)  # type: ignore[arg-type]
            if self.history.stopped:
                return number
        return len(self.values)


@pytest.mark.parametrize(
    ("values", "mode", "patience", "ran", "best"),
    [
        ([3, 2, 1, 2, 3, 0], "min", 2, 5, 3),
        ([3, 2, 1, 2, 3, 0], "min", 3, 6, 6),
        ([3, 2, 1, 2, 3, 0], "min", None, 6, 6),
        ([1, 2, 2, 2, 2], "max", 2, 4, 2),  # an equal value is not better
        ([1, 1], "min", 1, 2, 1),
        ([float("nan"), 1, float("nan"), 2], "min", 3, 4, 2),
    ],
)
def test_early_stopping_counts_epochs_since_the_best(
    values: list[float], mode: Any, patience: int | None, ran: int, best: int
) -> None:
    observer, script = EarlyStopping("loss", mode, patience), Script(values)
    assert script.run(observer) == ran
    assert (observer.best_epoch, observer.best_step) == (best, 10 * best)
    assert observer.best_value == values[best - 1]
    observer.restore(script)  # type: ignore[arg-type]
    assert script.model.weight.item() == best


def test_the_kept_weights_are_a_copy() -> None:
    observer, script = EarlyStopping(), Script([1.0])
    script.run(observer)
    torch.nn.init.constant_(script.model.weight, 99)
    assert observer.best_weights is not None
    assert observer.best_weights["weight"].item() == 1


def test_without_validation_the_training_loss_is_watched() -> None:
    model = network()
    observer = EarlyStopping("loss")
    trainer = Trainer(model, objective(), SGD(model.parameters(), lr=0.1), observers=[observer])
    history = trainer.fit(batches(), epochs=3)
    losses = [record["train"]["loss"] for record in history.epochs]
    assert observer.best_value == min(losses)


def test_a_metric_that_is_not_measured_is_named() -> None:
    model = network()
    trainer = Trainer(
        model, objective(), SGD(model.parameters()), observers=[EarlyStopping("accuracy")]
    )
    message = r"`metric` must be one of \['loss'\]; got 'accuracy'"
    with pytest.raises(UsageError, match=message):
        trainer.fit(batches(), Batches(examples(), 50), epochs=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience=0), "`patience` must be at least 1; got 0"),
        (lambda: TimeBudget(0.0), "`minutes` must be positive; got 0.0"),
        (lambda: TimeBudget(float("nan")), "`minutes` must be positive; got nan"),
    ],
)
def test_values_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_a_time_budget_counts_the_time_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    module = sys.modules[TimeBudget.__module__]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Tick:
        def on_step(self, trainer: Trainer) -> None:
            clock[0] += 1

    model = network()
    trainer = Trainer(
        model, objective(), SGD(model.parameters()), observers=[Tick(), TimeBudget(5 / 60)]
    )
    history = trainer.fit(batches(), epochs=10)
    assert trainer.step == 5
    assert history.stopped == "the time budget of 0.0833333 minutes is used up"


def test_an_observer_may_have_any_of_the_methods() -> None:
    class Nothing:
        pass

    seen: list[int] = []

    class OnlyEpochs:
        def on_epoch(self, trainer: Trainer) -> None:
            seen.append(trainer.epoch)

    plain, watched = network(), network()
    Trainer(plain, objective(), SGD(plain.parameters())).fit(batches(), epochs=2)
    trainer = Trainer(
        watched, objective(), SGD(watched.parameters()), observers=[Nothing(), OnlyEpochs()]
    )
    trainer.fit(batches(), epochs=2)
    assert seen == [1, 2]
    assert same_weights(weights_of(plain), weights_of(watched))


def test_a_training_that_ran_out_of_patience_does_not_go_on_when_resumed() -> None:
    model = network()
    best = EarlyStopping("loss", patience=2)
    best.load_state_dict({"best_value": 0.1, "best_epoch": 3, "best_step": 12})
    trainer = Trainer(model, objective(), SGD(model.parameters()), observers=[best])
    trainer.history.epochs.append({"epoch": 5})
    trainer.fit(batches(), epochs=9)
    assert trainer.step == 0
