"""Hearing the losses and batches of a `Trainer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from ...train import batch_length

if TYPE_CHECKING:
    from ...train import Trainer


@final
class Listening:
    """Stands before a trainer's objective while it fits, and tells each loss that trains.

    Args:
        trainer: Whose objective it is.
        hear: Gets the loss and its batch, before the backward pass.
    """

    def __init__(self, trainer: Trainer, hear: Callable[[Tensor, Any], None]) -> None:
        self._trainer = trainer
        self._objective: Any = trainer.objective
        self._hear = hear
        trainer.objective = self

    def __call__(self, model: Any, batch: Any) -> Any:
        loss, logged = self._objective(model, batch)
        if loss.requires_grad:
            self._hear(loss, batch)
        return loss, logged

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_objective":  # asked while a copy is being made
            raise AttributeError(name)
        return getattr(self._objective, name)

    def stop(self) -> None:
        """Put the objective back, also from between others that listen."""
        outer: Any = self._trainer.objective
        if outer is self:
            self._trainer.objective = self._objective
        while isinstance(outer, Listening) and outer is not self:
            if outer._objective is self:
                outer._objective = self._objective
            outer = outer._objective


@final
class Heard:
    """The losses of a step, and its last batch."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Any] | None = None
        self._sum: Tensor | None = None  # of those before it, each by its examples
        self._examples = 0

    def add(self, loss: Tensor, batch: Any) -> None:
        """Take in the loss of a part of a step; of parts before it no graph and no batch is kept.

        Args:
            loss: With its graph.
            batch: What it is of.
        """
        if self._last is not None:
            self._fold(*self._last)
        self._last = (loss, batch)

    def _fold(self, loss: Tensor, batch: Any) -> None:
        examples = batch_length(batch)
        part = loss.detach() * examples
        self._sum = part if self._sum is None else self._sum + part
        self._examples += examples

    def taken(self) -> tuple[Tensor | None, Any, Tensor | None]:
        """Give the mean loss of the step, and the last of its batches with the loss of that one."""
        if self._last is None:
            return None, None, None
        last, batch = self._last
        mean: Tensor = last
        if self._sum is not None:
            self._fold(last, batch)
            mean = self._sum / self._examples
        self._last, self._sum, self._examples = None, None, 0
        return mean, batch, last
