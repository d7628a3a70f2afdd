"""Averages of weights equal torch's, and the mean in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from fitwell.core.errors import UnknownName, UsageError
from fitwell.data import Batches
from fitwell.optim import SGD
from fitwell.train import (
    EMA,
    SWA,
    Average,
    Trainer,
    average,
    average_weights,
    freeze,
    update_batch_norm,
)

from .problems import batches, examples, network, objective, same_weights, weights_of

FLOAT = {"rtol": 1e-6, "atol": 1e-7}
"""Sums in float32 in another order."""


class Follow:
    """Drives a tracker beside a training, as the trainer does."""

    def __init__(self, spec: Average, model: nn.Module) -> None:
        self.tracker = spec.track(model)
        self.steps: list[dict[str, Tensor]] = []
        self.epochs: list[dict[str, Tensor]] = []

    def on_step(self, trainer: Trainer) -> None:
        self.tracker.after_step(trainer.model, trainer.step, trainer.total_steps)
        self.steps.append(weights_of(trainer.model))

    def on_epoch(self, trainer: Trainer) -> None:
        self.tracker.after_epoch(trainer.model, trainer.step, trainer.total_steps)
        self.epochs.append(weights_of(trainer.model))


def trained(spec: Average, *, epochs: int = 8, model: nn.Module | None = None) -> Follow:
    model = model or network(dropout=0.1)
    follow = Follow(spec, model)
    trainer = Trainer(model, objective(), SGD(model.parameters(), lr=0.2), observers=[follow])
    trainer.fit(batches(), epochs=epochs)
    return follow


def test_ema_equals_torch_bit_for_bit() -> None:
    follow = trained(EMA(decay=0.9))
    theirs = AveragedModel(network(), multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    step = network()
    for weights in follow.steps:
        step.load_state_dict(weights)
        theirs.update_parameters(step)
    assert same_weights(weights_of(follow.tracker.module), weights_of(theirs.module))
    assert follow.tracker.count == len(follow.steps) == 32


@pytest.mark.parametrize("spec", [EMA(decay=0.9), EMA(decay=0.9, warmup=True)])
def test_ema_is_the_sum_over_all_steps(spec: EMA) -> None:
    follow = trained(spec)
    expected = follow.steps[0]["0.weight"].double()
    for count, weights in enumerate(follow.steps[1:], start=1):
        decay = min(0.9, (1 + count) / (10 + count)) if spec.warmup else 0.9
        expected = decay * expected + (1 - decay) * weights["0.weight"].double()
    found = follow.tracker.module.state_dict()["0.weight"]
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_small_decay_gives_the_newest_weights() -> None:
    follow = trained(EMA(decay=1e-12), epochs=2)
    torch.testing.assert_close(
        follow.tracker.module.state_dict()["4.weight"], follow.steps[-1]["4.weight"], **FLOAT
    )


@pytest.mark.parametrize(("start", "taken"), [(0.0, 8), (0.5, 4), (0.75, 2), (0.9, 1)])
def test_tune_29_swa_equals_torch_over_the_same_epochs(start: float, taken: int) -> None:
    follow = trained(SWA(start=start))
    theirs = AveragedModel(network())
    epoch = network()
    for weights in follow.epochs[-taken:]:
        epoch.load_state_dict(weights)
        theirs.update_parameters(epoch)
    found = weights_of(follow.tracker.module)
    assert follow.tracker.count == taken
    assert same_weights(found, weights_of(theirs.module))
    exact = torch.stack([w["0.weight"].double() for w in follow.epochs[-taken:]]).mean(0)
    torch.testing.assert_close(found["0.weight"].double(), exact, rtol=1e-5, atol=1e-6)


def test_swa_every_some_steps() -> None:
    follow = trained(SWA(start=0.75, every=3))  # of 32 steps: 27 and 30
    exact = torch.stack([follow.steps[step - 1]["0.weight"] for step in (27, 30)]).mean(0)
    assert follow.tracker.count == 2
    torch.testing.assert_close(follow.tracker.module.state_dict()["0.weight"], exact, **FLOAT)


def test_the_share_is_counted_as_it_is_written() -> None:
    spec = SWA(start=0.29)  # 0.29 * 100 is 28.999999999999996
    assert [s for s in range(20, 32) if spec.due(s, 100, epoch_end=True)] == [30, 31]


def test_before_its_start_the_model_itself_is_the_average() -> None:
    model = network()
    tracker = SWA(start=0.5).track(model)
    tracker.after_epoch(model, 4, 8)
    assert tracker.module is model
    tracker.after_epoch(model, 5, 8)
    assert tracker.module is not model
    assert same_weights(weights_of(tracker.module), weights_of(model))
    assert not any(parameter.requires_grad for parameter in tracker.module.parameters())


@pytest.mark.parametrize("spec", [EMA(decay=0.9, warmup=True), SWA(start=0.1)])
def test_a_saved_average_goes_on_to_the_bit(spec: Average) -> None:
    states = [weights_of(network(seed)) for seed in range(6)]
    model = network()
    whole, first = spec.track(model), spec.track(model)
    half = None
    for step, state in enumerate(states, start=1):
        model.load_state_dict(state)
        for tracker in (whole, half or first):
            tracker.after_step(model, step, 6)
            tracker.after_epoch(model, step, 6)
        if step == 3:
            saved = {name: tensor.clone() for name, tensor in first.state_dict().items()}
            half = spec.track(network(9))
            half.load_state_dict(saved)
    assert half is not None
    assert half.count == whole.count
    assert same_weights(weights_of(half.module), weights_of(whole.module))


def test_statistics_of_an_average_are_those_of_torch() -> None:
    follow = trained(SWA(start=0.5))
    theirs = AveragedModel(network())
    epoch = network()
    for weights in follow.epochs[-4:]:
        epoch.load_state_dict(weights)
        theirs.update_parameters(epoch)
    data = Batches(examples(), 32)
    update_bn(data, theirs)
    before = weights_of(follow.tracker.module)
    follow.tracker.refresh(data)
    found = weights_of(follow.tracker.module)
    assert same_weights(found, weights_of(theirs.module))
    assert not torch.equal(found["1.running_mean"], before["1.running_mean"])


def test_measuring_statistics_leaves_everything_else_as_it_was() -> None:
    model = network(dropout=0.5)
    model[1].momentum = 0.3
    model.eval()
    model[3].train()
    data = batches()
    rest = [batch.inputs for batch in batches()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    iterator = iter(data)
    next(iterator)
    state = data.state_dict()
    update_batch_norm(model, data)
    assert torch.equal(torch.rand(3), expected)
    assert model[1].momentum == 0.3
    assert [module.training for module in model] == [False, False, False, True, False]
    assert data.state_dict()["position"] == state["position"] == 1
    for found, wanted in zip(data, rest[1:], strict=True):  # the epoch goes on
        assert torch.equal(found.inputs, wanted)


def test_statistics_are_restored_when_a_batch_fails() -> None:
    model = network()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        update_batch_norm(model, [torch.zeros(4, 5)])
    assert model[1].momentum == 0.1
    assert model.training


def test_without_batch_norm_no_batch_is_read() -> None:
    def none() -> Any:
        raise AssertionError("read")
        yield

    update_batch_norm(nn.Linear(2, 2), none())
    EMA().track(network()).refresh(none())


def test_frozen_statistics_stay_and_freed_ones_are_measured() -> None:
    model = network()
    freeze(model, ["0", "1"])
    tracker = SWA(start=0.0).track(model)
    tracker.after_epoch(model, 1, 2)
    tracker.refresh(batches())
    kept = tracker.module.state_dict()["1.running_mean"].clone()
    assert torch.equal(kept, torch.zeros(16))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    freeze(model, ["4"])  # settles the statistics again
    tracker.refresh(batches())
    assert not torch.equal(tracker.module.state_dict()["1.running_mean"], kept)


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=5), st.integers(1, 7))
def test_average_weights_is_the_mean_in_float64(seeds: list[int], size: int) -> None:
    states = []
    for number, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(size, 2, generator=generator) * 10.0 ** (seed % 9 - 4)
        states.append({"w": values, "n": torch.tensor(number), "h": values.bfloat16()})
    mean = average_weights(states)
    exact = np.mean([s["w"].numpy().astype(np.float64) for s in states], axis=0)
    assert torch.equal(mean["w"], torch.from_numpy(exact).float())
    assert mean["n"].item() == 0
    assert mean["h"].dtype == torch.bfloat16
    if len(states) == 1:
        assert same_weights(mean, states[0])
    again = average_weights(states[::-1])
    torch.testing.assert_close(again["w"], mean["w"], **FLOAT)
    for state in states:  # untouched
        assert state["w"].data_ptr() != mean["w"].data_ptr()


def test_average_weights_equals_torch() -> None:
    states = [weights_of(network(seed)) for seed in range(4)]
    theirs, model = AveragedModel(network()), network()
    for state in states:
        model.load_state_dict(state)
        theirs.update_parameters(model)
    ours = average_weights(states)
    for name, value in theirs.module.named_parameters():
        torch.testing.assert_close(ours[name], value.detach(), rtol=1e-5, atol=1e-7)


def test_complex_weights_are_averaged_too() -> None:
    mean = average_weights([{"w": torch.tensor([1 + 2j])}, {"w": torch.tensor([3 + 0j])}])
    assert torch.equal(mean["w"], torch.tensor([2 + 1j]))


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([], "`states` must hold at least one; got none"),
        ([{"a": 1.0}, {"b": 1.0}], "must have the same names; got 'a', which state 2 lacks"),
        ([{"a": 1.0}, {"a": 1.0, "b": 1.0}], "got 'b', which state 1 lacks"),
        ([{"a": [1.0]}, {"a": [1.0]}, {"a": [1.0, 2.0]}], r"got a \(1,\) and \(2,\) \(state 3\)"),
    ],
)
def test_unlike_weights_are_refused(states: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        average_weights([{k: torch.tensor(v) for k, v in state.items()} for state in states])


@pytest.mark.parametrize("text", ["EMA(decay=0.99)", "SWA(start=0.5, every=10)", "swa", "ema()"])
def test_the_printed_form_builds_the_same(text: str) -> None:
    built = average(text)
    assert built is not None
    assert average(repr(built)) == built == average(built)


def test_nothing_is_averaged_if_nothing_is_asked() -> None:
    assert average(None) is None
    assert average("none") is None
    assert str(SWA()) == "SWA(start=0.75, every='epoch')"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EMA(decay=1)", "EMA: `decay` must lie between 0 and 1; got 1"),
        ("EMA(decay=0)", "`decay` must lie between 0 and 1; got 0"),
        ("SWA(start=1)", "SWA: `start` must be a share from 0 to below 1; got 1"),
        ("SWA(start=-0.1)", "`start` must be a share from 0 to below 1; got -0.1"),
        ("SWA(every=0)", "SWA: `every` must be 'epoch' or a positive number of steps; got 0"),
        ("SWA(every='step')", "`every` must be 'epoch' or a positive number of steps; got 'step'"),
    ],
)
def test_values_out_of_range_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        average(text)


def test_an_unknown_average_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownName, match="no average of weights named 'SWAP'; nearest: 'SWA'"):
        average("SWAP()")
