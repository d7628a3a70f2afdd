"""Reading a run folder for display: every record optional, a damaged one named rather than fatal.

Nothing here needs torch, and nothing that is read can execute code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, final

from ..core.errors import RunError
from ..core.groups import remedy
from ..core.runs import LOWER_IS_BETTER

FORMAT: Final = 1
"""Newest ``format`` of ``run.json`` that these pages understand."""

_HEADLINES: Final = ("accuracy", "r2", "rmse", "mae", "mse", "loss")

Part = Literal["train", "valid", "test"]


@final
@dataclass(frozen=True, kw_only=True)
class Records:
    """All records of one run that a page can show.

    Args:
        folder: Folder of the run.
        opened: The folder as it was named by who opened it.
        run: Content of ``run.json``.
        result: Content of ``result.json``; empty while the run is not finished.
        evaluation: Content of ``evaluation.json``; empty if the run was not evaluated.
        data: Content of ``data.json``; empty if the data was not described.
        epochs: Epoch records, ascending; the last one wins where a resumed run repeats an epoch.
        steps: Step records, likewise.
        damaged: Names of the records that are there but cannot be read.
    """

    folder: Path
    opened: str
    run: Mapping[str, Any]
    result: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[Mapping[str, Any], ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def status(self) -> str:
        """What ``run.json`` says: finished, running, stopped or failed."""
        return str(self.run.get("status", "unknown"))

    @property
    def part(self) -> str:
        """The part that the errors are of, as words."""
        return {"valid": "validation"}.get(str(self.evaluation.get("part")), "test")

    @property
    def model(self) -> str:
        """The model as it was written in the settings; empty if it was not recorded."""
        settings = self.settings().get("model", {})
        return str(self.result.get("model") or settings.get("spec") or settings.get("model") or "")

    @property
    def metrics(self) -> dict[Part, dict[str, float]]:
        """Final metrics of each part; where no result was written, those of the best epoch."""
        parts: tuple[Part, ...] = ("train", "valid", "test")
        if self.result:
            return {part: numbers(self.result.get(part)) for part in parts}
        best = self.best_epoch
        rows = [row for row in self.epochs if row["epoch"] == best]
        return {part: numbers(rows[0].get(part)) if rows else {} for part in parts}

    @property
    def headline(self) -> str | None:
        """The metric the run was chosen by, or the best known one; None before the first epoch."""
        seen = {name for part in self.metrics.values() for name in part} if self.result else set()
        seen |= {name for row in self.epochs for name in numbers(row.get("valid"))}
        chosen = self.settings().get("loss", {}).get("metric")
        chosen = "rmse" if chosen == "mse" else chosen  # the same order, in the target's units
        wanted = (chosen, *_HEADLINES) if isinstance(chosen, str) else _HEADLINES
        return next((name for name in wanted if name in seen), None)

    @property
    def best_epoch(self) -> int | None:
        """The recorded best epoch, else the one with the best validation headline so far."""
        recorded = number(self.result.get("best_epoch"))
        if recorded is not None:
            return int(recorded)
        name = self.headline if not self.result else None
        rows = [(numbers(row.get("valid")).get(name or ""), row["epoch"]) for row in self.epochs]
        scored = [(value, int(epoch)) for value, epoch in rows if value is not None]
        if name is None or not scored:
            return None
        sign = 1 if name in LOWER_IS_BETTER else -1
        return min(scored, key=lambda pair: (sign * pair[0], pair[1]))[1]

    def settings(self) -> dict[str, dict[str, Any]]:
        """Settings by section: model, loss, optimization first, others after them."""
        found = mapping(self.run.get("settings"))
        order = [name for name in ("model", "loss", "optimization") if name in found]
        order += [name for name in found if name not in order]
        return {
            name: dict(value) if isinstance(value, Mapping) else {name: value}
            for name, value in ((name, found[name]) for name in order)
        }

    def lr(self) -> tuple[list[int], list[float]]:
        """Give steps and learning rates from step and epoch records, ascending."""
        rows = [(number(row.get("step")), number(row.get("lr"))) for row in self.epochs]
        rows += [(float(row["step"]), number(row.get("lr"))) for row in self.steps]
        known = {int(step): lr for step, lr in rows if step is not None and lr is not None}
        return sorted(known), [known[step] for step in sorted(known)]

    def count(self, part: Part) -> int | None:
        """Give the number of examples of a part, as recorded.

        Args:
            part: The part.
        """
        value = number(mapping(mapping(self.run.get("data")).get("counts")).get(part))
        return None if value is None else int(value)


def read_records(folder: str | Path) -> Records:
    """Read whatever records a run folder has.

    Args:
        folder: Folder of the run.

    Raises:
        RunError: It is not a run folder, was written by a newer fitwell, or holds no training yet.
    """
    opened, folder = str(folder), Path(folder).resolve()
    run = _read_run(folder)
    damaged: list[str] = []
    result = read_object(folder / "result.json", damaged)
    evaluation = read_object(folder / "evaluation.json", damaged)
    data = read_object(folder / "data.json", damaged)
    lines = _read_lines(folder / "metrics.jsonl", damaged)
    records = Records(
        folder=folder,
        opened=opened,
        run=run,
        result=result,
        evaluation=evaluation,
        data=data,
        epochs=_latest(lines, "epoch"),
        steps=_latest(lines, "step"),
        damaged=tuple(damaged),
    )
    if not (records.result or records.epochs or records.steps):
        raise RunError(
            f"report: nothing was trained yet in {str(folder)!r}; it has no metrics."
            f" Run `{remedy(opened)}` first."
        )
    return records


def number(value: Any) -> float | None:
    """Give a finite number as float and anything else as None.

    Args:
        value: What a record holds.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def numbers(value: Any) -> dict[str, float]:
    """Give the entries of an object that are finite numbers.

    Args:
        value: What a record holds; anything but an object counts as empty.
    """
    found = ((str(key), number(item)) for key, item in mapping(value).items())
    return {key: item for key, item in found if item is not None}


def mapping(value: Any) -> Mapping[str, Any]:
    """Give the value if it is an object, else an empty one.

    Args:
        value: What a record holds.
    """
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """Give the value if it is a list, else an empty one.

    Args:
        value: What a record holds.
    """
    return value if isinstance(value, (list, tuple)) else ()


def _read_run(folder: Path) -> Mapping[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        what = "has no run.json" if folder.is_dir() else "no such folder"
        raise RunError(
            f"report: `run` must be a run folder; got {str(folder)!r} ({what})."
            " Give the folder that `fitwell train` printed."
        )
    damaged: list[str] = []
    run = read_object(path, damaged)
    if damaged:
        raise RunError(
            f"report: {str(path)!r} is not readable JSON. Restore it from a copy or train again."
        )
    version = run.get("format", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        raise RunError(
            f"report: {str(path)!r} has format {version!r}, newer than {FORMAT}. Upgrade fitwell."
        )
    return run


def read_object(path: Path, damaged: list[str]) -> Mapping[str, Any]:
    """Read a JSON object; empty if the file is missing or damaged.

    Args:
        path: The file.
        damaged: Where the name of a damaged file is noted.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        value = None
    if not isinstance(value, Mapping):
        damaged.append(path.name)
        return {}
    return value


def _read_lines(path: Path, damaged: list[str]) -> list[Mapping[str, Any]]:
    if not path.is_file():
        return []
    rows = path.read_bytes().split(b"\n")
    found: list[Mapping[str, Any]] = []
    broken = 0
    for row in rows[:-1]:  # what follows the last newline is a line still being written
        if not row.strip():
            continue
        try:
            value = json.loads(row)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, Mapping):
            found.append(value)
        else:
            broken += 1
    if broken:
        damaged.append(f"{path.name} ({broken} line{'s' * (broken > 1)})")
    return found


def _latest(lines: Sequence[Mapping[str, Any]], kind: str) -> tuple[Mapping[str, Any], ...]:
    """Keep the last record of each epoch or step: a resumed run writes some of them twice."""
    found = {
        position: {**line, kind: int(position)}
        for line in lines
        if line.get("kind") == kind and (position := number(line.get(kind))) is not None
    }
    return tuple(found[position] for position in sorted(found))
