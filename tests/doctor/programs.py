"""Trainings of many kinds, which experiments must leave as they are to the bit."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from fitwell.data import Batches, Noise
from fitwell.optim import SGD, AdamW, Lookahead

from ..train.problems import examples, network

Parts = tuple[Any, ...]
Loss = Callable[[Tensor, Tensor], Tensor]


class Tied(nn.Module):
    """Two layers with one weight, and a hidden state that keeps its history."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.second(self.first(x).relu())
        return self.last[:, :3]


def batches() -> Batches:
    return Batches(examples(), 25, shuffle=True, seed=5, augment=Noise(std=0.1))


def loader(generator: torch.Generator | None) -> DataLoader[Any]:
    data = examples()
    assert isinstance(data.inputs, Tensor)
    assert data.targets is not None
    return DataLoader(
        TensorDataset(data.inputs, data.targets), 25, shuffle=True, generator=generator
    )


def train(parts: Parts, *, every: int = 1, precision: torch.dtype | None = None) -> None:
    """Go through the batches once, with noise of all three generators."""
    model, optimizers, schedule, source = parts[:4]
    scaler = parts[4] if len(parts) > 4 else None
    for number, (inputs, targets) in enumerate(source, start=1):
        noise = random.random() + float(np.random.rand()) + torch.rand(())
        with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=bool(precision)):
            loss = F.cross_entropy(model(inputs + 0.01 * noise), targets) / every
        (loss if scaler is None else scaler.scale(loss)).backward()
        if number % every == 0:
            for optimizer in optimizers:
                if scaler is None:
                    optimizer.step()
                else:
                    scaler.step(optimizer)
                optimizer.zero_grad()
            if scaler is not None:
                scaler.update()
            if schedule is not None:
                schedule.step()


def plain() -> Parts:
    model = network(dropout=0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, [optimizer], None, batches()


def scheduled() -> Parts:
    model = network(dropout=0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    return model, [optimizer], schedule, loader(torch.Generator().manual_seed(1))


def two_optimizers() -> Parts:
    model = network(dropout=0.3)
    first = AdamW(model[0].parameters(), lr=0.01)
    return model, [first, SGD(model[4].parameters(), lr=0.1, momentum=0.9)], None, loader(None)


def tied() -> Parts:
    model = Tied()
    wrapped = Lookahead(AdamW(model.parameters(), lr=0.01), k=2)
    return model, [wrapped], None, batches()


def scaled() -> Parts:
    return *plain(), torch.amp.GradScaler("cpu", init_scale=128.0, growth_interval=3)


def compiled() -> Parts:
    model, optimizers, schedule, source = plain()
    return torch.compile(model, backend="eager"), optimizers, schedule, source


def penalized(model: nn.Module, rate: float = 0.1) -> Loss:
    """Give a loss that closes over a model."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        sizes = torch.stack([p.square().sum() for p in model.parameters()])
        return F.cross_entropy(outputs, targets) + rate * sizes.sum()

    return loss


class Drawing(Dataset[tuple[Tensor, Tensor]]):
    """Draws noise from generators of its own, and counts."""

    def __init__(self) -> None:
        data = examples()
        assert isinstance(data.inputs, Tensor)
        assert data.targets is not None
        self.inputs, self.targets = data.inputs, data.targets
        self.generators = (np.random.default_rng(1), np.random.RandomState(1))
        self.python, self.torchs = random.Random(1), torch.Generator().manual_seed(1)
        self.recent: deque[int] = deque(maxlen=5)
        self.order = list(range(len(self.inputs)))
        self.reads = 0

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        self.recent.append(place)
        self.python.shuffle(self.order)
        noise = self.generators[0].random() + self.generators[1].rand()
        noise += float(torch.rand((), generator=self.torchs)) + self.order[0]
        return self.inputs[place] + 0.01 * noise, self.targets[place]


class Running(IterableDataset[tuple[Tensor, Tensor]]):
    """Goes on where it stopped."""

    def __init__(self) -> None:
        self.inner, self.place = Drawing(), 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(40):
            self.place = (self.place + 7) % len(self.inner)
            yield self.inner[self.place]


def drawing() -> Parts:
    model, optimizers, _, _ = plain()
    return model, optimizers, None, DataLoader(Drawing(), 25, shuffle=True)


def running() -> Parts:
    model, optimizers, _, _ = plain()
    return model, optimizers, None, DataLoader(Running(), 10)


PROGRAMS: dict[str, tuple[Callable[[], Parts], dict[str, Any]]] = {
    "plain": (plain, {}),
    "accumulation": (plain, {"every": 3}),
    "bf16": (plain, {"precision": torch.bfloat16}),
    "scheduled": (scheduled, {}),
    "two optimizers": (two_optimizers, {}),
    "tied and wrapped": (tied, {}),
    "scaled": (scaled, {"precision": torch.bfloat16}),
    "data that draws": (drawing, {}),
    "data with a position": (running, {}),
}


def numbers(parts: Parts) -> list[Tensor]:
    model, optimizers, _, source = parts[:4]
    found = [tensor.clone() for tensor in model.state_dict().values()]
    found += [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for optimizer in optimizers:
        for values in optimizer.state.values():
            found += [v.clone() for v in values.values() if isinstance(v, Tensor)]
    noise = [torch.rand(2), torch.tensor(np.random.rand(2)), torch.tensor(random.random())]
    return found + noise + [batch[0] for batch in source]


def seeded() -> None:
    torch.manual_seed(2)
    np.random.seed(2)
    random.seed(2)
