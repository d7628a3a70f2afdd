"""The training loop, written once for every kind of training."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..core.errors import TrainingError, UsageError
from ..optim import Schedule, follow, frozen_statistics
from ._explain import explain_errors
from ._history import EpochLosses, History, epoch_record
from ._objective import Objective, batch_length, evaluate
from ._observers import Observer
from ._parts import check_batches, check_parts, check_steps
from ._passes import Precision, autocast, backward, clip_norm, take_step
from ._replicas import Replicas, lost_process
from ._state import restore_state, state_of
from ._weights import Average


@final
class Trainer:
    """Fit a model to batches: forward, backward, clip, step; and measure after each epoch.

    Works with any module, any iterable of batches and any torch optimizer. For a loop of your own,
    take `fitwell.data.Batches` and `fitwell.train.Supervised` without it.

    Args:
        model: Already on the device that it trains on.
        objective: ``objective(model, batch) -> (loss, logged)``.
        optimizer: Over the parameters of `model`; the rates it has now are the base rates.
        schedule: Factor on the base rates by step; None leaves the rates to the optimizer, and to
            a `TorchSchedule`.
        accumulate: Batches per step; their losses are weighted by their lengths.
        grad_clip_norm: Largest norm of all gradients together; None does not clip.
        precision: Of forward passes; weights stay as they are.
        average: Keep an average of the weights, and measure and return that one.
        compiled: Train ``torch.compile(model)``.
        replicas: The processes that train together; None trains in this one alone.
        observers: Called along the way; see `Observer`.

    Raises:
        UsageError: A value is out of range, or fp16 is asked of a CPU.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Optimizer,
        *,
        schedule: Schedule | None = None,
        accumulate: int = 1,
        grad_clip_norm: float | None = None,
        precision: Precision = "float32",
        average: Average | None = None,
        compiled: bool = False,
        replicas: Replicas | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.schedule = self._followed = schedule
        self.accumulate = accumulate
        self.grad_clip_norm = grad_clip_norm
        self.precision = precision
        self.observers = tuple(observers)
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        check_parts(model, objective, optimizer, schedule)
        check_steps(accumulate, grad_clip_norm, precision, self.device, optimizer)
        self.average = None if average is None else average.track(model)
        self.replicas = replicas
        forward: nn.Module = torch.compile(model) if compiled else model  # type: ignore[assignment]
        self._forward = forward if replicas is None else replicas.wrap(forward)
        self.scaler = torch.amp.GradScaler(enabled=precision == "fp16")
        self._base_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.history = History()
        self.healthy = True  # no error has torn a step apart
        self.step = 0  # updates so far
        self.epoch = 0  # epochs completed
        self.total_steps = 0
        self.steps_per_epoch: int | None = None
        self.train_batches: Iterable[Any] = ()
        self.grad_norm: Tensor | None = None
        self.losses = EpochLosses()
        self._fit_mark: float | None = None  # until when time is counted
        self._epoch_mark: float | None = None

    @property
    def measured_model(self) -> nn.Module:
        """The model that is measured and kept: the averaged one if there is one."""
        return self.model if self.average is None else self.average.module

    @property
    def rate(self) -> float:
        """Learning rate of the first group at the next step."""
        return self._rate_at(self.step)

    def _rate_at(self, step: int) -> float:
        if self._followed is None:
            return float(self.optimizer.param_groups[0]["lr"])
        return self._base_rates[0] * self._followed(step, self.total_steps)

    def _follow(self) -> None:
        """Tell a schedule that follows a metric what was measured."""
        if self.schedule is not None:
            self._followed = follow(self.schedule, self.history.epochs)

    @property
    def within_epoch(self) -> bool:
        """Whether batches of the current epoch are still to come."""
        return 0 < len(self.losses) != self.steps_per_epoch

    def fit(
        self,
        train: Iterable[Any],
        valid: Iterable[Any] | None = None,
        *,
        epochs: int | None = None,
        max_steps: int | None = None,
        log_every: int = 50,
    ) -> History:
        """Train until the epochs or steps are done or an observer stops it.

        Args:
            train: Batches, iterated once per epoch.
            valid: Batches to measure after each epoch; None measures none.
            epochs: Passes over `train`; may be left out if `max_steps` is given.
            max_steps: Updates in all; may end in the middle of an epoch.
            log_every: Steps between looks at the loss, each of which waits for the device.

        Raises:
            UsageError: Neither `epochs` nor `max_steps` is given or positive.
            TrainingError: The loss became infinite or NaN.
        """
        check_batches(train)
        self.total_steps = self._plan(train, epochs, max_steps)
        self.steps_per_epoch = _steps(train, self.accumulate)
        self.train_batches = train
        self._log_every = log_every
        self._on_step = _methods(self.observers, "on_step")
        self._follow()
        self.history.stopped = None
        if self.replicas is not None:
            self.replicas.wish(None)
        self._fit_mark = time.perf_counter()
        self._notify("on_fit_start")
        self._agree()
        try:
            with lost_process(), explain_errors(self.model, owner="Trainer"):
                while self.step < self.total_steps and not self.stopping:
                    self._run_epoch(train)
                    if not self.within_epoch or not self.stopping:
                        self._finish_epoch(valid)
        except BaseException:
            self.healthy = False
            raise
        finally:
            self._flush(check=False)
            self._tick()
            self._notify("on_fit_end")
        return self.history

    @property
    def stopping(self) -> bool:
        """Whether an observer has asked to end training."""
        return self.history.stopped is not None

    def stop(self, reason: str) -> None:
        """End training after the step at hand; for observers.

        Args:
            reason: Why, in a few words.
        """
        if self.replicas is None:
            self.history.stopped = reason
        else:
            self.replicas.wish(reason)

    def _agree(self) -> None:
        """Stop in all processes if one of them wants to."""
        if self.replicas is not None:
            self.history.stopped = self.replicas.agreed_wish()

    def evaluate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Measure the model as it is now, without training it.

        Args:
            batches: The examples, in batches.
        """
        with self.autocast():
            return evaluate(self.objective, self.measured_model, batches)

    def _plan(self, train: Iterable[Any], epochs: int | None, max_steps: int | None) -> int:
        for name, value in (("epochs", epochs), ("max_steps", max_steps)):
            if value is not None and value < 1:
                raise UsageError(f"Trainer: `{name}` must be at least 1; got {value}.")
        if epochs is None:
            if max_steps is None:
                raise UsageError("Trainer: one of `epochs` and `max_steps` must be given.")
            return max_steps
        per_epoch = _steps(train, self.accumulate)
        if per_epoch is None:
            raise UsageError("Trainer: `max_steps` must be given when `train` has no length.")
        steps = epochs * per_epoch
        return steps if max_steps is None else min(steps, max_steps)

    def _run_epoch(self, train: Iterable[Any]) -> None:
        self.model.train()
        self._epoch_mark = time.perf_counter()
        for group in _grouped(train, self.accumulate):
            self._update(group)
            if self.step % self._log_every == 0:
                self._flush()
            for on_step in self._on_step:
                on_step(self)
            self._agree()
            if self.step >= self.total_steps or self.stopping:
                break
        if not len(self.losses):
            once = " It can be iterated only once; give a list or a loader." if self.step else ""
            raise UsageError(f"Trainer: `train` must give at least one batch; got none.{once}")
        self._flush()
        self._tick()
        self._epoch_mark = None

    def _tick(self) -> None:
        """Add the time that has passed to that of the epoch and of the training."""
        now = time.perf_counter()
        if self._epoch_mark is not None:
            self.losses.seconds += now - self._epoch_mark
            self._epoch_mark = now
        if self._fit_mark is not None:
            self.history.seconds += now - self._fit_mark
            self._fit_mark = now

    def _update(self, group: list[Any]) -> None:
        if self._followed is not None:
            factor = self._followed(self.step, self.total_steps)
            for settings, rate in zip(self.optimizer.param_groups, self._base_rates, strict=True):
                settings["lr"] = rate * factor
        loss, count = self._gradients(group)
        self._clip_and_step(group)
        self.losses.add(loss, count)
        self.step += 1
        if self.average is not None:
            self.average.after_step(self.model, self.step, self.total_steps)

    def _gradients(self, group: list[Any]) -> tuple[Tensor, int]:
        """Leave the gradients of a step; give its loss and how many examples it is the mean of."""
        if self.replicas is not None:
            return self.replicas.gradients(self, group)
        counts = [batch_length(batch) for batch in group]
        count = sum(counts)
        total: Tensor | None = None
        for batch, part in zip(group, counts, strict=True):
            with self.autocast():
                loss, _ = self.objective(self._forward, batch)
            if part != count:
                loss = loss * (part / count)
            self.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        return total, count  # type: ignore[return-value]

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled as the precision needs it.

        Args:
            loss: One number.
        """
        if self.precision == "fp16":
            loss = self.scaler.scale(loss)
        backward(loss)

    def _clip_and_step(self, group: list[Any]) -> None:
        self._clip()
        if self.precision == "fp16":
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            take_step(self.optimizer, partial(self._gradients_again, group))
        self.optimizer.zero_grad()

    def _gradients_again(self, group: list[Any]) -> Tensor:
        """Leave the gradients of a step where the optimizer has moved the weights for a look."""
        with frozen_statistics(self.model):  # seen once already
            loss, _ = self._gradients(group)
        self._clip()
        return loss

    def _clip(self) -> None:
        if self.grad_clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            self.grad_norm = clip_norm(self.optimizer, self.grad_clip_norm)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Give the context that forward passes run in."""
        return autocast(self.precision, self.device)

    def _flush(self, *, check: bool = True) -> None:
        """Bring pending losses over from the device."""
        losses = self.losses.fetch()
        self.history.losses += losses
        for number, loss in enumerate(losses if check else (), start=self.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"Trainer: the loss became {loss} at step {number} (lr="
                    f"{self._rate_at(number - 1):.3g}). Lower the rate, clip the"
                    " gradient norm, or look at the inputs of that batch: first_nonfinite of"
                    " fitwell.train names the layer where it begins."
                )

    def recent_loss(self) -> float:
        """Give the mean loss of the last `log_every` steps of this epoch."""
        return self.losses.recent(self._log_every)

    def _finish_epoch(self, valid: Iterable[Any] | None) -> None:
        self.epoch += 1
        if self.average is not None:
            self.average.after_epoch(self.model, self.step, self.total_steps)
            with self.autocast():
                self.average.refresh(self.train_batches)
        measured = {} if valid is None else self._measure(valid)
        losses, self.losses = self.losses, EpochLosses()
        record = epoch_record(
            self,
            loss=losses.mean(),
            valid=measured,
            seconds=losses.seconds,
            examples=losses.examples,
        )
        self.history.epochs.append(record)
        self._follow()
        self._notify("on_epoch")
        self._agree()

    def _measure(self, batches: Iterable[Any]) -> dict[str, float]:
        return (
            self.evaluate(batches)
            if self.replicas is None
            else self.replicas.evaluate(self, batches)
        )

    def _notify(self, event: str) -> None:
        for method in _methods(self.observers, event):
            method(self)

    def state_dict(self) -> dict[str, Any]:
        """Give everything that the rest of the training depends on, as tensors and plain data.

        Weights are under ``model`` and ``average``; they are references, not copies.
        """
        self._flush()
        self._tick()
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any], train: Iterable[Any]) -> None:
        """Go on from a saved state, before `fit` is called with the same arguments as then.

        Args:
            state: What `state_dict` gave.
            train: The batches that `fit` will get.

        Raises:
            UsageError: The state has an average of the weights and this trainer has none.
        """
        restore_state(self, state, train)


def _grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Give lists of `size` batches without reading ahead, so that positions can be saved."""
    iterator = iter(batches)
    while group := list(itertools.islice(iterator, size)):
        yield group


def _steps(train: Iterable[Any], accumulate: int) -> int | None:
    try:
        return math.ceil(len(train) / accumulate)  # type: ignore[arg-type]
    except TypeError:  # also of a loader whose data set has no length
        return None


def _methods(observers: Iterable[Observer], event: str) -> list[Any]:
    found = (getattr(observer, event, None) for observer in observers)
    return [method for method in found if method is not None]
