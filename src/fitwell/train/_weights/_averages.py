"""Averages of weights: over the steps of one training, and over several trainings.

`EMA` and `SWA` say what is averaged; `track` makes the object that does it beside a training.
Batch-norm statistics belong to the weights that they were measured with, so an average needs its
own: `update_batch_norm`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core.errors import UsageError
from ...core.spec import Spec, build
from ._freezing import keeps_statistics, keeps_the_same_statistics


@final
@dataclass(frozen=True, kw_only=True)
class EMA:
    """Average the weights over the last steps, the newer the heavier, after each step.

    Takes the noise out of the weights at any rate of learning, so it helps most where the rate is
    still high at the end; costs one more copy of the weights. Buffers are averaged with them.
    Prefer `SWA` for equal weights over the end of a training.

        āₜ = d āₜ₋₁ + (1 - d) wₜ,  ā₀ = w₀
        d = decay, with warm-up min(decay, (1 + t) / (10 + t)),  t averages so far

    Args:
        decay: Share that stays of the average; it spans about 1 / (1 - decay) steps.
        warmup: Forget the first steps faster, for trainings of few steps.

    Raises:
        UsageError: The decay does not lie between 0 and 1.

    Source: polyak1992acceleration; tarvainen2017mean, section 2, for the exponential form.
    Differs: the first step is copied, not averaged with the initial weights.
    Reduces to: the newest weights as `decay` goes to 0.
    Checked against: ``torch.optim.swa_utils.AveragedModel``; the sum of all steps by hand.
    """

    decay: float = 0.999
    warmup: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise UsageError(
                f"EMA: `decay` must lie between 0 and 1; got {self.decay}. Use 0.999 for an"
                " average over about a thousand steps."
            )

    def decay_at(self, count: int) -> float:
        """Give the share that stays.

        Args:
            count: Averages so far.
        """
        return min(self.decay, (1 + count) / (10 + count)) if self.warmup else self.decay

    def track(self, model: nn.Module) -> AverageTracker:
        """Begin to average a model's weights.

        Args:
            model: What is trained.
        """
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        def update(averaged: Any, current: Any, count: Tensor | int) -> None:
            take_in = get_ema_multi_avg_fn(self.decay_at(tracker.count))  # type: ignore[no-untyped-call]
            take_in(averaged, current, count)

        tracker = AverageTracker(self, model, update=update, buffers=True)
        return tracker

    def due(self, step: int, total: int, *, epoch_end: bool) -> bool:
        """Say whether the weights are taken in now.

        Args:
            step: Updates so far.
            total: Updates in all.
            epoch_end: Whether an epoch has ended, rather than a step.
        """
        return not epoch_end


@final
@dataclass(frozen=True, kw_only=True)
class SWA:
    """Average the weights at the ends of the last epochs, all with the same weight.

    Weights of late epochs lie around a wide valley of the loss and their mean lies inside it. It
    needs a rate that keeps moving: a constant one, or restarts, not one that ends near 0. The
    statistics of batch normalization are measured anew for the average, at the cost of one forward
    pass over the training part each time that the average is measured.

        w̄ = (w₁ + ... + wₙ) / n,  over the epochs that end after `start`

    Args:
        start: Share of the training that passes before the first weights are taken.
        every: ``epoch`` takes them at the end of each epoch, a number after so many steps.

    Raises:
        UsageError: The share is not below 1, or the number of steps is not positive.

    Source: izmailov2018averaging, algorithm 1.
    Reduces to: the last epoch, if only one ends after `start`.
    Checked against: ``torch.optim.swa_utils.AveragedModel``; the mean in float64.
    """

    start: float = 0.75
    every: int | Literal["epoch"] = "epoch"

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise UsageError(
                f"SWA: `start` must be a share from 0 to below 1; got {self.start}. Use 0.75 for"
                " the last quarter of the training."
            )
        steps: Any = self.every
        if steps != "epoch" and not (isinstance(steps, int) and steps >= 1):
            raise UsageError(
                f"SWA: `every` must be 'epoch' or a positive number of steps; got {self.every!r}."
                " Leave it out for epochs."
            )

    def track(self, model: nn.Module) -> AverageTracker:
        """Begin to average a model's weights.

        Args:
            model: What is trained.
        """
        return AverageTracker(self, model, update=None, buffers=False)

    def due(self, step: int, total: int, *, epoch_end: bool) -> bool:
        """Say whether the weights are taken in now.

        Args:
            step: Updates so far.
            total: Updates in all.
            epoch_end: Whether an epoch has ended, rather than a step.
        """
        first = math.floor(self.start * total + 1e-9)  # 0.29 x 100 is less than 29 in floats
        if epoch_end or self.every == "epoch":
            return epoch_end and self.every == "epoch" and step > first
        return step > first and (step - first) % int(self.every) == 0


Average = EMA | SWA

AVERAGES: Mapping[str, Callable[..., Average]] = {"EMA": EMA, "SWA": SWA}


def average(spec: str | Spec | Average | None) -> Average | None:
    """Build an average of weights from its printed form, such as ``"EMA(decay=0.999)"``.

    Args:
        spec: The printed form; None or ``none`` for no average.

    Raises:
        UnknownName: There is no average or argument of that name.
        UsageError: The text is no spec, or a value is out of range.
    """
    if isinstance(spec, (EMA, SWA)):
        return spec
    if spec is None or str(spec) in ("none", "none()"):
        return None
    built: Average = build(spec, AVERAGES, owner="average", what="average of weights")
    return built


@final
class AverageTracker:
    """The average of a model's weights while it is trained; made by `EMA.track` or `SWA.track`.

    Args:
        spec: What is averaged.
        model: What is trained.
        update: How weights are taken in; None gives all the same weight.
        buffers: Whether buffers are averaged too; otherwise they are those of the newest weights.
    """

    def __init__(
        self,
        spec: Average,
        model: nn.Module,
        *,
        update: Callable[[Any, Any, Tensor | int], None] | None,
        buffers: bool,
    ) -> None:
        from torch.optim.swa_utils import AveragedModel

        self.spec = spec
        self.count = 0  # averages so far
        self._live = model
        self._averaged = AveragedModel(model, multi_avg_fn=update, use_buffers=buffers)
        self._averaged.requires_grad_(False)
        self._own_statistics = buffers

    @property
    def module(self) -> nn.Module:
        """The averaged model; before anything was averaged, the one that is trained."""
        averaged: nn.Module = self._averaged.module
        return averaged if self.count else self._live

    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """Take in the weights after a step, if they are due.

        Args:
            model: What is trained.
            step: Updates so far, with this one.
            total: Updates in all.
        """
        if self.spec.due(step, total, epoch_end=False):
            self._take(model)

    def after_epoch(self, model: nn.Module, step: int, total: int) -> None:
        """Take in the weights after an epoch, if they are due.

        Args:
            model: What is trained.
            step: Updates so far.
            total: Updates in all.
        """
        if self.spec.due(step, total, epoch_end=True):
            self._take(model)

    def _take(self, model: nn.Module) -> None:
        self._averaged.update_parameters(model)
        self.count += 1

    def refresh(self, batches: Iterable[Any]) -> None:
        """Measure batch-norm statistics for the average, unless it has averaged them too.

        For before the average is measured or kept. The position of the batches stays as it is.

        Args:
            batches: Of the training part.
        """
        if self.count and not self._own_statistics:
            keeps_the_same_statistics(self._live, self._averaged.module)
            update_batch_norm(self._averaged.module, batches)

    def state_dict(self) -> dict[str, Any]:
        """Give the average and how many weights are in it, as tensors; references, not copies."""
        state: dict[str, Any] = self._averaged.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved average.

        Args:
            state: What `state_dict` gave.
        """
        self._averaged.load_state_dict(dict(state))
        self.count = int(state["n_averaged"])


def average_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Give the mean of the weights of several models, such as independent refinements of one.

    Models that went apart late lie in one valley of the loss, and their mean may be better than
    each; models trained apart from the start do not, and their mean is useless: average their
    outputs instead. Measure batch-norm statistics anew for the mean: `update_batch_norm`.

        w̄ = (w₁ + ... + wₙ) / n      in float64, then in the type of the first

    Args:
        states: State dicts with the same names and shapes; what is neither real nor complex, such
            as a count of batches, is that of the first.

    Raises:
        UsageError: There is none, or names or shapes differ.

    Source: gupta2020stochastic, algorithm 1, phase 3; wortsman2022model, section 2, uniform soup.
    Reduces to: the weights themselves, for one state.
    Checked against: NumPy means in float64; ``torch.optim.swa_utils.AveragedModel``.
    """
    if not states:
        raise UsageError("average_weights: `states` must hold at least one; got none.")
    first = states[0]
    for number, other in enumerate(states[1:], start=2):
        _check_alike(first, other, number)
    mean = {}
    for name, value in first.items():
        if not (value.is_floating_point() or value.is_complex()):
            mean[name] = value.clone()
            continue
        exact = torch.complex128 if value.is_complex() else torch.float64
        total = torch.stack([state[name].to(value.device, exact) for state in states]).sum(0)
        mean[name] = (total / len(states)).to(value.dtype)
    return mean


def _check_alike(first: Mapping[str, Tensor], other: Mapping[str, Tensor], number: int) -> None:
    for name in (*first, *other):
        if name not in first or name not in other:
            without = number if name in first else 1
            raise UsageError(
                f"average_weights: `states` must have the same names; got {name!r}, which state"
                f" {without} lacks. Average models of one architecture."
            )
        if first[name].shape != other[name].shape:
            raise UsageError(
                f"average_weights: `states` must have the same shapes; got {name}"
                f" {tuple(first[name].shape)} and {tuple(other[name].shape)} (state {number})."
                " Average models of one architecture."
            )


def update_batch_norm(model: nn.Module, batches: Iterable[Any]) -> None:
    """Measure the batch-norm statistics of a model anew, in one pass over batches.

    For weights that no step of training has seen, such as an average. Each batch counts the same.
    Modes, momenta, random generators and, if they have a state, the position of the batches are
    put back; frozen layers keep their statistics; without batch norm nothing is done.

    Args:
        model: The model, on the device of the batches.
        batches: Of the training part, shuffled; the first entry of each is the inputs.

    Source: izmailov2018averaging, section 3.2.
    Differs: torch also measures frozen layers, and leaves the generators where dropout took them.
    Checked against: ``torch.optim.swa_utils.update_bn``.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and not keeps_statistics(module)
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    modes = [(module, module.training) for module in model.modules()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices), _in_place(batches):
            model.train()
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # a mean over all batches
            for batch in batches:
                model(batch if isinstance(batch, Tensor) else batch[0])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def _in_place(batches: Any) -> Iterator[None]:
    """Put the position of batches back after they were iterated over."""
    state = batches.state_dict() if hasattr(batches, "state_dict") else None
    try:
        yield
    finally:
        if state is not None:
            batches.load_state_dict(state)
