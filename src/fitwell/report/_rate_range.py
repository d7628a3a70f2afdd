"""The figure of a learning-rate range test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._figures import SIZE, _mark
from ._numbers import short
from ._svg import INK, SERIES, Size, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..train import RateRange

_ABOVE: Final = 0.35
"""Room above the highest loss before the fall, in falls; what diverges leaves the figure there."""


def rate_range(
    found: RateRange,
    /,
    *,
    title: str,
    x_label: str = "learning rate",
    y_label: str = "loss",
    size: Size = SIZE,
) -> str:
    """Draw the losses of a range test over the rate: as they came, smoothed, and what was read off.

    The range in which the loss falls is shaded, the suggestion is pointed out. A loss that grows
    without bound leaves the figure at its top, so that the fall can be seen.

    Args:
        found: What `train.lr_range_test` gave.
        title: What the figure shows, for those who cannot see it.
        x_label: Name of the horizontal axis, which is logarithmic.
        y_label: Name of the vertical axis.
        size: Width and height.
    """

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter("")
        axes.plot(found.rates, found.losses, color=SERIES[0], linewidth=1, alpha=0.35, label="loss")
        axes.plot(found.rates, found.smoothed, color=SERIES[0], linewidth=2, label="smoothed")
        axes.margins(x=0.03)
        suggestion, bounds = found.suggestion, found.range
        if suggestion is not None and bounds is not None:
            low, high = bounds
            axes.axvspan(low, high, color=SERIES[2], alpha=0.14, linewidth=0, label="falls")
            fall = found.smoothed[: found.rates.index(high) + 1]
            top, bottom = max(fall), min(*fall, *found.losses[: len(fall)])
            axes.set_ylim(bottom - 0.06 * (top - bottom), top + _ABOVE * (top - bottom))
            _mark(axes, suggestion, _height(found, suggestion), f"begin with {suggestion:.2g}")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=3, labelcolor=INK)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)

    return to_svg(draw, title, size, _words(found))


def _height(found: RateRange, rate: float) -> float:
    """Give the smoothed loss at a rate, on the line between two steps."""
    after = next(k for k, value in enumerate(found.rates) if value >= rate)
    before = max(after - 1, 0)
    width = found.rates[after] - found.rates[before]
    share = (rate - found.rates[before]) / width if width else 0.0
    return (1 - share) * found.smoothed[before] + share * found.smoothed[after]


def _words(found: RateRange) -> str:
    ends = f"{len(found.rates)} rates from {short(found.rates[0])} to {short(found.rates[-1])}"
    if found.range is None or found.suggestion is None:
        return f"{ends}; the loss never falls"
    low, high = found.range
    return (
        f"{ends}; the loss falls between {low:.2g} and {high:.2g};"
        f" begin with {found.suggestion:.2g}"
    )
