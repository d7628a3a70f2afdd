"""Ending a training at the first loss that is not finite, with the layer where it began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from ...core.errors import TrainingError
from ...train import first_nonfinite
from ._batches import split_batch
from ._listening import Listening
from ._look import operations

if TYPE_CHECKING:
    from ...train import Trainer


@final
class NaNGuard:
    """Stop a `Trainer` at the first loss that is NaN or infinite, and name the layer it began in.

    An observer. It looks before the backward pass, while the weights are still those that gave the
    loss: one step later all of them are NaN, and nothing can be told. Each loss is read, which on a
    GPU waits for the device at every step; there, take it for the run that is to find the fault.

    A `GradScaler` lives with gradients that are not finite, and so does this: only the loss counts.

    Source: paszke2019pytorch.
    Checked against: trainings with one ill layer, input or loss, on purpose.
    """

    def __init__(self) -> None:
        self._listening: Listening | None = None

    def __repr__(self) -> str:
        return "NaNGuard()"

    def on_fit_start(self, trainer: Trainer) -> None:
        """Listen to a trainer's losses.

        Args:
            trainer: At the start.
        """

        def hear(loss: Tensor, batch: Any) -> None:
            if not bool(loss.detach().isfinite().all()):
                raise TrainingError(_message(trainer, loss, batch))

        self._listening = Listening(trainer, hear)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Stop listening.

        Args:
            trainer: At the end.
        """
        if self._listening is not None:
            self._listening.stop()
            self._listening = None


def _message(trainer: Trainer, loss: Tensor, batch: Any) -> str:
    inputs, targets = split_batch(batch)
    try:
        with trainer.autocast():
            where = first_nonfinite(trainer.model, inputs)
    except Exception as err:  # an objective of one's own may call the model in a way of its own
        where = f"the model could not be run on the batch again ({type(err).__name__})"
    if where is None and isinstance(targets, Tensor) and targets.is_floating_point():
        ill = int((~targets.isfinite()).sum())
        where = f"{ill} of {targets.numel()} targets are not finite" if ill else None
    if where is None:
        made = " of ".join(operations(loss, most=4)) or "it"
        where = f"the outputs of all layers are finite: {made} in the loss function made it"
    rate = trainer.optimizer.param_groups[0]["lr"]
    return (
        f"NaNGuard: the loss became {loss.detach().item()} at step {trainer.step + 1}"
        f" (lr={rate:.3g}): {where}."
    )
