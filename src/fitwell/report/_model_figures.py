"""The figures of the family that judge a model: confusion, reliability, normal quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from ..core.intervals import wilson_interval
from ._numbers import percent, short
from ._significance import normal_quantiles
from ._svg import MUTED, SERIES, Size, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RGB: Final = ((0.16, 0.5, 0.84), (0.87, 0.42, 0.12))
"""Of a heat map and of what lies off its diagonal; both can be seen on white and on black."""
_MAX_POINTS: Final = 400
_TALL: Final[Size] = (360, 330)


@final
@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Answers of about one confidence.

    Args:
        low: Lower bound of the confidence.
        high: Upper bound.
        count: Number of answers; a bin without any is not drawn.
        correct: How many of them are right.
        confidence: Their mean confidence.
    """

    low: float
    high: float
    count: int
    correct: int
    confidence: float

    @property
    def accuracy(self) -> float:
        """The share of them that is right."""
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval."""
        return wilson_interval(self.correct, self.count)


def heatmap(
    values: Sequence[Sequence[float]],
    /,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    diagonal: bool = False,
    size: Size = _TALL,
) -> str:
    """Draw a matrix too large for a table, such as the confusion of a hundred classes.

    Args:
        values: Rows of numbers between 0 and 1; others are clipped.
        title: What the figure shows, for those who cannot see it.
        x_label: Meaning of the columns.
        y_label: Meaning of the rows.
        diagonal: Give the cells off the diagonal a colour of their own.
        size: Width and height.
    """

    def draw(axes: Axes) -> None:
        import numpy as np

        alpha = np.clip(np.asarray(values, dtype=float), 0, 1)
        image = np.zeros((*alpha.shape, 4))
        image[..., :3] = _RGB[0]
        if diagonal:
            rows, columns = np.indices(alpha.shape)
            image[rows != columns, :3] = _RGB[1]
        image[..., 3] = alpha
        axes.grid(visible=False)
        axes.imshow(image, interpolation="none", aspect="auto")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(True)
        axes.locator_params(integer=True, nbins=10)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)

    columns = len(values[0]) if values else 0
    return to_svg(draw, title, size, f"{len(values)} rows and {columns} columns")


def reliability(
    bins: Sequence[ReliabilityBin],
    /,
    *,
    title: str,
    x_label: str = "confidence",
    y_label: str = "share that is right",
    size: Size = _TALL,
) -> str:
    """Draw how often answers are right against how sure the model was, above their counts.

    A calibrated model's points lie on the diagonal; below it, it is too sure. The lines are 95%
    intervals: a bin with few answers says little.

    Args:
        bins: The answers by confidence.
        title: What the figure shows, for those who cannot see it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        size: Width and height.
    """
    found = [row for row in bins if row.count]

    def draw(axes: Axes) -> None:
        upper, lower = _stacked(axes)
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row in found:
            ends = [row.confidence] * 2
            upper.plot(ends, row.interval, color=SERIES[0], linewidth=1.5, alpha=0.6)
        upper.plot(
            [row.confidence for row in found], [row.accuracy for row in found],
            linestyle="none", marker="o", markersize=6, color=SERIES[0],
        )  # fmt: skip
        upper.set_ylim(-0.03, 1.03)
        upper.set_ylabel(y_label)
        lower.bar(
            [row.low for row in found], [row.count for row in found],
            [row.high - row.low for row in found],
            align="edge", color=SERIES[0], alpha=0.55, linewidth=0,
        )  # fmt: skip
        lower.set_xlim(-0.02, 1.02)
        lower.set_xlabel(x_label)
        lower.set_ylabel("count")
        lower.locator_params(axis="y", nbins=3, integer=True)
        for half in (upper, lower):
            half.xaxis.set_major_formatter(_percent)
        upper.yaxis.set_major_formatter(_percent)

    words = [f"{percent(row.confidence)} sure: {row.correct} of {row.count} right" for row in found]
    return to_svg(draw, title, size, "; ".join(words))


def quantiles(
    values: Sequence[float],
    /,
    *,
    title: str,
    x_label: str = "normal quantile",
    y_label: str = "",
    size: Size = _TALL,
) -> str:
    """Draw sorted values against those of a normal distribution, with the line of the quartiles.

    Points on the line are spread as a normal distribution is; ends that bend away from it are
    rarer or commoner large values than a squared error expects.

    Args:
        values: The values.
        title: What the figure shows, for those who cannot see it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        size: Width and height.
    """
    y = sorted(values)
    x = normal_quantiles(len(y))
    places = _spread(len(y))

    def draw(axes: Axes) -> None:
        if len(y) > 1:
            left, right = (len(y) - 1) // 4, -1 - (len(y) - 1) // 4
            slope = (y[right] - y[left]) / (x[right] - x[left]) if x[right] > x[left] else 0.0
            line = [y[left] + slope * (end - x[left]) for end in (x[0], x[-1])]
            axes.plot([x[0], x[-1]], line, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(
            [x[place] for place in places], [y[place] for place in places],
            linestyle="none", marker="o", markersize=4, markeredgewidth=0, color=SERIES[0],
            alpha=0.6,
        )  # fmt: skip
        axes.grid(visible=True, axis="both")
        axes.locator_params(nbins=6)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)

    marks = [(share, y[round(share * (len(y) - 1))]) for share in (0, 0.25, 0.5, 0.75, 1) if y]
    words = [f"{share:.0%}: {short(value)}" for share, value in marks]
    return to_svg(draw, title, size, "; ".join(words))


def _stacked(axes: Axes) -> tuple[Axes, Axes]:
    """Put two axes with one horizontal scale in the place of one."""
    figure: Any = axes.get_figure()
    axes.remove()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    return upper, lower


def _percent(value: float, _: float) -> str:
    return f"{100 * value:g}%"


def _spread(count: int) -> list[int]:
    """Choose places of a sorted list: both ends whole, the crowded middle thinned."""
    if count <= _MAX_POINTS:
        return list(range(count))
    end = _MAX_POINTS // 5
    inner = _MAX_POINTS - 2 * end
    middle = [end + round(i * (count - 2 * end - 1) / (inner - 1)) for i in range(inner)]
    return [*range(end), *middle, *range(count - end, count)]
