"""Checks of the settings that most optimizers have."""

from __future__ import annotations

import math
from typing import Any

from ..core.errors import UsageError


def check_settings(owner: str, settings: dict[str, Any]) -> None:
    """Refuse settings out of range: rates and the like below 0, shares outside [0, 1).

    Args:
        owner: Name of the optimizer.
        settings: Its settings by name; those of other kinds than numbers are left alone.

    Raises:
        UsageError: A value is out of range.
    """
    for name, value in settings.items():
        shares = value if name == "betas" else (value,) if name == "momentum" else ()
        if name == "betas" and (not isinstance(value, tuple | list) or len(value) != 2):
            raise UsageError(f"{owner}: `betas` must be two numbers; got {value!r}.")
        for share in shares:
            if not 0 <= share < 1:
                raise UsageError(f"{owner}: `{name}` must lie in [0, 1); got {value!r}.")
        if isinstance(value, int | float) and not (value >= 0 and math.isfinite(value)):
            raise UsageError(f"{owner}: `{name}` must be at least 0 and finite; got {value!r}.")
