"""A sandbox lends copies that train as the originals would, and leaves these as they were."""

from __future__ import annotations

import copy
import functools
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fitwell import doctor
from fitwell.core.errors import TrainingError, UsageError
from fitwell.doctor import sandbox, state_digest
from fitwell.optim import SAM, SGD

from ..train.problems import network
from .programs import (
    PROGRAMS,
    Drawing,
    Loss,
    Running,
    batches,
    compiled,
    numbers,
    penalized,
    plain,
    seeded,
    train,
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_training_goes_on_to_the_same_bits_and_the_copies_train_as_the_original(
    name: str,
) -> None:
    build, how = PROGRAMS[name]
    seeded()
    alone = build()
    train(alone, **how)
    train(alone, **how)
    expected = numbers(alone)

    seeded()
    parts = build()
    train(parts, **how)
    before = state_digest(*parts)
    with sandbox(*parts) as copies:
        train(copies, **how)
        within = numbers(copies)
        copies[0].eval()
    assert state_digest(*parts) == before
    train(parts, **how)
    after = numbers(parts)
    assert len(after) == len(expected) == len(within)
    assert all(torch.equal(a, b) for a, b in zip(after, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(within, expected, strict=True))


@given(
    name=st.sampled_from(sorted(PROGRAMS)),
    epochs=st.integers(0, 2),
    within=st.integers(0, 2),
    evaluating=st.booleans(),
    fails=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_the_original_is_bit_identical_whatever_happens_inside(
    name: str, epochs: int, within: int, evaluating: bool, fails: bool
) -> None:
    build, how = PROGRAMS[name]
    parts = build()
    for _ in range(epochs):
        train(parts, **how)
    parts[0].train(not evaluating)
    before = state_digest(*parts)
    try:
        with sandbox(*parts, seed=within) as copies:
            for _ in range(within):
                train(copies, **how)
            copies[0].register_forward_hook(lambda *_: None)
            next(copies[0].parameters()).data.fill_(float("nan"))
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert state_digest(*parts) == before


REACHING: dict[str, Callable[[nn.Module], Any]] = {
    "a closure": penalized,
    "a partial": lambda model: functools.partial(_with_penalty, model=model),
    "a partial of a closure": lambda model: functools.partial(penalized(model)),
    "a method": lambda model: Penalty(model).loss,
    "an object": lambda model: Penalty(model),
    "parameters in a list": lambda model: _with_list(list(model.parameters())),
    "a closure over a closure": lambda model: _with_extra(lambda: penalized(model)),
    "a global name": lambda model: globals().update(MODEL=model) or _with_global,
}


def _with_penalty(outputs: Tensor, targets: Tensor, model: nn.Module) -> Tensor:
    return penalized(model)(outputs, targets)


def _with_list(parameters: list[nn.Parameter]) -> Loss:
    return lambda outputs, targets: (
        F.cross_entropy(outputs, targets) + sum(p.square().sum() for p in parameters)
    )


def _with_extra(make: Callable[[], Loss]) -> Loss:
    return lambda outputs, targets: make()(outputs, targets)


def _with_global(outputs: Tensor, targets: Tensor) -> Tensor:
    return penalized(MODEL)(outputs, targets)  # type: ignore[name-defined]  # noqa: F821


class Penalty:
    """A loss that holds a model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return penalized(self.model)(outputs, targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self(outputs, targets)


@pytest.mark.parametrize("how", REACHING)
def test_a_loss_that_reaches_the_model_reaches_its_copy(how: str) -> None:
    model, source = network(), batches()
    loss = REACHING[how](model)
    x, y = next(iter(source))
    before = state_digest(model, loss)
    with sandbox(model, loss) as (made, criterion):
        value = criterion(made(x), y)
        value.backward()
        with torch.no_grad():
            made[0].weight.zero_()
        assert float(criterion(made(x), y).detach()) < float(value.detach())
        assert made[0].weight.grad is not None
    assert model[0].weight.grad is None
    assert state_digest(model, loss) == before


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, loss, source: doctor.overfit_one_batch(
            model, loss, source, optimizer=torch.optim.LBFGS(model.parameters()), steps=2, draws=1
        ),
        lambda model, loss, source: doctor.gradient_noise_scale(model, loss, source),
        lambda model, loss, source: doctor.gradient_flow(model, loss, source),
        lambda model, loss, source: doctor.sharpness(model, loss, source, draws=2, steps=1),
        lambda model, loss, source: doctor.sanity_step(
            model, loss, torch.optim.SGD(model.parameters(), lr=0.1), source
        ),
    ],
)
def test_probes_leave_a_model_that_the_loss_closes_over(ask: Callable[..., Any]) -> None:
    model, source = network(), batches()
    loss = penalized(model)
    before = state_digest(model, loss, source)
    ask(model, loss, source)
    assert state_digest(model, loss, source) == before


def test_a_hook_and_a_function_of_a_model_reach_its_copy() -> None:
    model = network()
    model[0].register_forward_hook(lambda module, args, output: output * model[4].weight.mean())
    model.extra = lambda x: model[4](x)
    with sandbox(model) as (made,):
        with torch.no_grad():
            made[4].weight.zero_()
        assert not made[0](torch.ones(2, 8)).any()
        assert torch.equal(made.extra(torch.ones(2, 16))[0], made[4].bias)


def test_a_loader_with_workers_is_left_as_it_was() -> None:
    source = DataLoader(Drawing(), 25, num_workers=2, persistent_workers=True)
    model = network()
    before = state_digest(model, source)
    with sandbox(model, source) as (_, lent):
        assert len(list(lent)) == 4
    assert state_digest(model, source) == before


def test_rows_are_shared_and_what_reading_changes_is_not() -> None:
    data = Drawing()
    with sandbox(DataLoader(data, 5)) as (loader,):
        assert loader.dataset.inputs is data.inputs
        assert loader.dataset is not data
        list(loader)
    assert data.reads == 0
    assert not data.recent


def test_sparse_gradients_are_told_apart() -> None:
    model = nn.Embedding(5, 2, sparse=True)
    model(torch.tensor([1, 1])).sum().backward()
    before = state_digest(model)
    with sandbox(model) as (made,):
        assert made.weight.grad.is_sparse
        made(torch.tensor([2])).sum().backward()
    assert state_digest(model) == before
    model(torch.tensor([2])).sum().backward()
    assert state_digest(model) != before


class Forgets(nn.Linear):
    """Copies itself without the memo."""

    def __deepcopy__(self, memo: Any) -> Forgets:
        made = Forgets(self.in_features, self.out_features)
        made.load_state_dict(self.state_dict())
        return made


def test_a_model_that_copies_itself() -> None:
    model = Forgets(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    with sandbox(model) as (made,):
        assert torch.equal(made.weight.grad, model.weight.grad)
        assert made.weight.grad is not model.weight.grad
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises(UsageError, match="got a Forgets whose copy has not a copy of weight"),
        sandbox(model, optimizer),
    ):
        pass


def test_a_compiled_model_is_copied_without_compilation() -> None:
    parts = compiled()
    before = state_digest(*parts)
    with sandbox(*parts) as copies:
        assert type(copies[0]) is nn.Sequential
        train(copies)
    assert state_digest(*parts) == before


def test_an_optimizer_that_looks_twice_is_copied_with_its_settings() -> None:
    model = network()
    optimizer = SAM(SGD(model.parameters(), lr=0.1), rho=0.2)
    with sandbox(model, optimizer) as (its_copy, made):
        assert repr(made) == repr(optimizer)
        assert made.param_groups[0]["params"][0] is its_copy[0].weight


def test_batches_in_the_middle_of_an_epoch_go_on_there() -> None:
    source = batches()
    iteration = iter(source)
    next(iteration)
    with sandbox(source) as (its_copy,):
        rest = [batch.inputs for batch in its_copy]
        assert its_copy.examples is source.examples
    assert len(rest) == 3
    assert all(torch.equal(a, b.inputs) for a, b in zip(rest, iteration, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda model, optimizer, source: model[0].weight.data.view(-1)[3].add_(1e-7),
        lambda model, optimizer, source: model[1].running_mean.add_(1e-7),
        lambda model, optimizer, source: model[3].eval(),
        lambda model, optimizer, source: model[0].weight.requires_grad_(False),
        lambda model, optimizer, source: setattr(model[0].bias, "grad", torch.zeros(16)),
        lambda model, optimizer, source: model[2].register_forward_hook(lambda *_: None),
        lambda model, optimizer, source: optimizer.param_groups[0].update(lr=0.011),
        lambda model, optimizer, source: optimizer.state[model[0].weight]["exp_avg"].mul_(2),
        lambda model, optimizer, source: list(source),
        lambda model, optimizer, source: model[0].bank["a"][0].add_(1),
        lambda model, optimizer, source: model[0].bank["b"].append(3),
        lambda model, optimizer, source: model[0].bank["c"].random(),
        lambda model, optimizer, source: torch.rand(()),
        lambda model, optimizer, source: np.random.rand(),
        lambda model, optimizer, source: random.random(),
    ],
)
def test_a_digest_sees_each_change(change: Callable[..., Any]) -> None:
    parts = plain()
    parts[0][0].bank = {"a": [torch.ones(2)], "b": deque([1, 2]), "c": random.Random(1)}
    train(parts)
    model, (optimizer,), _, source = parts
    before = state_digest(*parts)
    assert state_digest(*parts) == before
    change(model, optimizer, source)
    assert state_digest(*parts) != before


@pytest.mark.parametrize("kind", [Drawing, Running])
def test_a_digest_sees_what_reading_changes(kind: Callable[[], Any]) -> None:
    for change in (
        lambda data: data.generators[0].random(),
        lambda data: data.generators[1].rand(),
        lambda data: data.python.random(),
        lambda data: torch.rand((), generator=data.torchs),
        lambda data: data.recent.append(1),
        lambda data: data.order.reverse(),
        lambda data: setattr(data, "reads", 1),
    ):
        loader = DataLoader(kind())
        before = state_digest(loader)
        assert state_digest(loader) == before
        change(getattr(loader.dataset, "inner", loader.dataset))
        assert state_digest(loader) != before


def test_an_original_that_is_reached_around_its_copy_is_put_back_and_told() -> None:
    model = network()
    twin = copy.deepcopy(model)
    before = state_digest(model)

    def damaged() -> None:
        with sandbox(model) as (made,):
            made(torch.ones(2, 8)).sum().backward()
            model(torch.ones(2, 8)).sum().backward()
            model.eval()
            with torch.no_grad():
                model[0].weight.add_(1)

    with pytest.raises(TrainingError, match="an original was changed"):
        damaged()
    assert state_digest(model) == before
    assert torch.equal(model[0].weight, twin[0].weight)


def test_what_cannot_be_copied_is_told() -> None:
    source = batches()
    with (
        pytest.raises(UsageError, match="Give the batches instead of an iteration"),
        sandbox(iter(source)),
    ):
        pass


def test_training_works_inside_of_no_grad() -> None:
    parts = plain()
    with torch.no_grad(), sandbox(*parts) as copies:
        train(copies)
        assert not torch.equal(copies[0][0].weight, parts[0][0].weight)
    assert torch.is_grad_enabled()
