"""PT-17: each wrong order is found by name, and a right loop passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.optim import SGD
from fitwell.train import check_order

from .problems import examples, network

Loop = Callable[[torch.optim.Optimizer, Callable[[], torch.Tensor]], None]


def right(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


def cleared_afterwards(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    loss().backward()
    optimizer.step()
    optimizer.zero_grad()


def never_cleared(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    loss().backward()
    optimizer.step()


def step_first(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    optimizer.zero_grad()
    optimizer.step()
    loss().backward()


def cleared_too_late(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    loss().backward()
    optimizer.zero_grad()
    optimizer.step()


def twice(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    optimizer.zero_grad()
    value = loss()
    value.backward(retain_graph=True)
    value.backward()
    optimizer.step()


def run(loop: Loop, kind: type[torch.optim.Optimizer], accumulate: int = 1) -> nn.Module:
    data, model = examples(40), network()
    optimizer = kind(model.parameters(), lr=0.1)

    def loss() -> torch.Tensor:
        return F.cross_entropy(model(data.inputs), data.targets)

    with check_order(optimizer, accumulate=accumulate):
        for _ in range(3):
            loop(optimizer, loss)
    return model


@pytest.mark.parametrize("kind", [SGD, torch.optim.SGD])
@pytest.mark.parametrize("loop", [right, cleared_afterwards])
def test_pt_17_right_loops_pass_and_train_as_without(
    loop: Loop, kind: type[torch.optim.Optimizer]
) -> None:
    assert not torch.equal(run(loop, kind)[0].weight, network()[0].weight)


@pytest.mark.parametrize("kind", [SGD, torch.optim.SGD])
@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (never_cleared, "gradients of the last step were still there"),
        (step_first, "`step` was called before `backward`"),
        (cleared_too_late, "`zero_grad` was called between `backward` and `step`"),
        (twice, "`backward` was called 2 times before a step; 1 is right"),
    ],
)
def test_pt_17_each_mistake_is_named(
    loop: Loop, message: str, kind: type[torch.optim.Optimizer]
) -> None:
    with pytest.raises(UsageError, match=message):
        run(loop, kind)


def test_accumulation_is_allowed_if_said() -> None:
    run(twice, SGD, accumulate=2)


def test_the_optimizer_is_left_as_it_was() -> None:
    model = network()
    optimizer = SGD(model.parameters())
    with check_order(optimizer):
        pass
    assert "step" not in vars(optimizer)
    optimizer.step()
    assert not model[0].weight._post_accumulate_grad_hooks
