"""Optimizers as they come: wrapped, with a scaler, and with a rate under some name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def bare(optimizer: Any) -> Any:
    """Give the optimizer inside of a wrapper, whose step is the one that is taken.

    Args:
        optimizer: Of torch, or what stands for one.
    """
    inner = getattr(optimizer, "optimizer", None)
    wraps = hasattr(inner, "register_step_pre_hook") and hasattr(inner, "param_groups")
    return inner if wraps else optimizer


def scaler_of(optimizers: Sequence[Any]) -> Any:
    """Give the scaler of losses that a wrapper of optimizers brings along, or None.

    Args:
        optimizers: As they were given.
    """
    found = (getattr(optimizer, "scaler", None) for optimizer in optimizers)
    return next((one for one in found if callable(getattr(one, "scale", None))), None)


def rate_of(optimizers: Sequence[Any]) -> Tensor | float | None:
    """Give the learning rate of the first parameters.

    Args:
        optimizers: Bare ones.
    """
    for optimizer in optimizers:
        groups = getattr(optimizer, "param_groups", None)
        rate = groups[0].get("lr") if groups else getattr(optimizer, "learning_rate", None)
        if isinstance(rate, (int, float)):
            return float(rate)
        if isinstance(rate, Tensor):
            return rate.detach().clone()
        if rate is not None:
            return float(rate)
    return None
