"""Scores of several trainings as one: mean, spread and the interval of the mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final

from ...core.intervals import corrected_t_interval
from ...core.runs import LOWER_IS_BETTER

_SHARES: Final = frozenset({"accuracy", "error", "balanced_accuracy", "macro_f1"})


@final
@dataclass(frozen=True, kw_only=True)
class Spread:
    """One metric of several trainings.

    Args:
        values: Its value in each; NaN where it is not defined, as r2 of a single row.
        mean: Mean of the values that are defined; NaN if none is.
        std: Their standard deviation, with n - 1 in the denominator; None of a single one.
        interval: 95% interval of the mean, corrected for the rows that trainings share (Nadeau and
            Bengio 2003); None of a single one.
    """

    values: tuple[float, ...]
    mean: float
    std: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, metric: str, values: Sequence[float], held_out_ratio: float) -> Spread:
        """Sum up the values of a metric.

        Args:
            metric: Its name, which says where values can lie.
            values: Its values; NaN where it is not defined.
            held_out_ratio: Rows held out over rows trained on.
        """
        known = [value for value in values if not math.isnan(value)]
        mean = math.fsum(known) / len(known) if known else math.nan
        if len(known) < 2:
            return cls(values=tuple(values), mean=mean, std=None, interval=None)
        variance = math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1)
        low, high = corrected_t_interval(known, held_out_ratio)
        if metric in _SHARES or metric in LOWER_IS_BETTER:
            low = max(low, 0.0)
        if metric in _SHARES:
            high = min(high, 1.0)
        return cls(values=tuple(values), mean=mean, std=math.sqrt(variance), interval=(low, high))

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        if self.std is None or self.interval is None:
            return f"{self.mean:.4g}"
        low, high = self.interval
        return f"{self.mean:.4g} ± {self.std:.2g} (95% interval {low:.4g} to {high:.4g})"


def spreads(
    scores: Sequence[Mapping[str, float | None]], held_out_ratio: float
) -> dict[str, Spread]:
    """Sum up all metrics that every training has; one that is infinite is left out.

    Args:
        scores: Metrics of each training.
        held_out_ratio: Rows held out over rows trained on.
    """
    found = {}
    for metric in scores[0]:
        values = [score.get(metric) for score in scores]
        known = [value for value in values if value is not None and not math.isinf(value)]
        if len(known) == len(values):
            found[metric] = Spread.of(metric, known, held_out_ratio)
    return found
