"""Observers that write into a run: metrics and checkpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, final

from .._checkpoints import Checkpoints, load_into
from .._observers import EarlyStopping
from .._run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._trainer import Trainer


@final
class MetricsLog:
    """Write the loss every few steps and all metrics every epoch to ``metrics.jsonl``.

    Args:
        run: Whose file.
        every: Steps between losses, at least the trainer's `log_every`.
    """

    def __init__(self, run: Run, every: int) -> None:
        self._run = run
        self._every = every

    def on_step(self, trainer: Trainer) -> None:
        """Write the loss, if it is time.

        Args:
            trainer: After a step.
        """
        if trainer.step % self._every == 0:
            self._run.append(
                {
                    "kind": "step",
                    "step": trainer.step,
                    "epoch": trainer.epoch + 1,
                    "loss": trainer.recent_loss(),
                    "lr": trainer.optimizer.param_groups[0]["lr"],
                }
            )

    def on_epoch(self, trainer: Trainer) -> None:
        """Write the epoch.

        Args:
            trainer: At the end of an epoch.
        """
        self._run.append({"kind": "epoch", **trainer.history.epochs[-1]})


@final
class CheckpointWriter:
    """Save the training every few seconds, in the middle of an epoch if need be, and at its end.

    Also at the steps whose checkpoints are to stay.

    Args:
        checkpoints: Where to, and at which steps they stay.
        every_seconds: Least time between two checkpoints; 0 saves after every step.
        best: Whose best weights go with each checkpoint.
    """

    def __init__(self, checkpoints: Checkpoints, every_seconds: float, best: EarlyStopping) -> None:
        self._checkpoints = checkpoints
        self._every = every_seconds
        self._best = best
        self._last = time.monotonic()

    def on_step(self, trainer: Trainer) -> None:
        """Save within an epoch, if it is time and the batches can go on from there.

        Args:
            trainer: After a step.
        """
        middle = trainer.within_epoch and trainer.step < trainer.total_steps
        if self._due(trainer) and middle and hasattr(trainer.train_batches, "state_dict"):
            self._save(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        """Save after an epoch, if it is time.

        Args:
            trainer: At the end of an epoch.
        """
        if self._due(trainer):
            self._save(trainer)

    def _due(self, trainer: Trainer) -> bool:
        stays = self._checkpoints.retention.every
        if stays and trainer.step % stays == 0:
            return True
        return time.monotonic() - self._last >= self._every

    def on_fit_end(self, trainer: Trainer) -> None:
        """Save the end, unless training broke off where nothing can go on from.

        Args:
            trainer: At the end.
        """
        resumable = hasattr(trainer.train_batches, "state_dict") or not trainer.within_epoch
        if resumable and trainer.healthy and trainer.step > 0:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        state = {**trainer.state_dict(), "best": self._best.best_weights}
        value = self._best.best_value if self._best.mode == "min" else -self._best.best_value
        ranked = value if self._best.best_step == trainer.step else None
        self._checkpoints.save(state, value=ranked)
        self._last = time.monotonic()


def resume(
    trainer: Trainer, state: dict[str, Any], train: Iterable[Any], best: EarlyStopping, where: str
) -> None:
    """Put a checkpoint's state into a trainer.

    Args:
        trainer: Built with the settings of the run.
        state: What `Checkpoints.load` gave.
        train: The batches that `fit` will get.
        best: Gets the best weights.
        where: Place of the checkpoint, for messages.

    Raises:
        RunError: The weights do not fit the model.
    """
    load_into(trainer.model, state["model"], where)
    best.best_weights = state["best"]
    trainer.load_state_dict(state, train)
