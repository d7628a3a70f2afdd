"""Is the training stuck, and if so: at a critical point, on a plateau, or between walls?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final, Literal, final

from ...core.intervals import slope_interval
from .._measure import mean_interval
from .._result import Interval, ProbeResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]
Kind = Literal["falling", "rising", "bouncing", "settled", "plateau", "noise", "unclear"]

OVERSHOT: Final = -0.5
"""Cosine below which steps go past the bottom.

In a valley of curvature λ, noisy steps at rate r make it -rλ/2: below -1/2 the rate is above 1/λ.
"""

SMALL: Final = 1e-3
"""Share of the largest gradient that counts as none."""

SHRUNK: Final = math.log(0.5)
"""Logarithm of the growth of the gradient from which on it becomes small, and not by chance."""

SHARE: Final = 0.5
"""Of the steps, that are judged."""

MARGIN: Final = 0.02
"""A fall by less than this share of its scale is none."""

_BLOCKS: Final = 16
_FEWEST: Final = 5


@final
@dataclass(frozen=True, kw_only=True)
class Stall(ProbeResult):
    """What a watch says of the last part of a training.

    Args:
        value: Mean cosine of successive gradients in that part.
        interval: 95% interval of `value`, over the looks.
        control: Cosine where successive gradients are noise alone.
        found: Whether the loss is flat because steps bounce between walls, far from any critical
            point; None if the evidence does not say.
        conclusion: One sentence.
        kind: ``falling`` and ``rising`` are not stuck. ``bouncing``: gradients point against each
            other and do not shrink. ``settled``: they shrink to half at least, or are a thousandth
            of the largest. ``noise``: they hardly agree. ``plateau``: they agree, and steps are too
            small to lead anywhere. ``unclear`` otherwise.
        fall: By how much the loss falls in that part, by a straight line, over its scale.
        fall_interval: 95% interval of `fall`.
        growth: Gradient norm at the end of that part over that at its beginning, by a straight line
            through its logarithm; 1 without evidence.
        growth_interval: 95% interval of `growth`.
        losses: Steps and mean losses of pieces of that part.
        gradients: Steps and gradient norms of all looks.
    """

    kind: Kind
    fall: float
    fall_interval: Interval
    growth: float
    growth_interval: Interval
    losses: tuple[Point, ...]
    gradients: tuple[Point, ...]

    def _draw(self, axes: Axes) -> None:
        other = axes.twinx()
        if self.losses:
            axes.plot(*zip(*self.losses, strict=True), color="C0", marker=".")
            low, high = (pick(v for _, v in self.losses) for pick in (min, max))
            room = max(high - low, 0.1 * abs(high), 1e-12)
            axes.set_ylim(low - room, high + room)
        if self.gradients:
            other.plot(*zip(*self.gradients, strict=True), ".", color="C1")
            norms = [norm for _, norm in self.gradients]
            if min(norms) > 0:
                other.set_yscale("log")
                other.set_ylim(min(norms) / 3, max(norms) * 3)
        if self.losses:
            axes.set_xlim(self.losses[0][0], self.losses[-1][0])
        axes.set_xlabel("step")
        axes.set_ylabel("loss", color="C0")
        other.set_ylabel("gradient norm", color="C1")
        other.spines["top"].set_visible(False)


def stall_of(record: Mapping[str, Any], share: float = SHARE, margin: float = MARGIN) -> Stall:
    """Judge the last part of a record.

    Args:
        record: From `Watch.record`.
        share: Of the steps, that are the last part.
        margin: A fall by less than this, over the scale of the loss, is none.
    """
    curve = list(zip(record["loss"]["step"], record["loss"]["loss"], strict=True))
    begin = (1 - share) * record["steps"]
    part = [(float(step), loss) for step, loss in curve if step > begin]
    looks = record["looks"]
    norms = looks.get("gradient_norm_unclipped") or looks.get("gradient_norm") or ()
    gradients = [
        (float(step), norm)
        for step, norm in zip(looks["step"], norms, strict=False)
        if norm is not None and math.isfinite(norm)
    ]
    pairs = zip(looks["step"], looks.get("gradient_cosine") or (), strict=False)
    cosines = [v for step, v in pairs if step > begin and v is not None and math.isfinite(v)]
    value, interval = mean_interval(cosines) if cosines else (0.0, (-math.inf, math.inf))
    finite = all(math.isfinite(loss) for _, loss in curve)
    pieces = _pieces(part) if finite else []
    losses = [loss for _, loss in curve]
    scale = max(max(losses) - min(losses), abs(fmean(losses[-len(part) :]))) if pieces else 1.0
    fall, fall_interval = _change(pieces)
    fall, fall_interval = -fall / scale, (-fall_interval[1] / scale, -fall_interval[0] / scale)
    late = [(step, norm) for step, norm in gradients if step > begin]
    trend = [(step, math.log(norm)) for step, norm in late if norm > 0]
    growth, growth_interval = _change(trend)
    largest = max((norm for _, norm in gradients), default=0.0)
    small = len(late) >= _FEWEST and median(norm for _, norm in late) <= SMALL * largest
    kind = _kind(fall_interval, margin, interval, small=small, shrinks=growth_interval[1] < SHRUNK)
    numbers = (
        f"after step {int(begin)} the loss falls by {100 * fall:.2g} % of its scale, 95% interval"
        f" {100 * fall_interval[0]:.2g} to {100 * fall_interval[1]:.2g}; gradient norm times"
        f" {_exp(growth):.2g}; cosine of successive gradients {value:.2f}, interval"
        f" {interval[0]:.2f} to {interval[1]:.2f}, over {len(cosines)} looks; 0 for noise alone"
    )
    return Stall(
        value=value,
        interval=interval,
        control=0.0,
        found=None if kind == "unclear" else kind == "bouncing",
        conclusion=f"{_WORDS[kind]} ({numbers}).",
        kind=kind,
        fall=fall,
        fall_interval=fall_interval,
        growth=_exp(growth),
        growth_interval=(_exp(growth_interval[0]), _exp(growth_interval[1])),
        losses=tuple(pieces),
        gradients=tuple(gradients),
    )


def _pieces(points: Sequence[Point]) -> list[Point]:
    """Give the means of pieces, which depend on each other less than single losses do."""
    count = min(_BLOCKS, len(points))
    cuts = [len(points) * i // count for i in range(count + 1)] if count else []
    pieces = [points[a:b] for a, b in itertools.pairwise(cuts)]
    return [(fmean(s for s, _ in piece), fmean(v for _, v in piece)) for piece in pieces]


def _change(points: Sequence[Point]) -> tuple[float, Interval]:
    """Give the change from the first to the last point by a straight line, and its interval."""
    if len(points) < _FEWEST:
        return 0.0, (-math.inf, math.inf)
    slope, (low, high) = slope_interval([step for step, _ in points], [v for _, v in points])
    length = points[-1][0] - points[0][0]
    return slope * length, (low * length, high * length)


def _kind(fall: Interval, margin: float, cosine: Interval, *, small: bool, shrinks: bool) -> Kind:
    if fall[0] > margin:
        return "falling"
    if fall[1] < -margin:
        return "rising"
    if not -margin <= fall[0] <= fall[1] <= margin:
        return "unclear"
    if cosine[1] < OVERSHOT and not (small and shrinks):  # beyond the bottom, and yet towards it
        return "unclear" if shrinks else "bouncing"
    if small or shrinks:
        return "settled"
    if OVERSHOT < cosine[0] and cosine[1] < -OVERSHOT:
        return "noise"
    return "plateau" if cosine[0] > 0 else "unclear"


_WORDS: Final[Mapping[Kind, str]] = {
    "falling": "The loss falls: the training is not stuck",
    "rising": "The loss rises: the training is not stuck, it diverges",
    "bouncing": "The loss is flat and the gradient turns around without becoming smaller: steps"
    " bounce between walls, and this is no critical point",
    "settled": "The loss is flat and the gradient became small: a critical point is near",
    "plateau": "The loss is flat and gradients agree: a plateau, or steps too small to leave it",
    "noise": "The loss is flat and gradients of successive batches hardly agree: noise of batches",
    "unclear": "Insufficient evidence whether the training is stuck",
}


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
