"""The section on calibration: can the model's confidence be believed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ._model_figures import ReliabilityBin, reliability
from ._numbers import count, percent
from ._records import Records, mapping, number, sequence
from ._templates import figure

_SAME: Final = 5e-4  # a gap that would be written as 0.0 points
_NOT_SHOWN: Final = "The interval begins at 0, so this may be chance."
_NOT_FRESH: Final = (
    "The validation part set them and may also have chosen the epoch that was kept, so the promise"
    " is checked here on examples that chose nothing."
)


def reliability_card(records: Records) -> dict[str, Any] | None:
    """Show the reliability diagram and the expected calibration error; None if not recorded.

    Args:
        records: Records of the run.
    """
    found = mapping(records.evaluation.get("calibration"))
    drawn = _drawn(found, "Share of right answers by confidence")
    if drawn is None:
        return None
    return {**drawn, "scaled": _scaled(found), "sets": _sets(mapping(found.get("conformal")))}


def _drawn(found: Mapping[str, Any], title: str) -> dict[str, Any] | None:
    """Give one diagram and what it says; None if it is not recorded."""
    bins = [row for row in map(_bin, sequence(found.get("bins"))) if row is not None]
    error = number(found.get("ece"))
    if not bins or error is None:
        return None
    ends = [number(end) for end in sequence(found.get("ece_interval"))]
    known = [end for end in ends if end is not None]
    low, high = known if len(known) == 2 else (None, None)
    return {
        "svg": figure(reliability(bins, title=title)),
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


def _scaled(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the diagram after temperature scaling; None if it is not recorded."""
    row = mapping(found.get("temperature"))
    names = ("value", "loss_before", "loss_after", "fitted_on")
    value, before, after, size = (number(row.get(name)) for name in names)
    drawn = _drawn(mapping(found.get("scaled")), "Share of right answers by scaled confidence")
    if drawn is None or value is None or before is None or after is None or size is None:
        return None
    return {
        **drawn,
        "temperature": format(value, ".3g"),
        "losses": f"{before:.3g} to {after:.3g}",
        "examples": count(int(size)),
    }


def _sets(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Say what sets of classes promise and hold; None if they are not recorded."""
    names = ("alpha", "coverage", "mean_size", "empty", "several", "fitted_on")
    alpha, coverage, size, empty, several, examples = (number(row.get(name)) for name in names)
    ends = [number(end) for end in sequence(row.get("coverage_interval"))]
    known = [end for end in ends if end is not None]
    if alpha is None or coverage is None or size is None or examples is None:
        return None
    if empty is None or several is None or len(known) != 2:
        return None
    words = [
        f"Sets of classes (fitwell predict --sets {alpha:g}) are asked to hold the right class"
        f" {percent(1 - alpha, 0)} of the time. In the test part {percent(coverage)} do (95%"
        f" interval {percent(known[0])} to {percent(known[1])}), with {size:.2f} classes on"
        f" average; {percent(empty)} hold none and {percent(several)} several, where the model"
        " does not know."
    ]
    if number(row.get("threshold")) is None:
        words.append(f"{count(int(examples))} validation examples are too few for any set but all.")
    sure = number(row.get("sure_accuracy"))
    if sure is not None:
        words.append(f"Of the sets of one class, {percent(sure)} are right.")
    if empty > several:
        words.append("The model is right more often than was asked: ask for a smaller share.")
    return {"words": " ".join(words), "abstained": percent(empty + several), "note": _NOT_FRESH}


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
