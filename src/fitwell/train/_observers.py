"""Observers are called along the way of a training.

They are objects with any of ``on_fit_start, on_step, on_epoch, on_fit_end``, each given the
trainer. One that has ``state_dict`` and ``load_state_dict`` is saved and resumed with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, final

from torch import Tensor

from ..core.errors import UsageError

if TYPE_CHECKING:
    from ._trainer import Trainer

Observer = object


@final
class EarlyStopping:
    """Remember the best weights, stop when they stay unbeaten, and put them back at the end.

    Of epochs with the same value, the one with the lower loss is better.

    Args:
        metric: A metric of the validation part; without one, the training loss is watched.
        mode: Whether less or more is better.
        patience: Epochs without a better value before training stops; None never stops.

    Source: prechelt1998early.
    Reduces to: keeping the best epoch at `patience=None`.
    Checked against: a loop that keeps a copy of the weights of each epoch.
    """

    def __init__(
        self,
        metric: str = "loss",
        mode: Literal["min", "max"] = "min",
        patience: int | None = None,
    ) -> None:
        if patience is not None and patience < 1:
            raise UsageError(f"EarlyStopping: `patience` must be at least 1; got {patience}.")
        self.metric = metric
        self.mode = mode
        self.patience = patience
        self.best_value = math.inf if mode == "min" else -math.inf
        self.best_loss = math.inf
        self.best_epoch = 0
        self.best_step = 0
        self.best_weights: dict[str, Tensor] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Stop at once if a resumed training had run out of patience already.

        Args:
            trainer: At the start.
        """
        self._stop_if_unbeaten(trainer)

    def _stop_if_unbeaten(self, trainer: Trainer) -> None:
        records = trainer.history.epochs
        if not records or self.patience is None:
            return
        if records[-1]["epoch"] - self.best_epoch >= self.patience:
            trainer.stop(f"no better {self.metric} for {self.patience} epochs")

    def on_epoch(self, trainer: Trainer) -> None:
        """Compare the epoch with the best so far.

        Args:
            trainer: At the end of an epoch.
        """
        record = trainer.history.epochs[-1]
        measured = record["valid"] or record["train"]
        if self.metric not in measured:
            raise UsageError(
                f"EarlyStopping: `metric` must be one of {sorted(measured)}; got {self.metric!r}."
            )
        value = measured[self.metric]
        better = value < self.best_value if self.mode == "min" else value > self.best_value
        loss = measured.get("loss", math.inf)
        if better or (value == self.best_value and loss < self.best_loss):
            self.best_value, self.best_loss, self.best_epoch = value, loss, record["epoch"]
            self.best_step = record["step"]
            weights = trainer.measured_model.state_dict()
            self.best_weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
        else:
            self._stop_if_unbeaten(trainer)

    def restore(self, trainer: Trainer) -> None:
        """Put the best weights into the model that is measured.

        Args:
            trainer: After `fit`.
        """
        if self.best_weights is not None:
            trainer.measured_model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """Give the best value and when it was; the weights are saved by whoever saves weights."""
        return {
            "best_value": self.best_value,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "best_step": self.best_step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved best value.

        Args:
            state: What `state_dict` gave.
        """
        self.best_value = state["best_value"]
        self.best_loss = state.get("best_loss", -math.inf)  # older states: ties stay as they were
        self.best_epoch = state["best_epoch"]
        self.best_step = state["best_step"]


@final
class TimeBudget:
    """Stop after some minutes, wherever training is.

    Args:
        minutes: Of wall-clock time in this process.
    """

    def __init__(self, minutes: float) -> None:
        if not minutes > 0:
            raise UsageError(f"TimeBudget: `minutes` must be positive; got {minutes}.")
        self.minutes = minutes
        self._deadline = math.inf

    def on_fit_start(self, trainer: Trainer) -> None:
        """Start the clock.

        Args:
            trainer: At the start.
        """
        self._deadline = time.monotonic() + 60 * self.minutes

    def on_step(self, trainer: Trainer) -> None:
        """Look at the clock.

        Args:
            trainer: After a step.
        """
        if time.monotonic() >= self._deadline:
            trainer.stop(f"the time budget of {self.minutes:g} minutes is used up")
