"""Schedules that begin with a rise: warm-up before any other, and that of the Transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

from ._base import Schedule, check_count, check_length, check_number, check_schedule, steps_of
from ._falling import Cosine


@final
@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Rise in a straight line for some steps, then follow another schedule for the rest.

    For large batches, Transformers, and whatever diverges at its best rate in the first steps.

        start + (1 - start) · (step + 1) / steps     while step < steps

    Args:
        steps: Length of the rise: a whole number of steps, or a share of the run; 0 leaves it out.
        start: Factor that the rise begins above; 1 holds the base rate for `steps`.
        then: The schedule after it, which sees the remaining steps as its whole run.

    Raises:
        UsageError: A value is out of range, or `then` is no schedule.

    Source: goyal2017accurate, section 2.2.
    Differs: no step has rate 0; the schedules of transformers are one step behind in the rise.
    Reduces to: `then` at `steps=0`.
    Checked against: the two pieces joined by hand; the formulas of transformers.
    """

    steps: int | float = 500
    start: float = 0.0
    then: Schedule = Cosine()  # noqa: RUF009, it is frozen

    def __post_init__(self) -> None:
        check_length("WarmUp", "steps", self.steps, least=0)
        check_number("WarmUp", "start", self.start, most=1.0)
        check_schedule("WarmUp", "then", self.then)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        steps = steps_of(self.steps, total)
        if step < steps:
            return self.start + (1 - self.start) * ((step + 1) / steps)
        return self.then(step - steps, max(total - steps, 1))

    @property
    def follows(self) -> bool:
        """Whether the schedule after the rise follows a metric."""
        return getattr(self.then, "follows", False)

    def given(self, values: Sequence[float], mode: Literal["min", "max"] = "min") -> WarmUp:
        """Give a copy whose later schedule knows the metric so far.

        Args:
            values: Of the metric, one per epoch, those of the rise among them.
            mode: Whether less or more of it is better.
        """
        then: Any = self.then
        return replace(self, then=then.given(values, mode)) if self.follows else self


@final
@dataclass(frozen=True, kw_only=True)
class Noam:
    """Rise in a straight line, then fall with the root of the steps: the Transformer's schedule.

    The rate does not depend on the length of the run, so that a run can be made longer later.

        min(s^-½, s · w^-1.5) · c,  s = step + 1, w = warmup_steps
        c = √w, so that the peak is 1; or embed_dim^-½, as published, for a base rate of about 1

    Args:
        warmup_steps: Length of the rise: a whole number of steps, or a share of the run. The peak
            is at the last of them.
        embed_dim: Width of the model, which then sets the height of the peak; None makes it 1.

    Raises:
        UsageError: `warmup_steps` is no length, or `embed_dim` is below 1.

    Source: vaswani2017attention, equation 3.
    Reduces to: the rise of `WarmUp` during its first `warmup_steps`.
    Checked against: the published formula; the inverse root of fairseq.
    """

    warmup_steps: int | float = 4000
    embed_dim: int | None = None

    def __post_init__(self) -> None:
        check_length("Noam", "warmup_steps", self.warmup_steps)
        if self.embed_dim is not None:
            check_count("Noam", "embed_dim", self.embed_dim, least=1)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        count, warm = step + 1, steps_of(self.warmup_steps, total)
        height = 1.0 if self.embed_dim is None else (self.embed_dim * warm) ** -0.5
        return float(height * min((warm / count) ** 0.5, count / warm))
