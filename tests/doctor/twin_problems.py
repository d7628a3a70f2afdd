"""Small trainings that the tests of twins share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from fitwell.data import Batches, Examples, load_builtin
from fitwell.doctor import Build, Twin
from fitwell.losses import CrossEntropy
from fitwell.optim import Adam
from fitwell.train import Member, Supervised

DIGITS: Examples = load_builtin("digits").train.select(range(200))


def on_digits(model: Callable[[], nn.Module], *, epochs: int = 20, lr: float = 0.005) -> Build:
    """Train a network on some digits."""

    def build(twin: Twin, seed: int) -> Member:
        torch.manual_seed(seed)
        made = twin.model(model())
        return Member(
            model=made,
            objective=Supervised(CrossEntropy()),
            optimizer=Adam(made.parameters(), lr=lr),
            train=Batches(DIGITS, 20, shuffle=True, seed=seed),
            epochs=twin.epochs(epochs),
            seed=seed,
        )

    return build
