"""What every probe gives: a number, what it is compared to, how sure it is, and one sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..core.files import finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float]
Row = tuple[str, float, Interval | None]


@dataclass(frozen=True, kw_only=True)
class ProbeResult(ABC):
    """What a probe has found.

    Args:
        value: What was measured.
        interval: 95% interval of `value`.
        control: The same, measured where nothing is wrong; `value` is to be read against it.
        found: Whether the fault that the probe looks for is there; None if the evidence does not
            say.
        conclusion: One sentence.
    """

    value: float
    interval: Interval
    control: float
    found: bool | None
    conclusion: str

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, ready for JSON; what is not finite is None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain

    def figure(self) -> Figure:
        """Draw what was measured beside its control."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        self._draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        return figure

    @abstractmethod
    def _draw(self, axes: Axes) -> None: ...

    def __str__(self) -> str:
        return self.conclusion


def draw_rows(axes: Axes, rows: Sequence[Row], label: str) -> None:
    """Draw named numbers with their intervals, from top to bottom.

    Args:
        axes: Where.
        rows: Names, numbers and intervals.
        label: What the numbers are.
    """
    places = range(len(rows) - 1, -1, -1)
    for place, (_, value, interval) in zip(places, rows, strict=True):
        if interval is not None:
            axes.plot(interval, [place, place], color="tab:blue", linewidth=2)
        axes.plot([value], [place], "o", color="tab:blue" if interval else "tab:gray")
    axes.set_yticks(list(places), [name for name, _, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(label)


def percent(share: float) -> str:
    """Write a share as a percentage.

    Args:
        share: From 0 to 1.
    """
    return f"{100 * share:.1f} %"
