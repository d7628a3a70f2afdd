"""One of the trainings of a population: what a trainer takes, and what it has reached."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...core.errors import UsageError
from ...optim import Schedule, follow
from .._history import History, epoch_record
from .._objective import Objective, evaluate
from .._observers import Observer
from .._parts import check_batches, check_parts, check_steps
from .._passes import Precision, autocast


@final
@dataclass(eq=False, kw_only=True)
class Member:
    """One of the trainings of a `Population`: what a `Trainer` takes, and its data.

    Observers see a member where they expect a trainer; `EarlyStopping` works as it does there. Of
    their methods ``on_fit_start``, ``on_epoch`` and ``on_fit_end`` are called.

    Args:
        model: Already on the device that it trains on.
        objective: ``objective(model, batch) -> (loss, logged)``.
        optimizer: Over the parameters of `model`; the rates it has now are the base rates.
        train: Batches, iterated once per epoch.
        valid: Batches to measure after each epoch; None measures none.
        epochs: Passes over `train`.
        schedule: Factor on the base rates by step; None leaves the rates to the optimizer.
        grad_clip_norm: Largest norm of all gradients together; None does not clip.
        precision: Of forward passes; weights stay as they are.
        seed: Of dropout and other noise in the model; or a state of torch's generator.
        observers: Called along the way.

    Raises:
        UsageError: A value is out of range, or the batches have no length.
    """

    model: nn.Module
    objective: Objective
    optimizer: Optimizer
    train: Iterable[Any]
    valid: Iterable[Any] | None = None
    epochs: int = 1
    schedule: Schedule | None = None
    grad_clip_norm: float | None = None
    precision: Precision = "float32"
    seed: int | Tensor = 0
    observers: Sequence[Observer] = ()
    history: History = field(default_factory=History, init=False)
    step: int = field(default=0, init=False)
    epoch: int = field(default=0, init=False)
    lost: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        check_parts(self.model, self.objective, self.optimizer, self.schedule)
        check_steps(1, self.grad_clip_norm, self.precision, self.device, self.optimizer)
        check_batches(self.train)
        for observer in self.observers:
            if hasattr(observer, "on_step"):
                raise UsageError(
                    "Member: `observers` must not look at every step; got a"
                    f" {type(observer).__name__}. Use a Trainer for it."
                )
        if self.epochs < 1:
            raise UsageError(f"Member: `epochs` must be at least 1; got {self.epochs}.")
        if self.precision == "fp16":
            raise UsageError(
                "Member: `precision` must be 'float32' or 'bf16', which need no scaling of the"
                " loss; got 'fp16'. Use a Trainer for it."
            )
        try:
            self.steps_per_epoch = len(self.train)  # type: ignore[arg-type]
        except TypeError:
            raise UsageError(
                "Member: `train` must know its length; got an iterable without. Give Batches."
            ) from None
        self.total_steps = self.epochs * self.steps_per_epoch
        # Of the model, as torch's own is in a trainer.
        on_gpu = self.device.type == "cuda"
        self.noise = torch.Generator(self.device if on_gpu else "cpu")
        if isinstance(self.seed, int):
            self.noise.manual_seed(self.seed)
        elif on_gpu:
            self.noise.manual_seed(int(self.seed[:8].view(torch.int64)[0]))
        else:
            self.noise.set_state(self.seed)
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.followed = self.schedule

    @property
    def measured_model(self) -> nn.Module:
        """The model, under the name that observers look for."""
        return self.model

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        return self.epoch >= self.epochs or self.history.stopped is not None

    def stop(self, reason: str) -> None:
        """End training after the epoch at hand; for observers.

        Args:
            reason: Why, in a few words.
        """
        self.history.stopped = reason

    def evaluate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Measure the model as it is now, without training it.

        Args:
            batches: The examples, in batches.
        """
        with autocast(self.precision, self.device):
            return evaluate(self.objective, self.model, batches)

    def factor(self) -> float:
        """Give what the base rates are multiplied by at the next step."""
        return 1.0 if self.followed is None else self.followed(self.step, self.total_steps)

    def notify(self, event: str) -> None:
        """Call a method of the observers that have it.

        Args:
            event: Its name.
        """
        for observer in self.observers:
            method = getattr(observer, event, None)
            if method is not None:
                method(self)

    def record_epoch(
        self,
        losses: Sequence[float],
        counts: Sequence[int],
        valid: dict[str, float],
        seconds: float,
    ) -> None:
        """Write the record of an epoch.

        Args:
            losses: Of the steps.
            counts: Examples of the steps.
            valid: What was measured.
            seconds: The member's share of the time.
        """
        self.epoch += 1
        first = self.step - len(losses)
        self.history.losses += losses
        total = math.fsum(loss * count for loss, count in zip(losses, counts, strict=True))
        examples = sum(counts)
        self.history.epochs.append(
            epoch_record(
                self,
                loss=total / max(examples, 1),
                valid=valid,
                seconds=seconds,
                examples=examples,
            )
        )
        self.history.seconds += seconds
        for number, loss in enumerate(losses, start=first + 1):
            if not math.isfinite(loss):
                self.lost = True
                self.stop(f"the loss became {loss} at step {number}")
                return

    def after_epoch(self) -> None:
        """Tell the schedule and the observers what was measured, if it is worth anything."""
        if self.lost:
            return
        if self.schedule is not None:
            self.followed = follow(self.schedule, self.history.epochs)
        self.notify("on_epoch")
