"""Models and loops that the tests of the watch share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.data import Examples, Schema
from fitwell.doctor import Watch

FEATURES, CLASSES, BATCH = 6, 3, 8


def data(count: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, FEATURES, generator=generator)
    return x, x[:, :CLASSES].argmax(dim=1)


def batches(count: int = 64, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    x, y = data(count, seed)
    while True:
        for start in range(0, count, BATCH):
            yield x[start : start + BATCH], y[start : start + BATCH]


def examples() -> Examples:
    x, y = data()
    names = tuple("abc")
    schema = Schema(kind="tensor", input_shape=(FEATURES,), target_kind="class", class_names=names)
    return Examples(inputs=x, targets=y, schema=schema)


def network(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(FEATURES, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(16, CLASSES),
    )


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    watch: Watch | None,
    steps: int = 6,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    **options: Any,
) -> None:
    """Train as people do, with the mistakes that `options` asks for."""
    source = options.get("batches") or batches()
    if options.get("train", True):
        model.train()
    for _, (x, y) in zip(range(steps), source, strict=False):
        if options.get("clear", True):
            optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        if watch is not None:
            watch.step(loss, (x, y))


def watched(model: nn.Module, steps: int = 6, **options: Any) -> Watch:
    """Give the watch of a loop that looks at every second step."""
    optimizer = options.pop("optimizer", None) or sgd(model)
    with Watch(model, optimizer, every=2) as watch:
        loop(model, optimizer, watch, steps, **options)
    assert watch.notes == options.get("notes", [])
    return watch
