"""One small family of figures, each a function that returns an SVG string.

The text stays text, the colours are CSS variables with fallbacks (so a figure follows the light
or dark page it stands in, and is still right as a file of its own), and the same values give the
same bytes. Sizes are CSS pixels at which the text is as large as the text of a page; let figures
wrap into columns instead of scaling one down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, Literal, final

from ._numbers import short
from ._svg import INK, MUTED, PAPER, SERIES, Size, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_POINTS: Final = 500
_MAX_WORDS: Final = 40
"""Bars that are read out to those who cannot see them."""

SIZE: Final[Size] = (360, 230)
"""Width and height of a figure unless it is told otherwise."""


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of `curves`.

    Args:
        label: Name in the legend; empty keeps it out.
        x: Positions, ascending.
        y: Heights; None or a number that is not finite leaves a gap.
        style: Full, dashed, or thin and pale for what is only background.
        series: Index of the colour; wraps around the palette.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: Literal["solid", "dashed", "faint"] = "solid"
    series: int = 0


def curves(
    lines: Sequence[Line],
    /,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
    percent: bool = False,
    mark: tuple[float, float, str] | None = None,
    legend: bool = True,
    size: Size = SIZE,
) -> str:
    """Draw lines over a common axis, such as losses over epochs.

    Long lines are thinned to the mean of equal stretches, so the figure stays small.

    Args:
        lines: The lines; later ones are drawn on top.
        title: What the figure shows, for those who cannot see it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        log_y: Use a logarithmic height; ignored unless every height is positive.
        percent: Heights are shares; write them as percent.
        mark: Position, height and words of one point to point out.
        legend: Name the lines above the figure.
        size: Width and height.
    """

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator

        heights = [y for line in lines for y in _thin(line)[1] if math.isfinite(y)]
        for line in lines:
            x, y = _thin(line)
            _plot(axes, line, x, y)
        if log_y and heights and min(heights) > 0:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter("")
            if max(heights) < 300 * min(heights):
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        scale, unit = (100, "%") if percent else (1, "")
        axes.yaxis.set_major_formatter(lambda value, _: f"{scale * value:g}{unit}")
        axes.margins(x=0.03)
        if mark is not None:
            _mark(axes, *mark)
        if legend and any(line.label for line in lines):
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=4, labelcolor=INK)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)

    return to_svg(draw, title, size, "; ".join(filter(None, map(_line_words, lines))))


def scatter(
    x: Sequence[float],
    y: Sequence[float],
    /,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    diagonal: bool = False,
    level: float | None = None,
    size: Size = (360, 330),
) -> str:
    """Draw points, such as predictions against true values.

    Args:
        x: Positions.
        y: Heights, as many.
        title: What the figure shows, for those who cannot see it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        diagonal: Draw the line of equal position and height, and give both axes one range.
        level: Draw a line across at this height, such as 0 under residuals.
        size: Width and height.
    """

    def draw(axes: Axes) -> None:
        if diagonal and x and y:
            low, high = min(*x, *y), max(*x, *y)
            axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        if level is not None:
            axes.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(
            x, y, linestyle="none", marker="o", markersize=4, markeredgewidth=0,
            color=SERIES[0], alpha=0.45,
        )  # fmt: skip
        axes.grid(visible=True, axis="both")
        axes.locator_params(nbins=6)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)

    ends = f"{x_label or 'x'} {_range(x)}; {y_label or 'y'} {_range(y)}"
    return to_svg(draw, title, size, f"{len(x)} points; {ends}" if x and y else "")


def histogram(
    values: Sequence[float],
    /,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "count",
    bins: int = 30,
    size: Size = SIZE,
) -> str:
    """Draw how often values fall into equal intervals, with a line at zero if it lies inside.

    Args:
        values: The values.
        title: What the figure shows, for those who cannot see it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        bins: Number of intervals.
        size: Width and height.
    """

    def draw(axes: Axes) -> None:
        axes.hist(values, bins=bins, color=SERIES[0], alpha=0.8, edgecolor=PAPER, linewidth=1)
        if values and min(values) < 0 < max(values):
            axes.axvline(0, color=INK, linewidth=1)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.locator_params(axis="x", nbins=6)
        axes.locator_params(axis="y", integer=True)

    words = (
        f"{len(values)} values {_range(values)}, median {short(median(values))}" if values else ""
    )
    return to_svg(draw, title, size, words)


def bars(
    names: Sequence[str],
    values: Sequence[float],
    /,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    intervals: Sequence[tuple[float, float]] | None = None,
    size: Size | None = None,
) -> str:
    """Draw one horizontal bar per name, from the top down.

    Args:
        names: Name of each bar.
        values: Length of each bar, as many.
        title: What the figure shows, for those who cannot see it.
        x_label: Meaning of the lengths.
        y_label: Meaning of the names.
        intervals: Low and high end of each bar's error line.
        size: Width and height; grows with the number of bars when left out.
    """
    rows = range(len(names))

    def draw(axes: Axes) -> None:
        errors = None
        if intervals is not None:
            errors = [
                [max(0.0, value - low) for value, (low, _) in zip(values, intervals, strict=True)],
                [
                    max(0.0, high - value)
                    for value, (_, high) in zip(values, intervals, strict=True)
                ],
            ]
        axes.barh(
            rows, values, height=0.66, color=SERIES[0], alpha=0.8, xerr=errors,
            error_kw={"ecolor": INK, "elinewidth": 1.2},
        )  # fmt: skip
        axes.set_yticks(rows, [_clip(name) for name in names])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)

    words = [f"{name}: {short(value)}" for name, value in zip(names, values, strict=True)]
    shape = size or (SIZE[0], 56 + 19 * max(1, len(names)))
    return to_svg(draw, title, shape, "; ".join(words[:_MAX_WORDS]))


def _plot(axes: Axes, line: Line, x: list[float], y: list[float]) -> None:
    faint = line.style == "faint"
    axes.plot(
        x,
        y,
        label=line.label or "_",
        color=SERIES[line.series % len(SERIES)],
        linewidth=1 if faint else 2,
        alpha=0.35 if faint else 1,
        linestyle=(0, (3, 2)) if line.style == "dashed" else "-",
        marker="o" if not faint and len(x) <= 12 else "",
        markersize=4,
    )


def _mark(axes: Axes, x: float, y: float, words: str) -> None:
    axes.axvline(x, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    axes.plot(
        [x], [y], marker="o", markersize=8, markeredgewidth=2,
        markerfacecolor=PAPER, markeredgecolor=INK, linestyle="none",
    )  # fmt: skip
    across, up = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
    right, top = across > 0.5, up < 0.6
    axes.annotate(
        words,
        (x, 1 if top else 0),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if right else 6, -2 if top else 6),
        textcoords="offset points",
        horizontalalignment="right" if right else "left",
        verticalalignment="top" if top else "bottom",
        color=INK,
    )


def _thin(line: Line) -> tuple[list[float], list[float]]:
    """Give at most `_MAX_POINTS` points, each the mean of a stretch; gaps become NaN."""
    x = [float(value) for value in line.x]
    y = [math.nan if value is None else float(value) for value in line.y]
    y = [value if math.isfinite(value) else math.nan for value in y]
    if len(x) <= _MAX_POINTS:
        return x, y
    stretch = math.ceil(len(x) / _MAX_POINTS)
    starts = range(0, len(x), stretch)
    return [_mean(x[i : i + stretch]) for i in starts], [_mean(y[i : i + stretch]) for i in starts]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _line_words(line: Line) -> str:
    """Say where a line begins, ends and turns, for those who cannot see it."""
    pairs = zip(line.x, line.y, strict=False)
    found = [(y, x) for x, y in pairs if y is not None and math.isfinite(y)]
    if not found or line.style == "faint":
        return ""
    name = f"{line.label}: " if line.label else ""
    places = (("first", found[0]), ("lowest", min(found)), ("highest", max(found)))
    parts = [f"{word} {short(y)} at {x:g}" for word, (y, x) in (*places, ("last", found[-1]))]
    return name + ", ".join(parts)


def _range(values: Sequence[float]) -> str:
    return f"from {short(min(values))} to {short(max(values))}" if values else ""


def _clip(name: str, length: int = 24) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
