"""A training that goes on from a saved state equals one that never stopped, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.core.errors import RunError
from fitwell.data import Batches
from fitwell.optim import AdamW, OneCycle
from fitwell.train import (
    EMA,
    SWA,
    Checkpoints,
    CheckpointWriter,
    EarlyStopping,
    Retention,
    Trainer,
    load_into,
    load_weights,
    resume,
)

from .problems import batches, examples, network, objective, same_weights, weights_of

EPOCHS = 3


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop("test")


def make(checkpoints: Checkpoints, stop_at: int, **options: Any) -> tuple[Trainer, EarlyStopping]:
    model = network(dropout=0.3)
    best = EarlyStopping("loss")
    observers = [best, StopAt(stop_at), CheckpointWriter(checkpoints, 1e9, best)]
    trainer = Trainer(
        model,
        objective(),
        AdamW(model.parameters(), lr=0.02),
        schedule=OneCycle(),
        observers=observers,
        **options,
    )
    return trainer, best


def run(trainer: Trainer, train: Batches) -> None:
    trainer.fit(train, Batches(examples(seed=9), 64), epochs=EPOCHS, log_every=2)


@settings(max_examples=12, deadline=None)
@given(
    stop_at=st.integers(1, 4 * EPOCHS),
    accumulate=st.sampled_from([1, 2, 3]),
    average=st.sampled_from([None, EMA(decay=0.9), SWA(start=0.3)]),
)
def test_plat_06_stopping_anywhere_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, stop_at: int, accumulate: int, average: Any
) -> None:
    folder = tmp_path_factory.mktemp("resume")
    options = {"accumulate": accumulate, "average": average}
    torch.manual_seed(0)
    whole, whole_best = make(Checkpoints(folder / "whole"), -1, **options)
    torch.manual_seed(11)
    run(whole, batches())

    checkpoints = Checkpoints(folder / "parts")
    first, _ = make(checkpoints, stop_at, **options)
    torch.manual_seed(11)
    run(first, batches())
    second, second_best = make(checkpoints, -1, **options)
    torch.manual_seed(12345)  # must not matter: the state brings its own
    train = batches()
    if checkpoints.newest() is not None:
        resume(second, checkpoints.load(), train, second_best, "checkpoint")
    run(second, train)

    assert first.history.losses + second.history.losses == whole.history.losses
    assert same_weights(weights_of(second.model), weights_of(whole.model))
    assert same_weights(weights_of(second.measured_model), weights_of(whole.measured_model))
    assert without_times(second.history.epochs) == without_times(whole.history.epochs)
    assert second_best.best_epoch == whole_best.best_epoch
    assert same_weights(second_best.best_weights, whole_best.best_weights)


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("seconds", "examples_per_second")
    return [{k: v for k, v in record.items() if k not in timed} for record in records]


def test_tune_10_early_stopping_restores_the_best_weights_bit_for_bit() -> None:
    """The reference keeps a copy of the weights of every epoch and chooses afterwards."""
    model = network()
    kept: list[tuple[float, dict[str, torch.Tensor]]] = []

    class KeepAll:
        def on_epoch(self, trainer: Trainer) -> None:
            loss = trainer.history.epochs[-1]["valid"]["loss"]
            kept.append((loss, weights_of(trainer.model)))

    best = EarlyStopping("loss", patience=3)
    trainer = Trainer(
        model, objective(), AdamW(model.parameters(), lr=0.3), observers=[KeepAll(), best]
    )
    trainer.fit(batches(), Batches(examples(60, seed=9), 64), epochs=60)
    losses = [loss for loss, _ in kept]
    first_best = losses.index(min(losses))
    assert len(kept) == first_best + 1 + 3 < 60
    assert best.best_epoch == first_best + 1
    best.restore(trainer)
    assert same_weights(weights_of(trainer.model), kept[first_best][1])
    assert not same_weights(weights_of(trainer.model), kept[-1][1])


def test_pt_22_a_checkpoint_round_trip_is_exact(tmp_path: Path) -> None:
    trainer, best = make(Checkpoints(tmp_path), -1)
    run(trainer, batches())
    state = Checkpoints(tmp_path).load()
    assert same_weights(state["model"], weights_of(trainer.model))
    assert same_weights(state["best"], best.best_weights)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self.path),))


def test_pt_22_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trainer, _ = make(Checkpoints(tmp_path), -1)
    run(trainer, batches())
    checkpoints = Checkpoints(tmp_path)
    bomb = Bomb()
    bomb.path = str(tmp_path / "exploded")
    state = tmp_path / f"step-{checkpoints.newest():09d}" / "state.pt"
    torch.save({"present": [], "bomb": bomb}, state)
    with pytest.raises(RunError, match=r"state\.pt: is damaged, or holds code, which is never run"):
        checkpoints.load()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors", "best.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    trainer, _ = make(Checkpoints(tmp_path), -1)
    run(trainer, batches())
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / f"step-{checkpoints.newest():09d}" / name).write_bytes(content)
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        checkpoints.load()


def test_pt_22_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    weights = {
        "0.weight": torch.zeros(16, 9),
        "0.bias": torch.zeros(16),
        "extra.weight": torch.zeros(1),
    }
    message = r"missing: 1\.bias.*; unknown: extra\.weight; other shape: 0\.weight \(16, 9\) for"
    with pytest.raises(RunError, match=message):
        load_into(network(), weights, tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.safetensors: the file is missing"):
        load_weights(tmp_path / "none.safetensors")


def test_checkpoints_that_stay_are_written_at_their_steps(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", Retention(every=3))
    best = EarlyStopping("loss")
    writer = CheckpointWriter(checkpoints, 1e9, best)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, objective(), optimizer, observers=[best, writer])
    trainer.fit(Batches(examples(100), 25), Batches(examples(50), 50), epochs=2)
    assert [entry.step for entry in checkpoints.entries()] == [3, 6, 8]
