"""What a schedule is, the rule for lengths, and the checks that all schedules share."""

from __future__ import annotations

import math
from typing import Protocol

from ...core.errors import UsageError

_HAIR = 1e-9  # 0.07 · 100 is 7.000000000000001, which must not become 8 steps


class Schedule(Protocol):
    """What a schedule is: the factor on the base rate, by step."""

    def __call__(self, step: int, total: int) -> float:
        """Give the factor for a step.

        Args:
            step: Steps taken so far.
            total: Steps of the whole run.
        """
        ...


def steps_of(length: int | float, total: int) -> int:
    """Give a length in steps: a whole number is one, a fraction is a share of the run.

    Args:
        length: Steps, or share.
        total: Steps of the run.
    """
    return length if isinstance(length, int) else math.ceil(length * total - _HAIR)


def check_length(owner: str, name: str, value: object, *, least: int = 1) -> None:
    """Refuse what is neither a number of steps nor a share of the run.

    Args:
        owner: The schedule.
        name: The argument.
        value: What it got.
        least: Fewest steps that make sense; a share may be 0 if they are 0.

    Raises:
        UsageError: It is neither.
    """
    steps = isinstance(value, int) and not isinstance(value, bool) and value >= least
    share = isinstance(value, float) and (0 < value <= 1 or (least == 0 and value == 0))
    if not steps and not share:
        low = "from 0" if least == 0 else "above 0 and up"
        raise UsageError(
            f"{owner}: `{name}` must be a whole number of steps, at least {least}, or a share of"
            f" the run {low} to 1.0; got {value}. Write 500 for steps, 0.05 for a share."
        )


def check_number(
    owner: str,
    name: str,
    value: object,
    *,
    least: float = 0.0,
    most: float = math.inf,
    above: bool = False,
    below: bool = False,
) -> None:
    """Refuse what is no finite number within bounds.

    Args:
        owner: The schedule.
        name: The argument.
        value: What it got.
        least: Lower bound.
        most: Upper bound.
        above: Whether the lower bound itself is refused.
        below: Whether the upper bound itself is refused.

    Raises:
        UsageError: It is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        high_enough = value > least if above else value >= least
        low_enough = value < most if below else value <= most
        if high_enough and low_enough and math.isfinite(value):
            return
    bounds = f"{'above' if above else 'at least'} {least:g}"
    if most < math.inf:
        bounds += f" and {'below' if below else 'at most'} {most:g}"
    raise UsageError(f"{owner}: `{name}` must be a number {bounds}; got {value}.")


def check_count(owner: str, name: str, value: object, *, least: int = 0) -> None:
    """Refuse what is no whole number.

    Args:
        owner: The schedule.
        name: The argument.
        value: What it got.
        least: Lower bound.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(
            f"{owner}: `{name}` must be a whole number of at least {least}; got {value}."
        )


def check_choice(owner: str, name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse what is none of a few values.

    Args:
        owner: The schedule.
        name: The argument.
        value: What it got.
        choices: The values.

    Raises:
        UsageError: It is none of them.
    """
    if value not in choices:
        known = ", ".join(map(repr, choices[:-1]))
        raise UsageError(f"{owner}: `{name}` must be {known} or {choices[-1]!r}; got {value!r}.")


def check_schedule(owner: str, name: str, value: object) -> None:
    """Refuse what is no schedule.

    Args:
        owner: The schedule around it.
        name: The argument.
        value: What it got.

    Raises:
        UsageError: It cannot be called, or is the class of a schedule.
    """
    if not callable(value) or isinstance(value, type):
        raise UsageError(f"{owner}: `{name}` must be a schedule such as Cosine(); got {value!r}.")
