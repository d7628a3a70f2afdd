"""Losses along lines and on planes, and their pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVELS = 20  # of the contours


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
        """Position of the lowest loss."""
        finite = [v if math.isfinite(v) else math.inf for v in self.losses]
        return self.positions[finite.index(min(finite))]

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

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {"positions": list(self.positions), "losses": list(self.losses)}

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
class LossPlane:
    """Losses on a plane through the space of weights.

    Args:
        x: Positions along the first direction, ascending.
        y: Positions along the second direction, ascending.
        losses: One row per position of `y`; infinite or NaN where they are.
        path: Where a training went on the plane, in order; empty without one.
        explained: Share of the path's spread along each direction; empty without a path.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    path: tuple[tuple[float, float], ...] = ()
    explained: tuple[float, ...] = ()

    @property
    def lowest(self) -> tuple[float, float]:
        """Position of the lowest loss."""
        cells = [
            (v, c, r)
            for r, row in zip(self.y, self.losses, strict=True)
            for c, v in zip(self.x, row, strict=True)
            if math.isfinite(v)
        ]
        if not cells:
            return math.nan, math.nan
        _, column, row = min(cells)
        return column, row

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data."""
        return {
            "x": list(self.x),
            "y": list(self.y),
            "losses": [list(row) for row in self.losses],
            "path": [list(point) for point in self.path],
            "explained": list(self.explained),
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
        else:
            axes.plot(0, 0, "x", color="C3")
        parts = [f" ({share:.0%} of the path)" for share in self.explained] or ["", ""]
        axes.set(xlabel=f"first direction{parts[0]}", ylabel=f"second direction{parts[1]}")
        return figure
