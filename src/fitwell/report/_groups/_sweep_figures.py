"""The figures of a sweep: a metric along one setting, all settings at once, and the rungs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final, final

from .._figures import SIZE, _clip
from .._numbers import short
from .._svg import INK, MUTED, PAPER, SERIES, Size, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GOLDEN: Final = 0.618034
_FAR: Final = 4.0
"""How many times further from the best than the median a value may lie and still be drawn."""


@final
@dataclass(frozen=True, kw_only=True)
class SettingAxis:
    """One setting of a sweep as an axis.

    Args:
        name: Of the setting.
        labels: Its values by name; empty for numbers.
        log: Whether equal ratios lie at equal distances.
        ends: Lowest and highest number.
    """

    name: str
    labels: tuple[str, ...] = ()
    log: bool = False
    ends: tuple[float, float] = (0.0, 1.0)

    def place(self, value: Any) -> float:
        """Give where a value lies, from 0 to 1.

        Args:
            value: A number, or one of the labels.
        """
        if self.labels:
            return (self.labels.index(str(value)) + 0.5) / len(self.labels)
        low, high = self.ends
        if self.log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low) if high > low else 0.5


def along_setting(
    axis: SettingAxis,
    values: Sequence[Any],
    scores: Sequence[float],
    /,
    *,
    title: str,
    y_label: str = "",
    best: int | None = None,
    ended: Sequence[bool] = (),
    effect: tuple[Sequence[Any], Sequence[float]] | None = None,
    lower: bool = False,
    percent: bool = False,
    size: Size = SIZE,
) -> str:
    """Draw a metric over one setting, a point for each member.

    Args:
        axis: The setting.
        values: Of the members.
        scores: Of the members.
        title: What the figure shows, for those who cannot see it.
        y_label: Name of the metric.
        best: Number of the best member, which is pointed out.
        ended: Which members ended early; they are drawn hollow.
        effect: Values of the setting, and the mean of the metric there by a model of it.
        lower: Whether less is better; what is far worse is drawn at the edge.
        percent: Scores are shares; write them as percent.
        size: Width and height.
    """
    places = [
        axis.place(value) + (_jitter(number) / len(axis.labels) if axis.labels else 0.0)
        for number, value in enumerate(values)
    ]
    low, high = _window(scores, lower)
    hollow = [*ended, *[False] * (len(scores) - len(ended))]

    def draw(axes: Axes) -> None:
        shown = [min(max(score, low), high) for score in scores]
        for is_hollow in (True, False):
            chosen = [k for k in range(len(scores)) if hollow[k] == is_hollow]
            axes.plot(
                [places[k] for k in chosen], [shown[k] for k in chosen], linestyle="none",
                marker="o", markersize=5, color=SERIES[0],
                alpha=0.9 if is_hollow else 0.55, markeredgewidth=1 if is_hollow else 0,
                markerfacecolor="none" if is_hollow else SERIES[0],
            )  # fmt: skip
        if effect is not None:
            at = [axis.place(value) for value in effect[0]]
            if axis.labels:
                half = 0.32 / len(axis.labels)
                for x, mean in zip(at, effect[1], strict=True):
                    axes.plot([x - half, x + half], [mean, mean], color=SERIES[1], linewidth=2)
            else:
                axes.plot(at, effect[1], color=SERIES[1], linewidth=2)
        if best is not None:
            axes.plot(
                [places[best]], [shown[best]], marker="o", markersize=9, markeredgewidth=2,
                markerfacecolor=PAPER, markeredgecolor=INK, linestyle="none",
            )  # fmt: skip
        _setting_ticks(axes, axis)
        scale, unit = (100, "%") if percent else (1, "")
        axes.yaxis.set_major_formatter(lambda value, _: f"{scale * value:g}{unit}")
        axes.locator_params(axis="y", nbins=6)
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylabel(y_label)

    return to_svg(draw, title, size, _words(axis, values, scores, best))


def _setting_ticks(axes: Axes, axis: SettingAxis) -> None:
    if axis.labels:
        at = [axis.place(name) for name in axis.labels]
        axes.set_xticks(at, [_clip(name, max(6, 44 // len(at))) for name in axis.labels])
        return
    ticks = _ticks(axis)
    axes.set_xticks([axis.place(tick) for tick in ticks], [f"{tick:g}" for tick in ticks])


def _ticks(axis: SettingAxis) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    low, high = axis.ends
    if not axis.log:
        steps = MaxNLocator(nbins=5, integer=float(low).is_integer() and float(high).is_integer())
        return [float(tick) for tick in steps.tick_values(low, high) if low <= tick <= high]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    few = last - first <= 2
    found = [
        digit * 10.0**power
        for power in range(first, last + 1)
        for digit in ((1, 2, 5) if few else (1,))
    ]
    near = 1e-9  # ends that are powers of ten are not lost to rounding
    return [tick for tick in found if low * (1 - near) <= tick <= high * (1 + near)]


def _jitter(number: int) -> float:
    """Spread points of one name, the same way each time."""
    return 0.5 * ((number * _GOLDEN) % 1 - 0.5)


def _window(scores: Sequence[float], lower: bool) -> tuple[float, float]:
    """Give the range of heights that is drawn; what is far worse than most lies at its edge."""
    low, high = min(scores), max(scores)
    middle = median(scores)
    if lower:
        return low, min(high, low + _FAR * (middle - low)) if middle > low else high
    return max(low, high - _FAR * (high - middle)) if middle < high else low, high


def _words(
    axis: SettingAxis, values: Sequence[Any], scores: Sequence[float], best: int | None
) -> str:
    text = f"{len(scores)} members, from {short(min(scores))} to {short(max(scores))}"
    if best is None:
        return text
    value = values[best]
    named = short(value) if isinstance(value, (int, float)) else value
    return f"{text}; the best, {short(scores[best])}, at {axis.name} {named}"


def all_settings(
    axes_of: Sequence[SettingAxis],
    rows: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    /,
    *,
    title: str,
    metric: str,
    best: int,
    lower: bool = False,
    percent: bool = False,
    size: Size = (760, 270),
) -> str:
    """Draw each member as a line through all its settings to its metric.

    Args:
        axes_of: The settings, from left to right.
        rows: Value by setting, for each member; a setting it does not have is passed by.
        scores: Of the members.
        title: What the figure shows, for those who cannot see it.
        metric: Name of the metric.
        best: Number of the best member.
        lower: Whether less is better.
        percent: Scores are shares; write them as percent.
        size: Width and height.
    """
    low, high = _window(scores, lower)
    span = (high - low) or 1.0
    order = sorted(range(len(scores)), key=lambda k: scores[k] if not lower else -scores[k])
    quarter = set(order[-max(1, len(order) // 4) :])

    def line(member: int) -> tuple[list[float], list[float]]:
        known = [(k, axis) for k, axis in enumerate(axes_of) if axis.name in rows[member]]
        x = [float(k) for k, _ in known]
        y = [
            axis.place(rows[member][axis.name])
            + (0.4 * _jitter(member) / len(axis.labels) if axis.labels else 0.0)
            for _, axis in known
        ]
        return [*x, float(len(axes_of))], [*y, (min(max(scores[member], low), high) - low) / span]

    def draw(axes: Axes) -> None:
        for member in [*(k for k in order if k != best), best]:
            x, y = line(member)
            looks: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "alpha": 0.3}
            if member in quarter:
                looks = {"color": SERIES[0], "linewidth": 1.2, "alpha": 0.6}
            if member == best:
                looks = {"color": SERIES[1], "linewidth": 2.6}
            axes.plot(x, y, **looks)
        scale, unit = (100, "%") if percent else (1, "")
        heads = [axis.name for axis in axes_of] + [metric]
        for place in range(len(heads)):
            axes.axvline(place, color=MUTED, linewidth=0.8, zorder=0)
            if place < len(axes_of):
                axis = axes_of[place]
                marks = [(axis.place(name), name) for name in axis.labels]
                if not marks:
                    marks = [(axis.place(tick), f"{tick:g}") for tick in _ticks(axis)]
            else:
                marks = [(h, f"{scale * (low + span * h):.3g}{unit}") for h in (0.0, 0.5, 1.0)]
            for height, text in marks:
                axes.annotate(
                    _clip(str(text), 16), (place, height), xytext=(4, 0),
                    textcoords="offset points", verticalalignment="center", fontsize=9,
                    color=MUTED,
                    bbox={"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none",
                          "alpha": 0.75},
                )  # fmt: skip
        axes.set_xticks(range(len(heads)), [_clip(name, 20) for name in heads])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_xlim(-0.1, len(axes_of) + 0.25)
        axes.set_ylim(-0.06, 1.06)

    chosen = ", ".join(f"{name} {value}" for name, value in rows[best].items())
    return to_svg(draw, title, size, f"{len(scores)} members; the best has {chosen}")


def rung_scores(
    rungs: Sequence[Mapping[str, Any]],
    /,
    *,
    title: str,
    y_label: str = "",
    lower: bool = False,
    percent: bool = False,
    size: Size = SIZE,
) -> str:
    """Draw what was compared at each rung: trials that went on, and those that ended.

    Args:
        rungs: ``epochs``, ``scores`` by trial, ``kept`` and ``judged`` of each.
        title: What the figure shows, for those who cannot see it.
        y_label: Name of the metric.
        lower: Whether less is better.
        percent: Scores are shares; write them as percent.
        size: Width and height.
    """
    epochs = sorted({rung["epochs"] for rung in rungs})
    known = [score for rung in rungs for score in rung["scores"].values() if score is not None]
    low, high = _window(known, lower)

    def draw(axes: Axes) -> None:
        for went_on, colour in ((False, MUTED), (True, SERIES[0])):
            points = [
                (epochs.index(rung["epochs"]) + 0.5 * _jitter(trial), score)
                for rung in rungs
                for trial in rung["judged"]
                if (trial in rung["kept"]) == went_on
                and (score := rung["scores"].get(str(trial))) is not None
            ]
            axes.plot(
                [x for x, _ in points], [min(max(y, low), high) for _, y in points],
                linestyle="none", marker="o", markersize=5, color=colour,
                alpha=0.8 if went_on else 0.5, markeredgewidth=0,
                label="went on" if went_on else "ended",
            )  # fmt: skip
        scale, unit = (100, "%") if percent else (1, "")
        axes.yaxis.set_major_formatter(lambda value, _: f"{scale * value:g}{unit}")
        axes.set_xticks(range(len(epochs)), [f"{epoch}" for epoch in epochs])
        axes.set_xlim(-0.5, len(epochs) - 0.5)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2, labelcolor=INK)
        axes.set_xlabel("after epochs")
        axes.set_ylabel(y_label)

    words = [
        f"after {rung['epochs']}: {len(rung['kept'])} of {len(rung['judged'])} went on"
        for rung in rungs
    ]
    return to_svg(draw, title, size, "; ".join(words))
