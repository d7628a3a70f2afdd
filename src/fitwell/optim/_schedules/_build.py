"""Schedules from their printed form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ...core.errors import UsageError
from ...core.spec import Spec, build, lookup, parse
from ._base import Schedule
from ._cycles import OneCycle, Restarts, Triangular
from ._falling import Constant, Cosine, Exponential, Linear, Polynomial, Step
from ._plateau import Plateau
from ._warm import Noam, WarmUp

SCHEDULES: Mapping[str, Callable[..., Any]] = {
    "Constant": Constant,
    "Cosine": Cosine,
    "Exponential": Exponential,
    "Linear": Linear,
    "Noam": Noam,
    "OneCycle": OneCycle,
    "Plateau": Plateau,
    "Polynomial": Polynomial,
    "Restarts": Restarts,
    "Step": Step,
    "Triangular": Triangular,
    "WarmUp": WarmUp,
}


def schedule(text: str | Spec) -> Schedule:
    """Build a schedule from its printed form, such as ``"WarmUp(steps=500, then=Cosine())"``.

    Lengths are steps if they are whole numbers, as 500, and shares of the run otherwise, as 0.05.

    Args:
        text: The printed form.

    Raises:
        UnknownName: No schedule or argument of that name.
        UsageError: The text is no spec, or a value does not fit.
    """
    spec = parse(text)
    name, kind = lookup(spec.name, SCHEDULES, owner="schedule", what="schedule")
    taken = inspect.signature(kind).parameters
    if spec.args:
        raise UsageError(
            f"schedule: the arguments of {name} must have names; got {spec}."
            f" It has: {', '.join(taken) or 'none'}."
        )
    inner = {}
    for key, value in spec.kwargs.items():
        if isinstance(value, Spec) and key == "then":
            value = schedule(value)
        elif isinstance(value, Spec) and key in taken:
            raise UsageError(
                f"schedule: `{key}` of {name} must be a number or a word in quotes; got {value}."
            )
        inner[key] = value
    built: Schedule = build(Spec(name, (), inner), SCHEDULES, owner="schedule", what="schedule")
    return built
