"""Learning-rate schedulers of torch as observers of a training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, final

from torch.optim.lr_scheduler import LRScheduler

from ..core.errors import UsageError
from ._follow import CheckpointWriter

if TYPE_CHECKING:
    from ._trainer import Trainer


@final
class TorchSchedule:
    """Let a scheduler of torch set the rates, after each step or each epoch, as in a loop by hand.

    For schedulers that you have already, and for those that follow a metric. The schedules of
    `fitwell.optim` need no state and know the length of the run; prefer them for new code.

    Belongs into `observers` of a trainer without `schedule`, before any `CheckpointWriter`, so that
    a checkpoint holds the scheduler's state after its step.

    Args:
        scheduler: Over the optimizer that the trainer has.
        every: When it steps; torch's `OneCycleLR` and `CyclicLR` are written for steps, most others
            for epochs.
        metric: What `ReduceLROnPlateau` gets: a metric of the validation part, or of the training
            part without one. Left out for all others.

    Raises:
        UsageError: The arguments do not fit each other, or the trainer has a schedule of its own.

    Source: paszke2019pytorch.
    Checked against: loops by hand with the same scheduler, bit for bit.
    """

    def __init__(
        self,
        scheduler: LRScheduler,
        *,
        every: Literal["step", "epoch"],
        metric: str | None = None,
    ) -> None:
        if every not in ("step", "epoch"):
            raise UsageError(f"TorchSchedule: `every` must be 'step' or 'epoch'; got {every!r}.")
        name = type(scheduler).__name__
        follows = "metrics" in inspect.signature(scheduler.step).parameters
        if follows and (metric is None or every == "step"):
            raise UsageError(
                f"TorchSchedule: `metric` must be given, and `every` be 'epoch', for {name}; got"
                f" {metric!r} and {every!r}. Use metric='loss', every='epoch'."
            )
        if metric is not None and not follows:
            raise UsageError(
                f"TorchSchedule: `metric` must be left out for {name}, which follows none; got"
                f" {metric!r}."
            )
        self.scheduler = scheduler
        self.every = every
        self.metric = metric

    def on_fit_start(self, trainer: Trainer) -> None:
        """Refuse a trainer whose rates something else sets.

        Args:
            trainer: At the start.
        """
        if trainer.schedule is not None:
            raise UsageError(
                "TorchSchedule: `schedule` of the trainer must be left out; got"
                f" {trainer.schedule}. Only one can set the rates."
            )
        if self.scheduler.optimizer is not trainer.optimizer:
            raise UsageError(
                "TorchSchedule: `scheduler` must be over the trainer's own optimizer; got one over"
                " another. Build both from the same."
            )
        kinds = [type(observer) for observer in trainer.observers]
        if kinds.count(TorchSchedule) > 1:
            raise UsageError(
                "TorchSchedule: `observers` must hold one; got"
                f" {kinds.count(TorchSchedule)}. Join them by torch's ChainedScheduler."
            )
        if CheckpointWriter in kinds[: kinds.index(TorchSchedule)]:
            raise UsageError(
                "TorchSchedule: `observers` must have it before CheckpointWriter, or checkpoints"
                " lack its last step; got it after. Change their order."
            )

    def on_step(self, trainer: Trainer) -> None:
        """Step, if it steps with the optimizer.

        Args:
            trainer: After a step.
        """
        if self.every == "step":
            self.scheduler.step()

    def on_epoch(self, trainer: Trainer) -> None:
        """Step, if it steps by epochs.

        Args:
            trainer: At the end of an epoch.
        """
        if self.every == "step":
            return
        if self.metric is None:
            self.scheduler.step()
            return
        record = trainer.history.epochs[-1]
        measured = record["valid"] or record["train"]
        if self.metric not in measured:
            raise UsageError(
                f"TorchSchedule: `metric` must be one of {sorted(measured)}; got {self.metric!r}."
            )
        self.scheduler.step(measured[self.metric])

    def state_dict(self) -> dict[str, Any]:
        """Give the state of the scheduler; the rates are in that of the optimizer."""
        return self.scheduler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state.

        Args:
            state: What `state_dict` gave.
        """
        self.scheduler.load_state_dict(dict(state))
