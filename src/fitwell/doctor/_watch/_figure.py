"""The picture of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._reading import known

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LAYERS = 40
_SPANS = ("wait", "forward", "backward", "step", "rest")


def draw(record: Mapping[str, Any]) -> Figure:
    """Draw loss, gradient and update sizes, directions, activations by depth, and time.

    Args:
        record: From `Watch.record`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes: Any = figure.subplots(2, 3)
    looks, steps = record["looks"], record["looks"]["step"]
    first = axes[0, 0]
    first.plot(record["loss"]["step"], record["loss"]["loss"], linewidth=1, color="C0")
    _finish(first, "loss", "step")
    _lines(axes[0, 1], steps, looks, {"gradient_norm_unclipped": "before", "gradient_norm": "used"})
    _finish(axes[0, 1], "gradient norm", "step", log=True)
    ratios = {"ratio": _divide(looks.get("update_norm"), looks.get("weight_norm"))}
    _lines(
        axes[0, 2], steps, ratios | {"lr": looks.get("lr")}, {"ratio": "update/weight", "lr": "lr"}
    )
    _finish(axes[0, 2], "update-to-weight ratio and learning rate", "step", log=True)
    names = {"gradient_cosine": "gradients", "update_cosine": "updates"}
    _lines(axes[1, 0], steps, looks, names)
    axes[1, 0].set_ylim(-1.05, 1.05)
    _finish(axes[1, 0], "cosine of successive ones", "step")
    for part in (*axes[0], axes[1, 0]):
        part.set_xlim(0, max(record["steps"], 1) * 1.03)
    _depth(axes[1, 1], record["modules"])
    _times(axes[1, 2], record["seconds"])
    return figure


def _divide(top: Any, bottom: Any) -> list[float | None]:
    pairs = zip(top or (), bottom or (), strict=False)
    return [None if a is None or not b else a / b for a, b in pairs]


def _lines(axes: Axes, steps: list[int], columns: Mapping[str, Any], names: dict[str, str]) -> None:
    for field, label in names.items():
        pairs = zip(steps, columns.get(field) or (), strict=False)
        seen = [(step, value) for step, value in pairs if value is not None]
        if seen:
            axes.plot(*zip(*seen, strict=True), marker=".", linewidth=1, label=label)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)


def _finish(axes: Axes, title: str, x_label: str, *, log: bool = False) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x_label, fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    values: list[Any] = [v for line in axes.lines for v in line.get_ydata()]  # type: ignore[union-attr]
    if log and any(value > 0 for value in values):
        axes.set_yscale("log")


def _depth(axes: Axes, modules: Mapping[str, Any]) -> None:
    """Draw the spread of the outputs of each layer in the order they ran, first and last look."""
    from matplotlib.ticker import MaxNLocator

    names = [name for name in modules if known(modules[name].get("std"))][:_LAYERS]
    for pick, label in ((0, "first look"), (-1, "last look")):
        spreads = [known(modules[name]["std"])[pick] for name in names]
        if spreads:
            axes.plot(range(1, len(spreads) + 1), spreads, marker=".", linewidth=1, label=label)
    if names:
        axes.legend(frameon=False, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, "spread of outputs by depth", "layer, in the order they run", log=True)


def _times(axes: Axes, seconds: Mapping[str, Any]) -> None:
    """Draw how a step's time is divided, as the mean over looks."""
    means = {name: known(seconds.get(name)) for name in _SPANS}
    shown = {name: 1000 * sum(v) / len(v) for name, v in means.items() if v}
    axes.barh(list(shown)[::-1], list(shown.values())[::-1], color="C0", height=0.6)
    _finish(axes, "time of a step", "milliseconds")
