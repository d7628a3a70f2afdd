"""What a training minimizes: a callable ``objective(model, batch) -> (loss, logged numbers)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

Logged = Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(Protocol):
    """Gives the loss of a batch, averaged over its examples, and numbers worth logging."""

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, Logged]:
        """Give loss and logged numbers.

        Args:
            model: The model in training mode.
            batch: Whatever the batches give.
        """
        ...


class Metrics(Protocol):
    """Accumulates measurements over batches on their device."""

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch.

        Args:
            outputs: What the model gave.
            targets: What it should have given.
        """
        ...

    def compute(self) -> dict[str, float]:
        """Give the metrics over all batches so far."""
        ...


@final
@dataclass(frozen=True)
class Supervised:
    """Compare a model's outputs with the targets.

    Args:
        loss: ``loss(outputs, targets)``, a mean over the batch.
        metrics: Makes an empty accumulator on a device; None measures the loss alone.
    """

    loss: Loss
    metrics: Callable[[torch.device], Metrics] | None = None

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, Logged]:
        """Give the loss of a batch.

        Args:
            model: The model.
            batch: A pair of inputs and targets.
        """
        inputs, targets = batch
        return self.loss(model(inputs), targets), {}

    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Give the loss and the metrics over all examples, however short the last batch is.

        Args:
            model: The model, already in evaluation mode.
            batches: Pairs of inputs and targets.
        """
        accumulator: Metrics | None = None
        mean = WeightedMean()
        for inputs, targets in batches:
            outputs = model(inputs)
            mean.add(self.loss(outputs, targets), len(targets))
            if self.metrics is not None:
                accumulator = accumulator or self.metrics(targets.device)
                accumulator.update(outputs.float(), targets)
        measured = {} if accumulator is None else accumulator.compute()
        return {**measured, "loss": mean.value()}


def evaluate(objective: Objective, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
    """Measure an objective without training: evaluation mode, no gradients, both restored.

    Args:
        objective: What to measure; its own `evaluate` is used if it has one.
        model: The model.
        batches: The examples, in batches.

    Source: paszke2019pytorch.
    Checked against: the loss over all examples in one batch.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            own = getattr(objective, "evaluate", None)
            if own is not None:
                measured: dict[str, float] = own(model, batches)
                return measured
            mean = WeightedMean()
            for batch in batches:
                mean.add(objective(model, batch)[0], batch_length(batch))
            return {"loss": mean.value()}
    finally:
        model.train(was_training)


def outputs_of(model: nn.Module, batches: Iterable[Any]) -> Tensor:
    """Give a model's outputs for all examples in their order, collected on the CPU.

    Evaluation mode, no gradients, both restored; the device never holds more than a batch.

    Args:
        model: The model.
        batches: The examples, in batches whose first part is the inputs.

    Source: paszke2019pytorch.
    Checked against: one forward pass over all examples.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return torch.cat([model(batch[0]).float().cpu() for batch in batches])
    finally:
        model.train(was_training)


class WeightedMean:
    """A mean over examples from means over batches, kept on the device until it is asked for."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, mean: Tensor, count: int) -> None:
        """Take in the mean over a batch.

        Args:
            mean: The batch's mean.
            count: Examples in the batch.
        """
        term = mean.detach().to(torch.float64 if mean.device.type != "mps" else torch.float32)
        term = term * count
        self._sum = term if self._sum is None else self._sum + term
        self._count += count

    def value(self) -> float:
        """Give the mean; NaN before anything was added."""
        return float("nan") if self._sum is None else float(self._sum) / self._count


def batch_length(batch: Any) -> int:
    """Give the number of examples in a batch.

    Args:
        batch: A tensor, or a tuple, list or dict of tensors with the examples first.
    """
    while not isinstance(batch, Tensor):
        batch = next(iter(batch.values())) if isinstance(batch, Mapping) else batch[0]
    return len(batch)
