"""The page that shows runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ._compare import PARTS, MetricRow, compare_records, read_all
from ._figures import Line, curves
from ._numbers import duration, label, memory, metric_label, metric_text, short
from ._records import Records, number
from ._sections import epoch_line, headline
from ._templates import figure, render


def render_comparison(folders: Sequence[str | Path], /) -> str:
    """Make one HTML page that shows runs side by side and needs nothing else.

    Args:
        folders: Folders of the runs; the first is the one the others are tested against.

    Raises:
        UsageError: Fewer than two different folders.
        RunError: One is not a run folder, or holds no training yet.
    """
    runs = read_all(folders)
    found = compare_records(runs)
    return render(
        "compare.html.jinja",
        title=f"{' · '.join(found.names[:3])}{' …' * (len(runs) > 3)} · fitwell comparison",
        runs=[
            _heading(name, run, i)
            for i, (name, run) in enumerate(zip(found.names, runs, strict=True))
        ],
        settings=found.settings,
        metrics=[_cells(row, dict(PARTS)[row.part]) for row in found.metrics],
        costs=_costs(runs),
        curves=_curves(runs, found.names),
        paired=[str(pair) for pair in found.paired],
        warnings=found.warnings,
        label=label,
    )


def _heading(name: str, run: Records, index: int) -> dict[str, Any]:
    top = headline(run)
    return {
        "name": name,
        "series": index % 8 + 1,
        "status": run.status,
        "model": run.model,
        "title": top.title if top else "",
        "value": top.text if top else "–",
        "interval": top.interval_text if top else "",
        "band": top.band if top else None,
    }


def _cells(row: MetricRow, part: str) -> dict[str, Any]:
    cells = []
    for index, (value, ends) in enumerate(zip(row.texts, row.intervals, strict=True)):
        text = "" if ends is None else " to ".join(metric_text(row.metric, end) for end in ends)
        cells.append(
            {
                "text": value,
                "interval": text,
                "best": index in row.best,
            }
        )
    return {"part": part, "metric": metric_label(row.metric), "cells": cells}


def _costs(runs: Sequence[Records]) -> list[tuple[str, list[str]]]:
    """Give what the runs cost, as rows of words; a dash where it was not recorded."""
    kinds: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("parameters", "parameters", short),
        ("training time", "seconds", duration),
        ("examples per second", "examples_per_second", lambda speed: short(round(speed))),
        ("peak memory of the process", "peak_memory", memory),
        ("peak memory on the GPU", "peak_device_memory", memory),
    )
    rows = []
    for name, key, words in kinds:
        known = [number(run.result.get(key)) for run in runs]
        if any(value is not None for value in known):
            rows.append((name, ["–" if value is None else words(value) for value in known]))
    return rows


def _curves(runs: Sequence[Records], names: Sequence[str]) -> list[dict[str, Any]]:
    """Overlay the same curve of all runs; a colour stands for a run, the key is above."""
    metric = next((run.headline for run in runs if run.headline not in (None, "loss")), None)
    wanted: list[tuple[str, Callable[..., Line | None], bool]] = [
        ("validation loss", partial(epoch_line, part="valid", metric="loss"), False),
        ("training loss", partial(epoch_line, part="train", metric="loss"), False),
        ("learning rate", _lr_line, False),
    ]
    if metric is not None:
        line = partial(epoch_line, part="valid", metric=metric)
        wanted.insert(0, (f"validation {metric_label(metric)}", line, metric == "accuracy"))
    found = []
    for title, give, percent in wanted:
        lines = [
            give(run, label=name, series=index, style="dashed" if index >= 8 else "solid")
            for index, (name, run) in enumerate(zip(names, runs, strict=True))
        ]
        drawn = [line for line in lines if line is not None]
        if drawn:
            x_label = "step" if give is _lr_line else "epoch"
            svg = curves(drawn, title=title, x_label=x_label, percent=percent, legend=False)
            found.append({"title": title[0].upper() + title[1:], "svg": figure(svg)})
    return found


def _lr_line(run: Records, **looks: Any) -> Line | None:
    x, y = run.lr()
    return Line(x=x, y=y, **looks) if x else None
