"""Losses along lines and on planes, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEVELS = 20  # of the contours
_NAMED = 6  # marks that are written beside their points


@final
@dataclass(frozen=True, kw_only=True)
class LossLine:
    """Losses along a line through the space of weights.

    Args:
        positions: Where on the line, ascending.
        losses: There; infinite or NaN where they are.
        label: What a position means.
    """

    positions: tuple[float, ...]
    losses: tuple[float, ...]
    label: str = "step along the direction"

    @property
    def lowest(self) -> float:
        """Position of the lowest loss; NaN if none is finite."""
        return self._where(min)

    @property
    def highest(self) -> float:
        """Position of the highest loss that is finite; NaN if none is."""
        return self._where(max)

    def _where(self, which: Any) -> float:
        pairs = zip(self.losses, self.positions, strict=True)
        finite = [(loss, place) for loss, place in pairs if math.isfinite(loss)]
        return float(which(finite, key=itemgetter(0))[1]) if finite else math.nan

    def at(self, position: float) -> float:
        """Give the loss that was measured at a position; NaN if it is none of them.

        Args:
            position: On the line.
        """
        return dict(zip(self.positions, self.losses, strict=True)).get(position, math.nan)

    @property
    def barrier(self) -> float:
        """How far the loss rises above the straight line from the loss at 0 to that at 1.

        Between two trainings 0 says that they lie in one basin. NaN unless both ends are there.
        """
        if 0.0 not in self.positions or 1.0 not in self.positions:
            return math.nan
        at = dict(zip(self.positions, self.losses, strict=True))
        inside = [(p, v) for p, v in at.items() if 0 <= p <= 1]
        return max(v - (1 - p) * at[0.0] - p * at[1.0] for p, v in inside)

    @property
    def centre(self) -> float:
        """Loss at position 0; NaN if it is not among the positions."""
        return self.at(0.0)

    def reach(self, factor: float = 2.0) -> tuple[float, float]:
        """Give how far one can go down and up the line until the loss at 0 has grown so much.

        Between positions the loss is taken to be straight. Infinite where the line ends before,
        NaN if 0 is not among the positions, or the loss there is no positive number.

        Args:
            factor: How many times the loss at 0.
        """
        if 0.0 not in self.positions:
            return math.nan, math.nan
        zero = self.positions.index(0.0)
        rows = list(zip(self.positions, self.losses, strict=True))
        return _reach(rows[zero::-1], factor), _reach(rows[zero:], factor)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {
            "positions": list(self.positions),
            "losses": list(self.losses),
            "label": self.label,
        }

    def figure(self) -> Figure:
        """Draw the losses over the positions."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.positions, self.losses)
        for place in (0.0, 1.0):
            if self.positions[0] < place < self.positions[-1]:
                axes.axvline(place, color="0.7", linewidth=1, zorder=0)
        axes.set(xlabel=self.label, ylabel="loss")
        return figure


@final
@dataclass(frozen=True, kw_only=True)
class PlaneMark:
    """A set of weights on a plane.

    Args:
        name: What it is called.
        x: Position along the first direction.
        y: Position along the second direction.
        loss: That of the weights themselves, also where they lie beside the plane.
    """

    name: str
    x: float
    y: float
    loss: float


@final
@dataclass(frozen=True, kw_only=True)
class LossPlane:
    """Losses on a plane through the space of weights.

    Args:
        x: Positions along the first direction, ascending.
        y: Positions along the second direction, ascending.
        losses: One row per position of `y`; infinite or NaN where they are.
        path: Where a training went on the plane, in order; empty without one.
        explained: Share of the path's spread along each direction; empty without a path.
        marks: Sets of weights that the plane was laid through.
        labels: What the directions are.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    path: tuple[tuple[float, float], ...] = ()
    explained: tuple[float, ...] = ()
    marks: tuple[PlaneMark, ...] = ()
    labels: tuple[str, str] = ("first direction", "second direction")

    @property
    def lowest(self) -> tuple[float, float]:
        """Position of the lowest loss."""
        return self._where(min)

    @property
    def highest(self) -> tuple[float, float]:
        """Position of the highest loss that is finite."""
        return self._where(max)

    @property
    def centre(self) -> float:
        """Loss at the position (0, 0); NaN if it is not among the positions."""
        return self.at(0.0, 0.0)

    def _where(self, which: Any) -> tuple[float, float]:
        cells = [
            (v, c, r)
            for r, row in zip(self.y, self.losses, strict=True)
            for c, v in zip(self.x, row, strict=True)
            if math.isfinite(v)
        ]
        if not cells:
            return math.nan, math.nan
        _, column, row = which(cells, key=itemgetter(0))
        return column, row

    def at(self, x: float, y: float) -> float:
        """Give the loss that was measured at a position; NaN if it is none of them.

        Args:
            x: Along the first direction.
            y: Along the second direction.
        """
        if x not in self.x or y not in self.y:
            return math.nan
        return self.losses[self.y.index(y)][self.x.index(x)]

    def reach(self, factor: float = 2.0) -> tuple[float, float, float, float]:
        """Give how far one can go down and up each direction until the loss has grown so much.

        As `LossLine.reach`, along the first direction and along the second.

        Args:
            factor: How many times the loss at the centre.
        """
        if 0.0 not in self.x or 0.0 not in self.y:
            return math.nan, math.nan, math.nan, math.nan
        column, row = self.x.index(0.0), self.y.index(0.0)
        first = LossLine(positions=self.x, losses=self.losses[row])
        second = LossLine(positions=self.y, losses=tuple(line[column] for line in self.losses))
        return (*first.reach(factor), *second.reach(factor))

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {
            "x": list(self.x),
            "y": list(self.y),
            "losses": [list(row) for row in self.losses],
            "path": [list(point) for point in self.path],
            "explained": list(self.explained),
            "marks": [asdict(mark) for mark in self.marks],
            "labels": list(self.labels),
        }

    def figure(self) -> Figure:
        """Draw contours of the loss, at logarithmic levels if all losses are positive."""
        import numpy as np
        from matplotlib.colors import LogNorm, Normalize
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 4.5), layout="constrained")
        axes = figure.subplots()
        losses = np.ma.masked_invalid(np.array(self.losses, dtype=float))
        low, high = float(losses.min()), float(losses.max())
        logarithmic = 0 < low < high
        levels = np.geomspace(low, high, _LEVELS) if logarithmic else _LEVELS
        norm: Normalize = LogNorm(low, high) if logarithmic else Normalize(low, high)
        filled = axes.contourf(self.x, self.y, losses, levels, norm=norm, cmap="viridis")
        ticks = np.geomspace(low, high, 6) if logarithmic else None
        bar = figure.colorbar(filled, ax=axes, label="loss", ticks=ticks, format="%.3g")
        bar.minorticks_off()
        if self.path:
            axes.plot(*zip(*self.path, strict=True), ".-", color="white", linewidth=1)
            axes.plot(*self.path[-1], "x", color="C3")
        elif not self.marks:
            axes.plot(0, 0, "x", color="C3")
        _name(axes, self.marks if len(self.marks) <= _NAMED else self.marks[:: len(self.marks) - 1])
        parts = [f" ({share:.0%} of the path)" for share in self.explained] or ["", ""]
        axes.set(xlabel=self.labels[0] + parts[0], ylabel=self.labels[1] + parts[1])
        axes.locator_params(nbins=6)
        return figure


def _name(axes: Axes, marks: Iterable[PlaneMark]) -> None:
    """Write the names of marks beside them, in black and white so that they show on any colour."""
    from matplotlib.patheffects import withStroke

    for mark in marks:
        axes.plot(mark.x, mark.y, "o", color="white", markeredgecolor="black", markersize=5)
        axes.annotate(
            mark.name,
            (mark.x, mark.y),
            xytext=(6, 5),
            textcoords="offset points",
            color="black",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _reach(rows: Sequence[tuple[float, float]], factor: float) -> float:
    """Give the distance from the first of some positions to where its loss has grown so much."""
    (start, first), limit = rows[0], factor * rows[0][1]
    if not 0 < first < math.inf:
        return math.nan
    before, under = start, first
    for place, loss in rows[1:]:
        if not loss <= limit:  # above, infinite, or not a number
            share = (limit - under) / (loss - under) if math.isfinite(loss) else 1.0
            return abs(before + share * (place - before) - start)
        before, under = place, loss
    return math.inf
