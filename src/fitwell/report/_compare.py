"""Comparing runs: settings that differ, metrics side by side, and what chance may explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from ..core.errors import UsageError
from ._figures import SIZE, Line, curves
from ._numbers import count, holm, label, mcnemar, metric_label, metric_text, p_text, plain
from ._records import (
    LOWER_IS_BETTER,
    Part,
    Predictions,
    Records,
    mapping,
    read_predictions,
    read_records,
)
from ._sections import epoch_line, headline, interval
from ._templates import figure, render

_CHANCE = 0.05
_PARTS: tuple[tuple[Part, str], ...] = (
    ("test", "test"),
    ("valid", "validation"),
    ("train", "training"),
)


@final
@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting that is not the same in all runs.

    Args:
        section: Section of the settings, or data, or versions.
        name: Name of the setting.
        values: Its value in each run, as words; a dash where a run does not have it.
    """

    section: str
    name: str
    values: tuple[str, ...]


@final
@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of all runs.

    Args:
        part: Part of the data it was measured on.
        metric: Name of the metric.
        values: Its value in each run; None where it was not measured.
        intervals: Its 95% interval in each run, where the records allow one.
        best: Positions of the best runs; empty if fewer than two have a value.
    """

    part: Part
    metric: str
    values: tuple[float | None, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    best: tuple[int, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as words."""
        return tuple(metric_text(self.metric, value) for value in self.values)


@final
@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two classifiers on the same test examples.

    Args:
        first: Name of the one run.
        second: Name of the other.
        examples: Number of common test examples.
        only_first: Examples that only the first gets right.
        only_second: Examples that only the second gets right.
        p: Exact McNemar p-value, after Holm if there are several pairs.
        pairs: Number of pairs that were tested.
    """

    first: str
    second: str
    examples: int
    only_first: int
    only_second: int
    p: float
    pairs: int

    def __str__(self) -> str:
        better, worse, won, lost = self.first, self.second, self.only_first, self.only_second
        if lost > won:
            better, worse, won, lost = worse, better, lost, won
        after = f", Holm-corrected for {self.pairs} pairs" if self.pairs > 1 else ""
        test = f"exact McNemar test on {count(self.examples)} test examples{after}"
        facts = (
            f"{better} is right on {count(won)} examples that {worse} gets wrong, and wrong on"
            f" {count(lost)} that {worse} gets right ({test}: {p_text(self.p)})."
        )
        if self.p < _CHANCE:
            return f"{facts} Chance in the choice of test examples does not explain this well."
        return f"{facts} This may well be chance."


@final
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between runs.

    Args:
        names: Short names of the runs, all different.
        settings: Settings that differ.
        metrics: All metrics.
        paired: The first run against each other one, where predictions on the same examples exist.
        warnings: Reasons why the numbers may not be comparable.
    """

    names: tuple[str, ...]
    settings: tuple[Difference, ...]
    metrics: tuple[MetricRow, ...]
    paired: tuple[Paired, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the comparison as plain data, ready for JSON."""
        paired = [{**asdict(pair), "words": str(pair)} for pair in self.paired]
        return {**asdict(self), "paired": paired}


def compare_runs(folders: Sequence[str | Path], /) -> Comparison:
    """Compare the records of runs.

    Args:
        folders: Folders of the runs; the first is the one the others are tested against.

    Raises:
        UsageError: Fewer than two different folders.
        RunError: One is not a run folder, or holds no training yet.
    """
    return _compare(_read_all(folders))


def render_comparison(folders: Sequence[str | Path], /) -> str:
    """Make one HTML page that shows runs side by side and needs nothing else.

    Args:
        folders: Folders of the runs; the first is the one the others are tested against.

    Raises:
        UsageError: Fewer than two different folders.
        RunError: One is not a run folder, or holds no training yet.
    """
    runs = _read_all(folders)
    found = _compare(runs)
    return render(
        "compare.html.jinja",
        title=f"{' · '.join(found.names[:3])}{' …' * (len(runs) > 3)} · fitwell comparison",
        runs=[
            _heading(name, run, i)
            for i, (name, run) in enumerate(zip(found.names, runs, strict=True))
        ],
        settings=found.settings,
        metrics=[_cells(row, dict(_PARTS)[row.part]) for row in found.metrics],
        curves=_curves(runs),
        paired=[str(pair) for pair in found.paired],
        warnings=found.warnings,
        label=label,
    )


def _read_all(folders: Sequence[str | Path]) -> list[Records]:
    paths = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    if len(paths) < 2:
        raise UsageError(
            f"compare: `runs` must be at least two different run folders; got {len(paths)}."
            " Name the runs one after the other."
        )
    return [read_records(path) for path in paths]


def _compare(runs: Sequence[Records]) -> Comparison:
    names = _names(runs)
    return Comparison(
        names=names,
        settings=tuple(_differences(runs)),
        metrics=tuple(_metrics(runs)),
        paired=tuple(_paired(runs, names)),
        warnings=tuple(_warnings(runs, names)),
    )


def _names(runs: Sequence[Records]) -> tuple[str, ...]:
    """The shortest ends of the paths that tell the runs apart."""
    for depth in range(1, max(len(run.folder.parts) for run in runs) + 1):
        names = tuple("/".join(run.folder.parts[-depth:]) for run in runs)
        if len(set(names)) == len(names):
            return names
    return tuple(str(run.folder) for run in runs)


def _differences(runs: Sequence[Records]) -> list[Difference]:
    flat = [_flat_settings(run) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = [
        Difference(section=key[0], name=key[1], values=tuple(run.get(key, "–") for run in flat))
        for key in keys
    ]
    return [row for row in rows if len(set(row.values)) > 1]


def _flat_settings(run: Records) -> dict[tuple[str, str], str]:
    data = mapping(run.run.get("data"))
    sections = {
        **run.settings(),
        "data": {key: data.get(key) for key in ("source", "fingerprint", "how", "counts")},
        "versions": dict(mapping(run.run.get("versions"))),
    }
    return {
        (section, ".".join(path)): plain(value)
        for section, values in sections.items()
        for path, value in _leaves(values)
    }


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not mapping(value):
        return [(path, value)] if path else []
    return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, str(key)))]


def _metrics(runs: Sequence[Records]) -> list[MetricRow]:
    rows = []
    found = [run.metrics for run in runs]
    for part, _ in _PARTS:
        names = dict.fromkeys(name for metrics in found for name in metrics[part])
        for name in sorted(names, key=lambda name: (name == "loss", name != runs[0].headline)):
            values = tuple(metrics[part].get(name) for metrics in found)
            rows.append(
                MetricRow(
                    part=part,
                    metric=name,
                    values=values,
                    intervals=tuple(
                        None if value is None else interval(run, part, name, value)
                        for run, value in zip(runs, values, strict=True)
                    ),
                    best=_best(name, values),
                )
            )
    return rows


def _best(name: str, values: Sequence[float | None]) -> tuple[int, ...]:
    known = [value for value in values if value is not None]
    if len(known) < 2 or len(set(known)) == 1:
        return ()
    top = min(known) if name in LOWER_IS_BETTER else max(known)
    return tuple(index for index, value in enumerate(values) if value == top)


def _paired(runs: Sequence[Records], names: Sequence[str]) -> list[Paired]:
    first = None if _is_regression(runs[0]) else read_predictions(runs[0].folder)
    if first is None:
        return []
    found = []
    for name, run in zip(names[1:], runs[1:], strict=True):
        other = read_predictions(run.folder)
        counts = None if other is None else _discordant(first, other)
        if counts is not None:
            found.append((name, counts))
    p_values = holm([mcnemar(*counts) for _, counts in found])
    return [
        Paired(
            first=names[0],
            second=name,
            examples=len(first.ids),
            only_first=counts[0],
            only_second=counts[1],
            p=p,
            pairs=len(found),
        )
        for (name, counts), p in zip(found, p_values, strict=True)
    ]


def _is_regression(run: Records) -> bool:
    return mapping(run.run.get("schema")).get("target_kind") == "number"


def _discordant(first: Predictions, second: Predictions) -> tuple[int, int] | None:
    """Count where only one is right; None unless both hold the same examples and truth."""
    ours = {name: row for row, name in enumerate(first.ids)}
    theirs = {name: row for row, name in enumerate(second.ids)}
    if (
        ours.keys() != theirs.keys()
        or len(ours) != len(first.ids)
        or len(first.ids) != len(second.ids)
    ):
        return None
    rows = [(row, theirs[name]) for name, row in ours.items()]
    if any(first.target[a] != second.target[b] for a, b in rows):
        return None
    right = [
        (first.prediction[a] == first.target[a], second.prediction[b] == second.target[b])
        for a, b in rows
    ]
    return sum(a and not b for a, b in right), sum(b and not a for a, b in right)


def _warnings(runs: Sequence[Records], names: Sequence[str]) -> list[str]:
    found = []
    prints = {plain(mapping(run.run.get("data")).get("fingerprint")) for run in runs}
    if len(prints) > 1:
        found.append("The runs used different data, so their metrics are not comparable.")
    unfinished = [name for name, run in zip(names, runs, strict=True) if not run.result]
    if unfinished:
        found.append(
            f"Not finished: {', '.join(unfinished)}. The numbers of an unfinished run are those of"
            " its best epoch so far."
        )
    found += [
        f"{name}: {what} is damaged and was left out."
        for name, run in zip(names, runs, strict=True)
        for what in run.damaged
    ]
    return found


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


def _curves(runs: Sequence[Records]) -> list[dict[str, Any]]:
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
            give(run, label="", series=index, style="dashed" if index >= 8 else "solid")
            for index, run in enumerate(runs)
        ]
        drawn = [line for line in lines if line is not None]
        if drawn:
            x_label = "step" if give is _lr_line else "epoch"
            svg = curves(drawn, title=title, x_label=x_label, percent=percent, size=SIZE)
            found.append({"title": title[0].upper() + title[1:], "svg": figure(svg)})
    return found


def _lr_line(run: Records, **looks: Any) -> Line | None:
    x, y = run.lr()
    return Line(x=x, y=y, **looks) if x else None
