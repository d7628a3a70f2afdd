"""Schedules that rise and fall: one cycle, triangles, cosines with warm restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from ._base import check_choice, check_count, check_length, check_number, steps_of


@final
@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """Rise to the base rate, then fall far below the start, both along a cosine.

    The quickest way to a good network when the number of epochs is small and known. Made for base
    rates close to the largest that work: take the upper end that `train.lr_range_test` finds.

    Args:
        rise: Length of the rise: a share of the run, or a whole number of steps.
        start: Factor at the first step.
        end: Factor at the last step.

    Raises:
        UsageError: `rise` is no length, or a factor is negative.

    Source: smith2019super, section 4.
    Differs: the momentum stays as it is; torch lets it fall and rise against the rate.
    Reduces to: a cosine from the base rate to `end` at `rise=0.0`.
    Checked against: `torch.optim.lr_scheduler.OneCycleLR`.
    """

    rise: int | float = 0.3
    start: float = 0.04
    end: float = 4e-6

    def __post_init__(self) -> None:
        check_length("OneCycle", "rise", self.rise, least=0)
        check_number("OneCycle", "start", self.start)
        check_number("OneCycle", "end", self.end)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        # Not rounded up to a step, as in torch.
        peak = (self.rise if isinstance(self.rise, int) else self.rise * total) - 1
        last = total - 1
        if step <= peak:
            share, low, high = step / peak if peak > 0 else 1.0, self.start, 1.0
        else:
            share, low, high = (step - peak) / max(last - peak, 1e-9), 1.0, self.end
        return high + (low - high) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


@final
@dataclass(frozen=True, kw_only=True)
class Triangular:
    """Go up and down between a low rate and the base rate, again and again, in straight lines.

    For runs whose length is not settled: the end of any cycle is a place to stop. The base rate is
    the upper end of the range that `train.lr_range_test` finds, `low` its lower end as a share of
    that. Prefer `OneCycle` when the length is known.

        low + (1 - low) · t · h,  t from 0 up to 1 and back in every cycle
        h = 1                     triangular
        h = 1 / 2^cycle           triangular2, cycles counted from 0
        h = gamma^step            exp_range

    Args:
        rise: Length of the way up: a whole number of steps, or a share of the run.
        fall: Length of the way down, likewise; None takes that of the way up.
        low: Factor between two cycles.
        mode: What becomes of the peaks: as high as the first, half of the one before, or less with
            every step.
        gamma: Factor per step of `exp_range`.

    Raises:
        UsageError: A value is out of range.

    Source: smith2017cyclical, section 3.1.
    Differs: the momentum stays as it is; torch lets it fall and rise against the rate.
    Reduces to: `Constant` at `low=1`; the mode `triangular` at `mode="exp_range", gamma=1`.
    Checked against: `torch.optim.lr_scheduler.CyclicLR`.
    """

    rise: int | float = 0.125
    fall: int | float | None = None
    low: float = 0.25
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = 0.9999

    def __post_init__(self) -> None:
        check_length("Triangular", "rise", self.rise)
        if self.fall is not None:
            check_length("Triangular", "fall", self.fall)
        check_number("Triangular", "low", self.low, most=1.0)
        modes = ("triangular", "triangular2", "exp_range")
        check_choice("Triangular", "mode", self.mode, modes)
        check_number("Triangular", "gamma", self.gamma, most=1.0, above=True)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        rise = steps_of(self.rise, total)
        fall = rise if self.fall is None else steps_of(self.fall, total)
        cycle, place = divmod(step, rise + fall)
        height = place / rise if place <= rise else (rise + fall - place) / fall
        if self.mode == "triangular2":
            height *= 0.5**cycle
        elif self.mode == "exp_range":
            height *= self.gamma**step
        return self.low + (1 - self.low) * height


@final
@dataclass(frozen=True, kw_only=True)
class Restarts:
    """Fall along half a cosine, jump back to the base rate, and fall again.

    The end of any fall is a place to stop, and the weights there can be averaged or kept as an
    ensemble. The run should end with a fall: as after `first=1/7, multiply=2`, which makes three.
    Prefer `Cosine` when only the end of the run counts.

        end + (1 - end) · (1 + cos(π step / length)) / 2,  step and length those of the fall

    Args:
        first: Length of the first fall: a whole number of steps, or a share of the run.
        multiply: How many times as long every fall is as the one before.
        end: Factor that a fall approaches.

    Raises:
        UsageError: A value is out of range.

    Source: loshchilov2017sgdr, equation 5.
    Reduces to: `Cosine` at `first=1.0`.
    Checked against: `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`.
    """

    first: int | float = 0.25
    multiply: int = 1
    end: float = 0.0

    def __post_init__(self) -> None:
        check_length("Restarts", "first", self.first)
        check_count("Restarts", "multiply", self.multiply, least=1)
        check_number("Restarts", "end", self.end)

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step."""
        length = steps_of(self.first, total)
        if self.multiply == 1:
            step %= length
        while step >= length:
            step -= length
            length *= self.multiply
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * step / length)) / 2
