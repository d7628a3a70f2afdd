"""A sandbox lends copies that train as the originals would, and leaves these as they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fitwell.core.errors import TrainingError, UsageError
from fitwell.doctor import sandbox, state_digest
from fitwell.optim import SAM, SGD

from ..train.problems import network
from .programs import PROGRAMS, batches, compiled, numbers, plain, seeded, train


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
        lambda model, optimizer, source: torch.rand(()),
        lambda model, optimizer, source: np.random.rand(),
        lambda model, optimizer, source: random.random(),
    ],
)
def test_a_digest_sees_each_change(change: Callable[..., Any]) -> None:
    parts = plain()
    train(parts)
    model, (optimizer,), _, source = parts
    before = state_digest(*parts)
    assert state_digest(*parts) == before
    change(model, optimizer, source)
    assert state_digest(*parts) != before


def test_an_original_that_is_reached_around_its_copy_is_told() -> None:
    model = network()
    with (
        pytest.raises(TrainingError, match="an original was changed"),
        sandbox(model),
        torch.no_grad(),
    ):
        model[0].weight.add_(1)


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
