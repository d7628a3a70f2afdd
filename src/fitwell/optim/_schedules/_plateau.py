"""The schedule that follows a metric, as a pure function of what the metric has been."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, final

from ...core.errors import UsageError
from ...core.runs import LOWER_IS_BETTER
from ._base import Schedule, check_choice, check_count, check_number
from ._warm import WarmUp


@final
@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Lower the rate whenever a metric has stopped improving.

    For runs whose length is not known. Needs no guess of where the rate should fall, but loses the
    epochs of its patience at every fall; prefer `Cosine` when the length is known.

    The factor follows from the metric of the epochs so far and nothing else: `given` makes a copy
    that knows them, and `follow` does so from the records of a run. Until then it is 1.

    Args:
        factor: What the rate is multiplied by.
        patience: Epochs without improvement that are waited for before a fall.
        threshold: Smallest change that counts as an improvement.
        relative: Whether `threshold` is a share of the best value, not a difference to it.
        cooldown: Epochs after a fall that are not counted.
        least: Factor below which the rate never falls.
        metric: What is watched; None takes the metric of the run, and the loss in a `Trainer` of
            one's own.
        mode: Whether less or more of it is better; None goes by the name of the metric.

    Raises:
        UsageError: A value is out of range.

    Source: krizhevsky2012imagenet, section 5.
    Differs: `least` is a factor, not a rate; falls of less than 1e-8 are not left out.
    Reduces to: `Constant` at `factor=1`.
    Checked against: `torch.optim.lr_scheduler.ReduceLROnPlateau`, bit for bit.
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    relative: bool = True
    cooldown: int = 0
    least: float = 0.0
    metric: str | None = None
    mode: Literal["min", "max"] | None = None
    _now: float = field(default=1.0, init=False, repr=False)

    follows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("Plateau", "factor", self.factor, most=1.0, above=True)
        check_count("Plateau", "patience", self.patience)
        check_number("Plateau", "threshold", self.threshold)
        check_choice("Plateau", "relative", self.relative, (True, False))
        check_count("Plateau", "cooldown", self.cooldown)
        check_number("Plateau", "least", self.least, most=1.0)
        if self.metric is not None and not isinstance(self.metric, str):
            raise UsageError(f"Plateau: `metric` must be the name of a metric; got {self.metric}.")
        check_choice("Plateau", "mode", self.mode, ("min", "max", None))

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step of the epoch after those that are known."""
        return self._now

    def given(self, values: Sequence[float], mode: Literal["min", "max"] = "min") -> Plateau:
        """Give a copy that knows the metric so far.

        Args:
            values: Of the metric, one per epoch.
            mode: Whether less or more of it is better.

        Raises:
            UsageError: `mode` is neither.
        """
        check_choice("Plateau", "mode", mode, ("min", "max"))
        sign = 1.0 if mode == "min" else -1.0
        best, waited, resting, now = math.inf, 0, 0, 1.0
        for value in values:
            if self._improves(sign * value, best, sign):
                best, waited = sign * value, 0
            else:
                waited += 1
            if resting > 0:
                resting, waited = resting - 1, 0
            if waited > self.patience:
                resting, waited, now = self.cooldown, 0, max(now * self.factor, self.least)
        copy = replace(self)
        object.__setattr__(copy, "_now", now)
        return copy

    def _improves(self, value: float, best: float, sign: float) -> bool:
        """Compare values of which less is better; `sign` is -1 where they were turned around."""
        if self.relative:
            return value < best * (1.0 - sign * self.threshold)
        return value < best - self.threshold


def watching(schedule: Schedule, metric: str, mode: Literal["min", "max"]) -> Schedule:
    """Let a schedule that follows a metric, and names none, follow this one.

    Args:
        schedule: `Plateau`, `WarmUp` before it, or any other, which comes back as it is.
        metric: The metric of the run.
        mode: Whether less or more of it is better.

    Checked against: schedules that name their metric.
    """
    if isinstance(schedule, WarmUp):
        return replace(schedule, then=watching(schedule.then, metric, mode))
    if isinstance(schedule, Plateau) and schedule.metric is None:
        return replace(schedule, metric=metric, mode=schedule.mode or mode)
    return schedule


def follow(schedule: Schedule, epochs: Sequence[Mapping[str, Any]]) -> Schedule:
    """Give the schedule for the next epoch: one that follows a metric learns what it has been.

    For the end of every epoch, and the start of a resumed run. A schedule that follows nothing
    comes back as it is.

        schedule = follow(schedule, trainer.history.epochs)

    Args:
        schedule: Of the run; `Plateau`, or `WarmUp` before it, is told.
        epochs: Records of the epochs so far; the metric is looked for in ``valid``, or in
            ``train`` where nothing was measured.

    Raises:
        UsageError: An epoch has no such metric.

    Checked against: `Plateau.given` on the values themselves.
    """
    told: Any = schedule
    if not getattr(told, "follows", False):
        return schedule
    watcher = told
    while isinstance(watcher, WarmUp):
        watcher = watcher.then
    name = getattr(watcher, "metric", None) or "loss"
    better = getattr(watcher, "mode", None) or ("min" if name in LOWER_IS_BETTER else "max")
    followed: Schedule = told.given([_value(epoch, name) for epoch in epochs], better)
    return followed


def _value(epoch: Mapping[str, Any], metric: str) -> float:
    measured = epoch["valid"] or epoch["train"]
    if metric not in measured:
        raise UsageError(
            f"Plateau: `metric` must be one of {sorted(measured)}, which were measured; got"
            f" {metric!r}."
        )
    return float(measured[metric])
