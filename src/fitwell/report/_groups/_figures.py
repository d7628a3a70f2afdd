"""Scores of members side by side, with what they give together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, final

from ...core.intervals import wilson_interval
from .._figures import SIZE
from .._numbers import count, metric_label, metric_text
from .._records import Records, mapping, number, sequence
from .._svg import INK, MUTED, PAPER, SERIES, to_svg
from .._templates import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS: Final = 30
"""Members that have a row of their own; more of them share one."""

Kind = Literal["member", "mean", "together"]
_LOOKS: Final = {
    "member": (SERIES[0], "o", 6),
    "mean": (INK, "D", 7),
    "together": (SERIES[1], "D", 8),
}


@final
@dataclass(frozen=True, kw_only=True)
class Standing:
    """A score with its name.

    Args:
        name: Of the member, or of what they are together.
        value: The score.
        interval: Its 95% interval, if known.
        kind: Whose score it is.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    kind: Kind = "member"


def part_words(judged: Mapping[str, Any]) -> str:
    """Give the part that members were measured on, as words.

    Args:
        judged: What was measured.
    """
    part = str(judged["part"])
    return {"valid": "validation"}.get(part, part)


def standings(rows: Sequence[Standing], /, *, title: str, metric: str, x_label: str = "") -> str:
    """Draw scores as dots with their intervals, one row each, from the top down.

    Args:
        rows: The scores; members first.
        title: What the figure shows, for those who cannot see it.
        metric: What the scores are of, which says how they are written.
        x_label: Meaning of the scores.
    """
    members = [row for row in rows if row.kind == "member"]
    crowded = len(members) > _ROWS
    names = [f"{len(members)} members"] if crowded else [row.name for row in members]
    names += [row.name for row in rows if row.kind != "member"]
    below = 1 if crowded else len(members)

    def draw(axes: Axes) -> None:
        place = below
        for order, row in enumerate(rows):
            if row.kind == "member":
                height = 0 if crowded else order
                _dot(axes, row, height, faint=crowded)
                continue
            axes.axvline(
                row.value, color=_LOOKS[row.kind][0], linewidth=1, linestyle=(0, (4, 3)), zorder=1
            )
            _dot(axes, row, place)
            place += 1
        axes.set_yticks(range(len(names)), [_clip(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.locator_params(axis="x", nbins=6)
        axes.xaxis.set_major_formatter(lambda value, _: metric_text(metric, value))
        axes.margins(x=0.06)
        axes.set_xlabel(x_label)

    told = [row for row in rows if not (crowded and row.kind == "member")]
    words = "; ".join(_words(row, metric) for row in told)
    return to_svg(draw, title, (SIZE[0] + 40, 60 + 20 * max(2, len(names))), words)


def _dot(axes: Axes, row: Standing, height: float, *, faint: bool = False) -> None:
    color, marker, size = _LOOKS[row.kind]
    if row.interval is not None and not faint:
        axes.plot(
            row.interval, (height, height), color=color if row.kind != "member" else MUTED,
            linewidth=2.2 if row.kind != "member" else 1.2,
        )  # fmt: skip
    axes.plot(
        [row.value], [height], marker=marker, markersize=size, markerfacecolor=color,
        markeredgecolor=PAPER, markeredgewidth=1, alpha=0.35 if faint else 1, linestyle="none",
    )  # fmt: skip


def _words(row: Standing, metric: str) -> str:
    ends = "" if row.interval is None else " to ".join(metric_text(metric, e) for e in row.interval)
    return f"{row.name}: {metric_text(metric, row.value)}" + (f" ({ends})" if ends else "")


def _clip(name: str, length: int = 18) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def score_figures(
    result: Mapping[str, Any], judged: Sequence[Mapping[str, Any]], runs: Mapping[str, Records]
) -> list[dict[str, Any]]:
    """Show the scores of members: fold by fold, and on each part that all have answered.

    Args:
        result: The result of the group.
        judged: What was measured of the members together, part by part.
        runs: Records of the members by name.
    """
    metric, found = str(result["metric"]), []
    words = metric_label(metric)
    if "scores" in result:
        spread = mapping(mapping(result["scores"])[metric])
        values = held_out_values(spread)
        rows = [
            Standing(name=name, value=value, interval=_fold_interval(metric, value, run))
            for name, run in runs.items()
            if (value := values.get(name)) is not None
        ]
        if rows:
            found.append(_by_fold(rows, spread, metric, words))
    for item in judged:
        part = part_words(item)
        found.append(_together(item, metric, part))
    return found


def held_out_values(spread: Mapping[str, Any]) -> dict[str, float | None]:
    """Give the score of each fold by the name of its member; None where it is not defined.

    Args:
        spread: A metric of the result.
    """
    values = enumerate(sequence(spread.get("values")), start=1)
    return {f"fold-{place}": number(value) for place, value in values}


def _by_fold(
    rows: list[Standing], spread: Mapping[str, Any], metric: str, words: str
) -> dict[str, Any]:
    ends, title = spread.get("interval"), f"Held-out {words} by fold"
    whole = tuple(ends) if ends else None
    thin = " Thin lines are what the choice of those rows explains." * any(r.interval for r in rows)
    rows = [*rows, Standing(name="mean", value=spread["mean"], interval=whole, kind="mean")]
    return {
        "title": title,
        "svg": figure(standings(rows, title=title, metric=metric, x_label=words)),
        "caption": f"Each member on the rows that it did not see.{thin} The thick one is the mean"
        f"{' with its interval' if whole else ''}.",
    }


def _together(item: Mapping[str, Any], metric: str, part: str) -> dict[str, Any]:
    words = metric_label(metric)
    examples = int(item["examples"])
    rows = [
        Standing(name=name, value=value, interval=_share_interval(metric, value, examples))
        for name, scores in mapping(item["members"]).items()
        if (value := number(mapping(scores).get(metric))) is not None
    ]
    ends = item.get("interval")
    rows.append(Standing(name="mean of members", value=item["mean"], kind="mean"))
    rows.append(
        Standing(
            name="together",
            value=mapping(item["scores"])[metric],
            interval=tuple(ends) if ends else None,
            kind="together",
        )
    )
    title = f"{part.capitalize()} {words}, alone and together"
    return {
        "title": title,
        "svg": figure(standings(rows, title=title, metric=metric, x_label=words)),
        "caption": f"All on the same {count(examples)} {part} examples; lines are 95% intervals"
        " over the choice of examples. Scores whose intervals overlap may still differ.",
    }


def _fold_interval(metric: str, value: float, run: Records) -> tuple[float, float] | None:
    part = mapping(run.run.get("fold")).get("held_out")
    examples = run.count("valid" if part == "valid" else "test")
    return _share_interval(metric, value, examples or 0)


def _share_interval(metric: str, value: float, examples: int) -> tuple[float, float] | None:
    if metric != "accuracy" or examples < 1:
        return None
    return wilson_interval(round(value * examples), examples)
