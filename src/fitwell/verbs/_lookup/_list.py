"""`fitwell list`: the runs of a folder, and the methods of a family; neither needs torch."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ...core.catalog import Entry, methods
from ...core.errors import RunError, UsageError
from ...core.groups import find_groups, member_folders, missing_members, read_group
from ...core.runs import RunFiles, find_runs, read_run
from ...core.text import aligned, shorten


@final
@dataclass(frozen=True, kw_only=True)
class RunList:
    """The runs of a folder, newest first.

    Args:
        folder: Where they were looked for.
        runs: Those that could be read.
        damaged: What was wrong with the others, by folder.
        groups: Groups of runs there, with what ``group.json`` says.
    """

    folder: Path
    runs: tuple[RunFiles, ...]
    damaged: dict[str, str]
    groups: tuple[tuple[Path, Mapping[str, Any]], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the list as plain data, ready for JSON."""
        return {
            "folder": str(self.folder),
            "runs": [_summary(run) for run in self.runs],
            "groups": [_group(folder, facts) for folder, facts in self.groups],
            "damaged": self.damaged,
        }

    def __str__(self) -> str:
        notes = [f"damaged: {text}" for text in self.damaged.values()]
        if self.groups:
            found = [_group_cells(folder, facts) for folder, facts in self.groups]
            notes.insert(0, aligned(("group", "kind", "members", "status"), found))
        if not self.runs and self.groups:
            return "\n".join(notes)
        if not self.runs:
            empty = f"No runs in {self.folder}. Make one: fitwell train digits"
            return "\n".join([empty, *notes])
        rows = []
        for run in self.runs:
            facts = _summary(run)
            metric = run.main_metric
            best = None if metric is None else f"{metric[0]} {metric[1]:.4g}"
            model = shorten(facts["model"] or "-", 40)
            middle = (facts["run"], facts["task"], model, facts["status"], facts["epochs"])
            rows.append((*middle, best, facts["date"]))
        header = ("run", "task", "model", "status", "epochs", "valid", "date")
        gap = [""] if self.groups else []
        return "\n".join([aligned(header, rows, right="epochs"), *gap, *notes])


def _summary(run: RunFiles) -> dict[str, Any]:
    changed = datetime.datetime.fromtimestamp((run.folder / "run.json").stat().st_mtime)
    return {
        "run": str(run.folder),
        "task": run.run.get("task"),
        "model": run.model,
        "status": run.run.get("status"),
        "epochs": run.epochs_done,
        "valid": dict(run.valid),
        "date": changed.isoformat(sep=" ", timespec="minutes"),
    }


def _group(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "group": str(folder),
        "kind": facts.get("kind"),
        "members": len(member_folders(folder, facts)),
        "status": facts.get("status"),
        "missing": list(missing_members(folder, facts)),
    }


def _group_cells(folder: Path, facts: Mapping[str, Any]) -> tuple[Any, ...]:
    *cells, missing = _group(folder, facts).values()
    cells[-1] = f"{cells[-1]}, {', '.join(missing)} missing" if missing else cells[-1]
    return tuple(cells)


def list_runs(folder: str | Path = "runs", /) -> RunList:
    """List the runs in a folder, newest first: task, model, status, epochs, validation metrics.

    Groups of runs follow, such as folds; `fitwell list GROUP` lists the members of one.

    For the methods that fitwell has, use `fitwell list methods`.

    Args:
        folder: Where runs are kept; they may lie one folder deeper.

    Raises:
        UsageError: The folder is not there.
    """
    if not Path(folder).is_dir() and str(folder) != "runs":
        raise UsageError(f"list: `folder` must be a folder of runs; {str(folder)!r} is not there.")
    runs, damaged = [], {}
    for path in find_runs(folder):
        try:
            runs.append(read_run(path))
        except RunError as err:  # one damaged run must not hide the others
            damaged[str(path)] = str(err).removeprefix("runs: ")
    groups = []
    for path in find_groups(folder):
        try:
            groups.append((path, read_group(path)))
        except RunError as err:
            damaged[str(path)] = str(err)
    return RunList(folder=Path(folder), runs=tuple(runs), damaged=damaged, groups=tuple(groups))


@final
@dataclass(frozen=True, kw_only=True)
class MethodList:
    """Methods by family and name.

    Args:
        entries: The methods.
    """

    entries: tuple[Entry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the list as plain data, ready for JSON."""
        fields = [(entry.path, entry.card.summary, entry.card.keys) for entry in self.entries]
        return {
            "methods": [{"name": n, "summary": s, "source": list(keys)} for n, s, keys in fields]
        }

    def __str__(self) -> str:
        rows = [
            (entry.path, shorten(entry.card.summary, 68), ", ".join(entry.card.keys))
            for entry in self.entries
        ]
        if not rows:
            return "No methods here."
        return aligned(("method", "what it does", "source"), rows)


def list_methods(family: str | None = None, /) -> MethodList:
    """List the methods of fitwell with their sources; `fitwell show NAME` prints one in full.

    Args:
        family: Such as `nn` or `optim`; all families when left out.

    Raises:
        UnknownName: There is no family of that name.
    """
    return MethodList(entries=methods(family))
