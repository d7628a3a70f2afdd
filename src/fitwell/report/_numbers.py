"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

_SHARES: Final = frozenset(
    {"accuracy", "balanced_accuracy", "error", "precision", "recall", "f1", "macro_f1"}
)
_METRIC_NAMES: Final = {
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "f1": "F1",
    "macro_f1": "macro F1",
    "ece": "ECE",
}


def metric_text(name: str, value: float | None) -> str:
    """Write a metric: shares between 0 and 1 as percent, others with four significant digits.

    Args:
        name: Name of the metric.
        value: Its value; None gives a dash.
    """
    if value is None:
        return "–"
    return percent(value) if name in _SHARES and 0 <= value <= 1 else short(value)


def percent(share: float, digits: int = 1) -> str:
    """Write a share as percent; rounding never turns "not all" into 100% nor "some" into 0%.

    Args:
        share: Between 0 and 1.
        digits: Digits after the point.
    """
    step = 10.0**-digits
    value = round(100 * share, digits)
    if share < 1 and value >= 100:
        value = 100 - step
    if share > 0 and value <= 0:
        value = step
    return f"{value:.{digits}f}%"


def short(value: float) -> str:
    """Write a number with four significant digits, without a needless exponent.

    Args:
        value: Any finite number.
    """
    if value < 0:
        return f"−{short(-value)}"
    if value == 0:
        return "0"
    if float(value).is_integer() and value < 1e7:
        return count(int(value))
    if 1e-4 <= value < 1e7:
        digits = max(0, 3 - math.floor(math.log10(value)))
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3g}"


def count(value: int) -> str:
    """Write a whole number with a comma between thousands.

    Args:
        value: The number.
    """
    return f"{value:,}"


def p_text(value: float) -> str:
    """Write a p-value.

    Args:
        value: Between 0 and 1.
    """
    return (
        "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}" if value < 0.1 else f"p = {value:.2f}"
    )


def duration(seconds: float) -> str:
    """Write a duration in the two units that matter.

    Args:
        seconds: Not negative.
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def memory(size: float) -> str:
    """Write a number of bytes.

    Args:
        size: Not negative.
    """
    units = ("bytes", "kB", "MB", "GB", "TB")
    step = 0 if size < 1000 else min(4, int(math.log10(size)) // 3)
    return f"{size / 1000**step:.{3}g} {units[step]}" if step else f"{size:.0f} bytes"


def plain(value: Any) -> str:
    """Write a setting as a person would type it.

    Args:
        value: What a record holds.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value) or "none"
    return str(value)


def metric_label(name: str) -> str:
    """Write the name of a metric as people do: RMSE, R², F1, validation loss.

    Args:
        name: Its name in the records.
    """
    return _METRIC_NAMES.get(name) or label(name)


def label(name: str) -> str:
    """Write a key of a record as words.

    Args:
        name: Such as ``weight_decay``.
    """
    return "model" if name == "spec" else name.replace("_", " ")
