"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to resume.

A schedule gives the factor on the base rate for step 0, 1, ... of a run of `total` steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, final

from ..core.errors import UsageError
from ..core.spec import Spec, build, parse


class Schedule(Protocol):
    """What a schedule is: the factor on the base rate, by step."""

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step.

        Args:
            step: Steps taken so far.
            total: Steps of the whole run.
        """
        ...


@final
@dataclass(frozen=True, kw_only=True)
class Constant:
    """Keep the rate as it is.

    Source: robbins1951stochastic, as the constant-step case.
    Checked against: the number 1.
    """

    def __call__(self, step: int, total: int) -> float:
        """Give 1."""
        return 1.0


@final
@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Let the rate fall along half a cosine; a good default for a run of known length.

        end + (1 - end) · (1 + cos(π step / total)) / 2

    Args:
        end: Factor at the last step.

    Source: loshchilov2017sgdr, equation 5, without restarts.
    Checked against: `torch.optim.lr_scheduler.CosineAnnealingLR`.
    """

    end: float = 0.0

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * min(step / total, 1.0))) / 2


@final
@dataclass(frozen=True, kw_only=True)
class Linear:
    """Let the rate fall along a straight line.

    Args:
        end: Factor at the last step.

    Source: smith2019super, as the second half of its cycle.
    Checked against: `torch.optim.lr_scheduler.LinearLR`.
    """

    end: float = 0.0

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        return 1 + (self.end - 1) * min(step / total, 1.0)


@final
@dataclass(frozen=True, kw_only=True)
class Step:
    """Multiply the rate by `gamma` at given shares of the run.

    Args:
        at: Shares of the run, ascending, between 0 and 1.
        gamma: Factor at each of them.

    Source: he2016deep, section 4.2.
    Checked against: `torch.optim.lr_scheduler.MultiStepLR`.
    """

    at: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        return self.gamma ** sum(step >= math.ceil(share * total) for share in self.at)


@final
@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """Rise to the base rate, then fall far below the start, both along a cosine.

    The quickest way to a good network when the number of epochs is small and known.

    Args:
        rise: Share of the run that the rise takes.
        start: Factor at the first step.
        end: Factor at the last step.

    Source: smith2019super, section 4.
    Checked against: `torch.optim.lr_scheduler.OneCycleLR`.
    """

    rise: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        peak = self.rise * total - 1
        last = total - 1
        if step <= peak:
            share, low, high = step / peak if peak > 0 else 1.0, self.start, 1.0
        else:
            share, low, high = (step - peak) / max(last - peak, 1e-9), 1.0, self.end
        return high + (low - high) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


@final
@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Rise in a straight line for some steps, then follow another schedule for the rest.

    Args:
        steps: Steps of the rise; 0 leaves it out.
        then: The schedule after it, which sees the remaining steps as its whole run.

    Source: goyal2017accurate, section 2.2.
    Reduces to: `then` at `steps=0`.
    Checked against: the two pieces joined by hand.
    """

    steps: int = 500
    then: Schedule = Cosine()

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        if step < self.steps:
            return (step + 1) / self.steps
        return self.then(step - self.steps, max(total - self.steps, 1))


SCHEDULES = {
    "Constant": Constant,
    "Cosine": Cosine,
    "Linear": Linear,
    "OneCycle": OneCycle,
    "Step": Step,
    "WarmUp": WarmUp,
}


def schedule(text: str | Spec) -> Schedule:
    """Build a schedule from its printed form, such as ``"WarmUp(steps=500, then=Cosine())"``.

    Args:
        text: The printed form.

    Raises:
        UnknownName: No schedule or argument of that name.
        UsageError: The text is no spec, or a value does not fit.
    """
    spec = parse(text)
    inner = {key: schedule(v) if isinstance(v, Spec) else v for key, v in spec.kwargs.items()}
    built: Schedule = build(
        Spec(spec.name, spec.args, inner), SCHEDULES, owner="schedule", what="schedule"
    )
    if isinstance(built, WarmUp) and not callable(built.then):
        raise UsageError(
            f"schedule: `then` must be a schedule such as Cosine(); got {built.then!r}."
        )
    try:
        factors = [built(step, 10) for step in range(10)]
    except TypeError as err:
        raise UsageError(f"schedule: {spec} does not work ({err}). Check its arguments.") from err
    if not all(math.isfinite(factor) and factor >= 0 for factor in factors):
        raise UsageError(
            f"schedule: {spec} must give factors of at least 0; got {min(factors):.3g}."
            " Check its arguments."
        )
    return built
