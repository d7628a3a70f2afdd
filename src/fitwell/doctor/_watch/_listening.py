"""Hearing the losses and batches of a `Trainer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from ...train import batch_length

if TYPE_CHECKING:
    from ...train import Trainer


@final
class Listening:
    """Stands before a trainer's objective while it fits, and remembers the batch of a step.

    Args:
        trainer: Whose objective it is.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._objective = trainer.objective
        self._losses: list[tuple[Tensor, Any]] = []
        trainer.objective = self

    def __call__(self, model: Any, batch: Any) -> Any:
        loss, logged = self._objective(model, batch)
        if loss.requires_grad:
            self._losses.append((loss, batch))
        return loss, logged

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_objective":  # asked while a copy is being made
            raise AttributeError(name)
        return getattr(self._objective, name)

    def heard(self) -> tuple[Tensor | None, Any, Tensor | None]:
        """Give the mean loss of the step, and the last of its batches with the loss of that one."""
        heard, self._losses = self._losses, []
        if not heard:
            return None, None, None
        last, batch = heard[-1]
        if len(heard) == 1:
            return last, batch, last
        counts = [batch_length(batch) for _, batch in heard]
        terms = [loss.detach() * count for (loss, _), count in zip(heard, counts, strict=True)]
        return sum(terms[1:], terms[0]) / sum(counts), batch, last

    def stop(self) -> None:
        """Put the objective back."""
        if self._trainer.objective is self:
            self._trainer.objective = self._objective
