"""The watcher of a round: keeps the table of what was measured, and ends what falls short."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from .._several._together import Progress
from ._stops import Rung, Stop

FELL_SHORT: Final = "not among the best"
"""How the reason begins that a member was ended for by the sweep."""

Curve = Mapping[int, float | None]
"""The best value of a member up to each epoch."""


def curve_of(records: Sequence[Mapping[str, Any]], metric: str, mode: str) -> dict[int, float]:
    """Give the best value up to each epoch.

    Args:
        records: Epoch records of a run.
        metric: Which value.
        mode: Whether ``min`` or ``max`` is best.
    """
    best = math.inf if mode == "min" else -math.inf
    found: dict[int, float] = {}
    for record in records:
        value = (record.get("valid") or record.get("train") or {}).get(metric)
        if value is not None and math.isfinite(value):
            best = min(best, value) if mode == "min" else max(best, value)
        found[record["epoch"]] = best
    return {epoch: value for epoch, value in found.items() if math.isfinite(value)}


@final
class Watcher:
    """Judges the trials of a round after each epoch.

    Args:
        stop: The rule.
        trials: Trial of each member that trains now, in their order.
        others: Curves of the members that do not train now, by trial: of earlier rounds, and those
            of this round that ended in an earlier session.
        round_of: Trials of the round.
        metric: What is compared.
        mode: Whether ``min`` or ``max`` of it is best.
        last: After which epoch nothing is decided any more.
    """

    def __init__(
        self,
        stop: Stop,
        *,
        trials: Sequence[int],
        others: Mapping[int, Sequence[Curve]],
        round_of: Sequence[int],
        metric: str,
        mode: str,
        last: int,
    ) -> None:
        self._stop, self._trials, self._others = stop, tuple(trials), others
        self._round, self._metric, self._mode, self._last = round_of, metric, mode, last
        self._curves: list[dict[int, float | None]] = [{} for _ in trials]
        self._ended: set[int] = set()

    def __call__(self, progress: Progress) -> None:
        """Look at the newest records, and end the members of trials that fall short.

        Args:
            progress: Of the members.
        """
        active = set(progress.active)
        for member, curve in enumerate(self._curves):
            self._note(curve, progress, member)
            if member not in active and member not in self._ended:
                carry_on(curve, self._last)
        for rung in self.rungs():
            reason = (
                f"{FELL_SHORT} {len(rung.kept)} of {len(rung.scores)} trials after"
                f" {rung.epochs} epoch{'s' * (rung.epochs > 1)}"
            )
            for member, trial in enumerate(self._trials):
                if trial in rung.dropped and member in active - self._ended:
                    progress.stop(member, reason)
                    self._ended.add(member)

    def _note(self, curve: dict[int, float | None], progress: Progress, member: int) -> None:
        try:
            record = progress.last(member)
        except LookupError:  # it has not completed an epoch
            return
        epoch, before = record["epoch"], curve.get(max(curve, default=0))
        if epoch in curve:
            return
        if not math.isfinite((record.get("train") or {}).get("loss", 0.0)):
            curve[epoch] = None  # it ends here, and nothing of it is kept
            return
        value = curve_of([record], self._metric, self._mode).get(epoch)
        both = [one for one in (before, value) if one is not None]
        best = min if self._mode == "min" else max
        curve[epoch] = best(both) if both else None

    def rungs(self) -> list[Rung]:
        """Give what has been decided about the round so far."""
        table = {trial: mean_curve(curves) for trial, curves in self._others.items()}
        for trial in dict.fromkeys(self._trials):
            own = [c for t, c in zip(self._trials, self._curves, strict=True) if t == trial]
            table[trial] = mean_curve([*own, *self._others.get(trial, ())])
        return self._stop.judge(table, self._round, self._mode, self._last)


def carry_on(curve: dict[int, float | None], last: int) -> None:
    """Let the last value of what ended by itself stand for later epochs.

    Args:
        curve: Of a member; changed.
        last: Up to which epoch.
    """
    newest = max(curve, default=0)
    for epoch in range(newest + 1, last + 1):
        curve[epoch] = curve.get(newest)


def mean_curve(curves: Sequence[Curve]) -> dict[int, float | None]:
    """Give the mean of the members of a trial, at the epochs that all of them have completed.

    Args:
        curves: Of the members.
    """
    epochs = set.intersection(*(set(curve) for curve in curves)) if curves else set()
    found: dict[int, float | None] = {}
    for epoch in sorted(epochs):
        values = [curve[epoch] for curve in curves]
        known = [value for value in values if value is not None]
        found[epoch] = statistics.fmean(known) if len(known) == len(values) else None
    return found
