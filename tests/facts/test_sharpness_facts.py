"""Small batches end in flatter places than large ones, at one learning rate and one loss.

A network of one hidden layer learns 400 digits with squared errors, by plain gradient descent at
one rate, in batches of 8 or of all, the latter until its loss is no larger. The noise of the last
small batches is taken out by a hundred small steps of all examples for both, so that places are
compared, not noise. The form that layers cannot be rescaled in says nothing either way here.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.data import load_builtin
from fitwell.doctor import sharpness

LR, LOSS = 0.15, 0.12


def digits() -> tuple[Tensor, Tensor]:
    train = load_builtin("digits").train
    inputs = torch.as_tensor(train.inputs[:400]).flatten(1) / 255
    return inputs, F.one_hot(torch.as_tensor(train.targets[:400]), 10).float()


def squared(outputs: Tensor, wanted: Tensor) -> Tensor:
    return ((outputs - wanted) ** 2).sum(dim=1).mean()


def learned(x: Tensor, y: Tensor, *, batch_size: int, loss: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def step(rows: Tensor, lr: float) -> None:
        model.zero_grad()
        squared(model(x[rows]), y[rows]).backward()
        with torch.no_grad():
            for p in model.parameters():
                assert p.grad is not None
                p -= lr * p.grad

    for _ in range(5000):
        for rows in torch.randperm(len(x)).split(batch_size):
            step(rows, LR)
        with torch.no_grad():
            if squared(model(x), y) < loss:
                break
    for _ in range(100):
        step(torch.arange(len(x)), LR / 5)
    return model


@pytest.mark.parametrize("seed", [0, 1])
def test_tune_25_small_batches_end_flatter(seed: int) -> None:
    x, y = digits()
    small = learned(x, y, batch_size=8, loss=LOSS, seed=seed)
    with torch.no_grad():
        level = float(squared(small(x), y))
    large = learned(x, y, batch_size=len(x), loss=level, seed=seed)
    pairs = list(zip(x.split(40), y.split(40), strict=True))
    found = sharpness(large, squared, pairs, other=small)
    assert found.other is not None
    assert found.loss <= found.other["loss"] < LOSS
    assert found.found is not False
    assert found.value > 1.5 * found.other["value"]
    assert found.eigenvalue > 1.5 * found.other["eigenvalue"]
    assert found.sam > found.other["sam"]
