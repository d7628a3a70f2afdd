"""The section on calibration: can the model's confidence be believed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ._model_figures import ReliabilityBin, reliability
from ._numbers import count, percent
from ._records import Records, mapping, number, sequence
from ._templates import figure

_SAME: Final = 5e-4  # a gap that would be written as 0.0 points
_NOT_SHOWN: Final = "The interval begins at 0, so this may be chance."


def reliability_card(records: Records) -> dict[str, Any] | None:
    """Show the reliability diagram and the expected calibration error; None if not recorded.

    Args:
        records: Records of the run.
    """
    found = mapping(records.evaluation.get("calibration"))
    bins = [row for row in map(_bin, sequence(found.get("bins"))) if row is not None]
    error = number(found.get("ece"))
    if not bins or error is None:
        return None
    ends = [number(end) for end in sequence(found.get("ece_interval"))]
    known = [end for end in ends if end is not None]
    low, high = known if len(known) == 2 else (None, None)
    return {
        "svg": figure(reliability(bins, title="Share of right answers by confidence")),
        "error": percent(error),
        "interval": "" if low is None or high is None else f"{percent(low)} to {percent(high)}",
        "verdict": _verdict(bins, low),
        "rows": [
            [
                f"{percent(row.low, 0)} to {percent(row.high, 0)}",
                count(row.count),
                percent(row.confidence),
                percent(row.accuracy),
                " to ".join(percent(end) for end in row.interval),
            ]
            for row in bins
        ],
    }


def _verdict(bins: Sequence[ReliabilityBin], low: float | None) -> str:
    total = sum(row.count for row in bins)
    gap = sum(row.count * row.confidence - row.correct for row in bins) / total
    points = percent(abs(gap)).removesuffix("%")
    means = (
        "On average confidence and accuracy are the same."
        if abs(gap) < _SAME
        else f"On average it is {points} points too {'sure' if gap > 0 else 'unsure'}."
    )
    return f"{means} {_NOT_SHOWN}" if low == 0 else means


def _bin(value: Any) -> ReliabilityBin | None:
    found = mapping(value)
    names = ("low", "high", "count", "correct", "confidence")
    known = {name: number(found.get(name)) for name in names}
    low, high, size, correct, confidence = (known[name] for name in names)
    if low is None or high is None or size is None or correct is None or confidence is None:
        return None
    if not (0 <= low < high <= 1 and 0 <= correct <= size >= 1 and 0 <= confidence <= 1.001):
        return None
    return ReliabilityBin(
        low=low, high=high, count=int(size), correct=int(correct), confidence=min(1.0, confidence)
    )
