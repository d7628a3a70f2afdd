"""Comparing runs: settings that differ, metrics side by side, reasons for doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from ..core.errors import UsageError
from ..core.runs import LOWER_IS_BETTER
from ._numbers import metric_text, plain
from ._paired import Paired, compare_pairs
from ._records import Part, Records, mapping, read_records
from ._sections import interval

PARTS: Final[tuple[tuple[Part, str], ...]] = (
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
    return compare_records(read_all(folders))


def read_all(folders: Sequence[str | Path]) -> list[Records]:
    """Read the records of runs, each once.

    Args:
        folders: Folders of the runs.

    Raises:
        UsageError: Fewer than two different folders.
        RunError: One is not a run folder, or holds no training yet.
    """
    paths: dict[Path, str | Path] = {}
    for folder in folders:
        paths.setdefault(Path(folder).resolve(), folder)
    if len(paths) < 2:
        raise UsageError(
            f"compare: `runs` must be at least two different run folders; got {len(paths)}."
            " Name the runs one after the other."
        )
    return [read_records(folder) for folder in paths.values()]


def compare_records(runs: Sequence[Records]) -> Comparison:
    """Compare records that were read.

    Args:
        runs: Records of at least two runs.
    """
    names = _names(runs)
    return Comparison(
        names=names,
        settings=tuple(_differences(runs)),
        metrics=tuple(_metrics(runs)),
        paired=tuple(compare_pairs(runs, names)),
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
    for part, _ in PARTS:
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
