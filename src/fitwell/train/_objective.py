"""What a training minimizes: a callable ``objective(model, batch) -> (loss, logged numbers)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from ..core.errors import UsageError

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

    def merge(self, other: Any) -> None:
        """Take in what another one of its kind has.

        Args:
            other: Stays as it is.
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

    def measure(self, model: nn.Module, batches: Iterable[Any]) -> Measured:
        """Measure the loss and the metrics over all examples, however short the last batch is.

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
        return Measured(mean, accumulator)


@final
class Measured:
    """The loss, and metrics if there are any, over some examples.

    Args:
        loss: The mean loss.
        metrics: What has taken in the outputs.
    """

    def __init__(self, loss: WeightedMean, metrics: Metrics | None = None) -> None:
        self.loss = loss
        self.metrics = metrics

    def merge(self, other: Measured) -> None:
        """Add what was measured on other examples.

        Args:
            other: Stays as it is.
        """
        self.loss.merge(other.loss)
        if self.metrics is None:
            self.metrics = other.metrics
        elif other.metrics is not None:
            self.metrics.merge(other.metrics)

    def compute(self) -> dict[str, float]:
        """Give the numbers by name; this waits for the device."""
        measured = {} if self.metrics is None else self.metrics.compute()
        return {**measured, "loss": self.loss.value()}


@final
class _Given:
    """Numbers that an objective's own `evaluate` gave."""

    def __init__(self, numbers: dict[str, float]) -> None:
        self.numbers = numbers

    def merge(self, other: _Given) -> None:
        raise UsageError(
            "Trainer: `objective` must have `measure`, whose results can be merged, to be measured"
            " by several processes; it has `evaluate`. Return a `Measured` from `measure`."
        )

    def compute(self) -> dict[str, float]:
        return self.numbers


def measure(objective: Objective, model: nn.Module, batches: Iterable[Any]) -> Measured | _Given:
    """Measure an objective without training: evaluation mode, no gradients, both restored.

    Args:
        objective: What to measure. Its own ``measure(model, batches)`` is used if it has one, or
            its own ``evaluate(model, batches)``, which gives numbers by name.
        model: The model.
        batches: The examples, in batches.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            own = getattr(objective, "measure", None)
            if own is not None:
                measured: Measured = own(model, batches)
                return measured
            numbers = getattr(objective, "evaluate", None)
            if numbers is not None:
                return _Given(numbers(model, batches))
            mean = WeightedMean()
            for batch in batches:
                mean.add(objective(model, batch)[0], batch_length(batch))
            return Measured(mean)
    finally:
        model.train(was_training)


def evaluate(objective: Objective, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
    """Give the numbers of an objective by name; see `measure`.

    Args:
        objective: What to measure.
        model: The model.
        batches: The examples, in batches.

    Source: paszke2019pytorch.
    Checked against: the loss over all examples in one batch.
    """
    return measure(objective, model, batches).compute()


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

    def merge(self, other: WeightedMean) -> None:
        """Take in another mean.

        Args:
            other: Stays as it is.
        """
        if other._sum is not None:
            moved = other._sum if self._sum is None else other._sum.to(self._sum.device)
            self._sum = moved if self._sum is None else self._sum + moved
            self._count += other._count

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
