"""The loop equals loops written by hand, to the bit where arithmetic allows."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fitwell.core.errors import TrainingError, UsageError
from fitwell.data import Batches
from fitwell.optim import SGD, AdamW, Cosine
from fitwell.train import EMA, Supervised, TimeBudget, Trainer, evaluate

from .problems import batches, examples, network, objective, same_weights, weights_of

# Sums of float32 in another order differ in the last bits.
REORDERED = {"rtol": 1e-5, "atol": 1e-6}


def test_pt_18_losses_per_step_equal_a_literal_loop_bit_for_bit() -> None:
    data = examples()
    model = network(dropout=0.5)
    loader = DataLoader(
        TensorDataset(data.inputs, data.targets),
        32,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    criterion = nn.CrossEntropyLoss()
    losses = []
    torch.manual_seed(5)
    for _ in range(3):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            pred = model(x)
            loss = criterion(pred, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    ours = network(dropout=0.5)
    trainer = Trainer(ours, objective(), AdamW(ours.parameters(), lr=0.01))
    torch.manual_seed(5)
    history = trainer.fit(batches(), epochs=3)

    assert history.losses == losses
    assert same_weights(weights_of(ours), weights_of(model))


def test_any_loader_any_torch_optimizer_and_schedule_work() -> None:
    data = examples()
    loader = DataLoader(TensorDataset(data.inputs, data.targets), 25)
    model = network()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    history = Trainer(model, objective(), optimizer, schedule=Cosine()).fit(loader, epochs=4)
    assert len(history.losses) == 16
    assert history.epochs[-1]["train"]["loss"] < history.epochs[0]["train"]["loss"]
    assert history.epochs[-1]["lr"] < 0.01


def test_pt_19_the_last_short_batch_is_weighted_right() -> None:
    data, model = examples(100), network().eval()
    whole = F.cross_entropy(model(data.inputs), data.targets).item()
    parts = [F.cross_entropy(model(x), y) for x, y in Batches(data, 32)]
    naive = torch.stack(parts).mean().item()
    measured = evaluate(objective(), model, Batches(data, 32))["loss"]
    assert measured == pytest.approx(whole, rel=1e-6)
    assert naive != pytest.approx(whole, rel=1e-6)


def test_pt_21_evaluation_is_without_gradients_and_restores_the_mode() -> None:
    model = network(dropout=0.5)
    seen: dict[str, Any] = {}

    def spy(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        seen.update(training=module.training, graph=output.requires_grad)

    model.register_forward_hook(spy)
    for mode in (True, False):
        model.train(mode)
        evaluate(objective(), model, Batches(examples(), 10))
        assert seen == {"training": False, "graph": False}
        assert model.training is mode


def test_accumulation_equals_one_big_batch_with_a_short_end() -> None:
    data = examples(100)
    big, small = nn.Linear(8, 3), nn.Linear(8, 3)
    small.load_state_dict(big.state_dict())
    one = Trainer(big, objective(), SGD(big.parameters(), lr=0.1, momentum=0.0))
    one.fit(Batches(data, 64), epochs=2)
    many = Trainer(small, objective(), SGD(small.parameters(), lr=0.1, momentum=0.0), accumulate=4)
    many.fit(Batches(data, 16), epochs=2)
    assert many.step == one.step == 4
    torch.testing.assert_close(small.weight, big.weight, **REORDERED)
    torch.testing.assert_close(
        torch.tensor(many.history.losses), torch.tensor(one.history.losses), **REORDERED
    )


def test_clipping_equals_torch() -> None:
    data = examples()
    ours, theirs = network(), network()
    trainer = Trainer(ours, objective(), SGD(ours.parameters(), lr=0.5), grad_clip_norm=0.1)
    trainer.fit(Batches(data, 50), epochs=2)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9, fused=True)
    for _ in range(2):
        for x, y in Batches(data, 50):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x), y).backward()
            norm = nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
            optimizer.step()
    assert same_weights(weights_of(ours), weights_of(theirs))
    assert torch.equal(trainer.grad_norm, norm)


def test_average_of_weights_is_the_recursion_and_is_what_is_measured() -> None:
    model = nn.Linear(8, 3)
    trainer = Trainer(model, objective(), SGD(model.parameters(), lr=0.5), average=EMA(decay=0.9))
    expected: list[torch.Tensor] = []

    class Recursion:
        def on_step(self, trainer: Trainer) -> None:
            current = model.weight.detach().clone()
            expected.append(current if not expected else 0.9 * expected[-1] + 0.1 * current)

    trainer.observers = (Recursion(),)
    valid = Batches(examples(seed=7), 64)
    history = trainer.fit(batches(), valid, epochs=3)
    average = trainer.measured_model
    torch.testing.assert_close(average.weight, expected[-1], **REORDERED)
    assert history.epochs[-1]["valid"]["loss"] == evaluate(objective(), average, valid)["loss"]
    assert not torch.equal(average.weight, model.weight)


def test_bf16_stays_close_to_float32() -> None:
    losses = {}
    for precision in ("float32", "bf16"):
        model = network()
        trainer = Trainer(model, objective(), SGD(model.parameters(), lr=0.05), precision=precision)
        losses[precision] = trainer.fit(batches(), epochs=3).epochs[-1]["train"]["loss"]
    # bf16 has 8 bits of mantissa: relative error 2^-8 per operation.
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bf16"] != losses["float32"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_model_trains_to_the_same_losses() -> None:
    torch._dynamo.reset()
    plain, compiled = network(), network()
    Trainer(plain, objective(), SGD(plain.parameters())).fit(batches(), epochs=1)
    trainer = Trainer(compiled, objective(), SGD(compiled.parameters()), compiled=True)
    trainer._forward = torch.compile(compiled, backend="eager")  # no C++ compiler needed
    trainer.fit(batches(), epochs=1)
    torch.testing.assert_close(compiled[0].weight, plain[0].weight, **REORDERED)


def test_max_steps_may_end_within_an_epoch_and_is_measured_there() -> None:
    model = network()
    trainer = Trainer(model, objective(), SGD(model.parameters()))
    history = trainer.fit(batches(), Batches(examples(), 50), max_steps=6)
    assert trainer.step == len(history.losses) == 6
    assert [record["step"] for record in history.epochs] == [4, 6]


def test_a_time_budget_stops_between_steps() -> None:
    model = network()
    trainer = Trainer(
        model, objective(), SGD(model.parameters()), observers=[TimeBudget(minutes=1e-9)]
    )
    history = trainer.fit(batches(), epochs=5)
    assert trainer.step == 1
    assert history.stopped is not None
    assert "time budget" in history.stopped


def test_a_loss_that_is_not_a_number_names_its_step() -> None:
    model = network()

    def poisoned(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        poisoned.calls += 1
        return F.cross_entropy(outputs, targets) * (float("nan") if poisoned.calls == 3 else 1)

    poisoned.calls = 0
    trainer = Trainer(model, Supervised(poisoned), SGD(model.parameters()))
    with pytest.raises(TrainingError, match=r"became nan at step 3 \(lr=0.1\)"):
        trainer.fit(batches(), epochs=2)
    assert not trainer.healthy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accumulate": 0}, "`accumulate` must be at least 1; got 0"),
        ({"grad_clip_norm": 0.0}, "`grad_clip_norm` must be positive; got 0.0"),
        ({"precision": "fp16"}, "must be float32 or bf16 on a CPU"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    model = network()
    with pytest.raises(UsageError, match=message):
        Trainer(model, objective(), SGD(model.parameters()), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of `epochs` and `max_steps`"),
        ({"epochs": 0}, "`epochs` must be at least 1; got 0"),
        ({"max_steps": -1}, "`max_steps` must be at least 1; got -1"),
    ],
)
def test_fit_needs_an_end(arguments: dict[str, Any], message: str) -> None:
    model = network()
    with pytest.raises(UsageError, match=message):
        Trainer(model, objective(), SGD(model.parameters())).fit(batches(), **arguments)


def test_an_empty_iterable_is_refused() -> None:
    model = network()
    with pytest.raises(UsageError, match="must give at least one batch"):
        Trainer(model, objective(), SGD(model.parameters())).fit([], max_steps=3)


def test_observers_are_called_in_order() -> None:
    calls: list[str] = []

    class Diary:
        def __getattr__(self, name: str) -> Any:
            if not name.startswith("on_"):
                raise AttributeError(name)
            return lambda trainer: calls.append(name)

    model = network()
    trainer = Trainer(model, objective(), SGD(model.parameters()), observers=[Diary()])
    trainer.fit(batches(batch_size=50), epochs=2)
    epoch = ["on_step", "on_step", "on_epoch"]
    assert calls == ["on_fit_start", *epoch, *epoch, "on_fit_end"]


def test_a_state_saved_within_an_epoch_holds_the_time_that_it_took() -> None:
    """So that speed and time are right after a kill, when nothing could be added up any more."""
    saved: list[dict[str, Any]] = []

    class Saver:
        def on_step(self, trainer: Trainer) -> None:
            saved.append(trainer.state_dict())

    model = network()
    trainer = Trainer(model, objective(), SGD(model.parameters(), lr=0.1), observers=[Saver()])
    history = trainer.fit(batches(), epochs=2)
    within = [state["within_epoch"]["seconds"] for state in saved]
    per_epoch = len(saved) // 2
    assert all(0 < a < b for a, b in itertools.pairwise(within[:per_epoch]))
    whole = [state["seconds"] for state in saved]
    assert all(0 < a < b for a, b in itertools.pairwise(whole))
    assert whole[-1] <= history.seconds
    assert within[per_epoch - 1] <= history.epochs[0]["seconds"]
