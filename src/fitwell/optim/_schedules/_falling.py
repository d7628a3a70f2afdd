"""Schedules that stay or fall: constant, steps, line, polynomial, exponential, cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from ...core.errors import UsageError
from ._base import check_length, check_number, steps_of


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
        end: Factor at the end of the run.

    Raises:
        UsageError: `end` is negative.

    Source: loshchilov2017sgdr, equation 5, without restarts.
    Reduces to: `Constant` at `end=1`.
    Checked against: `torch.optim.lr_scheduler.CosineAnnealingLR`.
    """

    end: float = 0.0

    def __post_init__(self) -> None:
        check_number("Cosine", "end", self.end)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * min(step / total, 1.0))) / 2


@final
@dataclass(frozen=True, kw_only=True)
class Linear:
    """Let the rate fall along a straight line.

    Args:
        end: Factor at the end of the run.

    Raises:
        UsageError: `end` is negative.

    Source: smith2019super, as the second half of its cycle.
    Reduces to: `Constant` at `end=1`.
    Checked against: `torch.optim.lr_scheduler.LinearLR`.
    """

    end: float = 0.0

    def __post_init__(self) -> None:
        check_number("Linear", "end", self.end)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        return 1 + (self.end - 1) * min(step / total, 1.0)


@final
@dataclass(frozen=True, kw_only=True)
class Polynomial:
    """Let the rate fall along a power of what is left of the run.

    Usual for segmentation, with a power just below 1. Above 1 the rate is low for longer.

        end + (1 - end) · (1 - step / total)^power

    Args:
        power: The power.
        end: Factor at the end of the run.

    Raises:
        UsageError: `power` is not positive, or `end` is negative.

    Source: chen2018deeplab, section 4.1.
    Reduces to: `Linear` at `power=1`.
    Checked against: `torch.optim.lr_scheduler.PolynomialLR`.
    """

    power: float = 0.9
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number("Polynomial", "power", self.power, above=True)
        check_number("Polynomial", "end", self.end)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        left = 1 - min(step / total, 1.0)
        return float(self.end + (1 - self.end) * left**self.power)


@final
@dataclass(frozen=True, kw_only=True)
class Exponential:
    """Multiply the rate by the same number after every step.

    Most of the fall comes early; prefer `Cosine` when the length of the run is known.

        end^(step / total),  or gamma^step

    Args:
        end: Factor at the end of the run.
        gamma: Factor per step; if it is given, it decides and `end` does not.

    Raises:
        UsageError: A factor is not positive, or above 1.

    Source: senior2013empirical.
    Reduces to: `Constant` at `end=1`.
    Checked against: `torch.optim.lr_scheduler.ExponentialLR`.
    """

    end: float = 0.01
    gamma: float | None = None

    def __post_init__(self) -> None:
        check_number("Exponential", "end", self.end, most=1.0, above=True)
        if self.gamma is not None:
            check_number("Exponential", "gamma", self.gamma, most=1.0, above=True)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        if self.gamma is not None:
            return float(self.gamma**step)
        return float(self.end ** min(step / total, 1.0))


@final
@dataclass(frozen=True, kw_only=True)
class Step:
    """Multiply the rate by `gamma` at given places of the run.

    How the first deep image networks were trained; needs the places to be right, which `Cosine`
    does not.

    Args:
        at: The places: whole numbers are steps, fractions are shares of the run.
        gamma: Factor at each of them.

    Raises:
        UsageError: A place is neither a step nor a share, or `gamma` is negative.

    Source: he2016deep, section 4.2.
    Reduces to: `Constant` at `gamma=1`.
    Checked against: `torch.optim.lr_scheduler.MultiStepLR`, `StepLR`.
    """

    at: tuple[int | float, ...] = (0.5, 0.75)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.at, (tuple, list)):
            raise UsageError(
                f"Step: `at` must be a tuple of steps or shares of the run; got {self.at}."
                f" Write at=({self.at},)."
            )
        object.__setattr__(self, "at", tuple(self.at))
        for place in self.at:
            check_length("Step", "at", place, least=0)
        check_number("Step", "gamma", self.gamma)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        return float(self.gamma ** sum(step >= steps_of(place, total) for place in self.at))
