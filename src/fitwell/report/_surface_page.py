"""The page of an error surface: a picture that can be turned, and all of its numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..core.errors import UsageError
from ..core.files import finite
from ._numbers import short
from ._svg import INK, MUTED, PAPER, SERIES, Size, to_svg
from ._templates import figure, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE: Final[Size] = (760, 340)
"""Width and height of the curve of a line."""

_WIDEST: Final = 41
"""Columns and rows of the table; of larger planes every second, third ... is shown."""

_DIGITS: Final = 6
"""Significant digits of the losses in the page, to keep it small."""


def render_surface(
    found: Mapping[str, Any],
    /,
    *,
    title: str,
    subtitle: Sequence[str] = (),
    facts: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> str:
    """Make one HTML page of an error surface, which needs nothing else.

    Planes are shown in three dimensions, turned by mouse, touch or keys; lines as a curve. Either
    has its numbers in a table, for those who cannot see the picture. What is shown can be linked
    to: ``#turn=30&tilt=60&zoom=1.2&height=log&floor=0``.

    Args:
        found: What `to_dict` of a `LossPlane` or a `LossLine` of `fitwell.doctor` gives, also read
            back from JSON.
        title: What was measured.
        subtitle: Words below it.
        facts: Names and words of what to know about it.
        notes: Sentences to point out.

    Raises:
        UsageError: It is neither a plane nor a line, or no loss is finite.
    """
    data = finite(found)
    common = {"title": title, "subtitle": subtitle, "facts": facts, "notes": notes}
    if {"x", "y", "losses"} <= data.keys():
        return render("surface.html.jinja", **common, **_plane(data))
    if {"positions", "losses"} <= data.keys():
        return render("surface.html.jinja", **common, **_line(data, title))
    raise UsageError(
        f"render_surface: `found` must be a plane or a line as plain data; got the keys"
        f" {sorted(data)[:5]}. Give to_dict() of what loss_plane or loss_line gave."
    )


def _plane(data: Mapping[str, Any]) -> dict[str, Any]:
    x, y, losses = data["x"], data["y"], data["losses"]
    cells = [
        (loss, a, b)
        for b, row in zip(y, losses, strict=True)
        for a, loss in zip(x, row, strict=True)
        if loss is not None
    ]
    if not cells:
        raise UsageError("render_surface: `found` must have a finite loss; got none.")
    labels = data.get("labels") or ["first direction", "second direction"]
    titles = [f"{label}{_share(data, axis)}" for axis, label in enumerate(labels)]
    marks = data.get("marks") or []
    path = data.get("path") or []
    words = "; ".join(
        f"{name} loss {short(loss)} at {short(a)}, {short(b)}"
        for name, (loss, a, b) in (("lowest", min(cells)), ("highest", max(cells)))
    )
    columns, rows = (range(0, len(side), math.ceil(len(side) / _WIDEST)) for side in (x, y))
    all_of = len(columns) == len(x) and len(rows) == len(y)
    places = {"x": x, "y": y, "path": path, "marks": marks, "labels": labels, "titles": titles}
    return {
        "data": figure(_embedded(places, losses)),
        "words": f"Error surface of {len(x)} by {len(y)} points; {words}.",
        "labels": labels,
        "marks": [(m["name"], *(_text(m[key]) for key in ("x", "y", "loss"))) for m in marks],
        "table": {
            "title": "Losses at the measured points" if all_of else "Losses at some of the points",
            "heads": ["", *(short(x[k]) for k in columns)],
            "rows": [(short(y[j]), [_text(losses[j][k]) for k in columns]) for j in reversed(rows)],
        },
    }


def _share(data: Mapping[str, Any], axis: int) -> str:
    explained = data.get("explained") or []
    return f" ({explained[axis]:.0%} of the path)" if explained else ""


def _embedded(places: Mapping[str, Any], losses: Any) -> str:
    """Give the data as JSON that cannot end the element it stands in."""
    rounded = [[None if v is None else float(f"{v:.{_DIGITS}g}") for v in row] for row in losses]
    text = json.dumps({**places, "losses": rounded}, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _line(data: Mapping[str, Any], title: str) -> dict[str, Any]:
    positions, losses = data["positions"], data["losses"]
    if all(loss is None for loss in losses):
        raise UsageError("render_surface: `found` must have a finite loss; got none.")
    svg = to_svg(
        lambda axes: _draw(axes, data),
        title,
        _SIZE,
        f"{len(losses)} points from {short(positions[0])} to {short(positions[-1])}",
    )
    return {
        "data": None,
        "svg": figure(svg),
        "marks": [],
        "table": {
            "title": "Losses at the measured points",
            "heads": [data.get("label", "position"), "loss"],
            "rows": [(short(p), [_text(v)]) for p, v in zip(positions, losses, strict=True)],
        },
    }


def _draw(axes: Axes, data: Mapping[str, Any]) -> None:
    """Draw the losses over the positions, with named positions where there are some."""
    positions = data["positions"]
    axes.plot(positions, [math.nan if v is None else v for v in data["losses"]], color=SERIES[0])
    axes.margins(x=0.03)
    axes.set(xlabel=data.get("label", "position"), ylabel="loss")
    for mark in data.get("marks") or []:
        axes.axvline(mark["x"], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        if mark["loss"] is None:
            continue
        axes.plot([mark["x"]], [mark["loss"]], "o", color=SERIES[1], markeredgecolor=PAPER)
        axes.annotate(
            mark["name"],
            (mark["x"], mark["loss"]),
            xytext=(7, 8),
            textcoords="offset points",
            color=INK,
        )


def _text(value: float | None) -> str:
    return "not finite" if value is None else short(value)
