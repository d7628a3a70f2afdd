"""What every loss of `fitwell.losses` keeps to."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass

import pytest
import torch
from torch import Tensor

from fitwell import losses
from fitwell.core.spec import build, parse
from fitwell.losses import LOSSES, Loss

# float64 sums in another order.
EXACT = {"rtol": 1e-12, "atol": 1e-14}

OF_CLASSES = ("AdditiveMargin", "CrossEntropy", "Focal")
"""The others are of numbers."""


def batch(name: str, count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(count, 4, dtype=torch.float64, generator=generator)
    if name in OF_CLASSES:
        return outputs, torch.randint(0, 4, (count,), generator=generator)
    return outputs[:, 0], outputs[:, 1]


def perfect(name: str, targets: Tensor) -> Tensor:
    if name in OF_CLASSES:
        return torch.nn.functional.one_hot(targets, 4).double() * 1e3
    return targets.clone()


def test_every_public_loss_is_registered() -> None:
    public = {n for n, v in vars(losses).items() if inspect.isclass(v) and is_dataclass(v)}
    assert public == set(LOSSES)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_printed_form_builds_it_again(name: str) -> None:
    loss = LOSSES[name]()
    again = build(parse(str(loss)), LOSSES, owner="test", what="loss")
    assert again == loss
    assert hash(again) == hash(loss)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_loss_is_zero_for_a_perfect_prediction_and_positive_otherwise(name: str) -> None:
    loss: Loss = LOSSES[name]()
    outputs, targets = batch(name)
    assert loss(perfect(name, targets), targets).item() == 0
    assert loss(outputs, targets).item() > 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_loss_is_the_mean_over_the_batch(name: str) -> None:
    loss: Loss = LOSSES[name]()
    outputs, targets = batch(name)
    single = [loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(len(targets))]
    whole = loss(outputs, targets)
    assert whole.shape == ()
    torch.testing.assert_close(torch.stack(single).mean(), whole, **EXACT)
    halves = loss(outputs[:2], targets[:2]) * 2 + loss(outputs[2:], targets[2:]) * 4
    torch.testing.assert_close(halves / 6, whole, **EXACT)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradient_equals_finite_differences(name: str) -> None:
    loss: Loss = LOSSES[name]()
    outputs, targets = batch(name)
    outputs.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), (outputs,))
