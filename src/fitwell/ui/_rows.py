"""What the pages show of a run: its row in the list, and the points of its curves."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from ..core.groups import remedy
from ..core.runs import LOWER_IS_BETTER, RunFiles
from ._files import Tail, objects, read_bytes, read_object

MOST_POINTS: Final = 2000
"""Points of a curve that a page gets; of longer ones every second, third ... is left."""

_SPARK_POINTS: Final = 48
_SILENT_SECONDS: Final = 120.0
_LONGEST_TEXT: Final = 300


@final
@dataclass(kw_only=True)
class Seen:
    """What was read of one run so far, so that only what is new must be read.

    Args:
        name: Its folder, as seen from the folder of runs.
        folder: Its folder.
        signature: Times and sizes of its files when they were read.
    """

    name: str
    folder: Path
    signature: tuple[Any, ...] = ()
    _run: Mapping[str, Any] = field(default_factory=dict)
    _result: Mapping[str, Any] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _tail: Tail = field(init=False)
    _known: bool = False
    _metric: str | None = None
    _values: dict[int, float] = field(default_factory=dict)
    _epoch: Mapping[str, Any] = field(default_factory=dict)
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        self._tail = Tail(file=self.folder / "metrics.jsonl")

    def read(self) -> tuple[bool, int, list[Mapping[str, Any]]]:
        """Read what changed.

        Returns:
            Whether metrics were taken back, where the new lines begin, and the new lines; no lines
            at the first reading, where a page asks for all of them.
        """
        self._notes = []
        self._run = self._object("run.json")
        self._result = self._object("result.json")
        first, start, self._known = not self._known, self._tail.end, True
        try:
            anew, lines = self._tail.read()
        except OSError as err:
            self._notes.append(f"metrics.jsonl cannot be read ({err.strerror or err})")
            return False, start, []
        if anew:
            self._values, self._epoch, self._seconds = {}, {}, 0.0
        if first:  # of a long file only what the list shows
            lines = [line for line in lines if b'"valid"' in line]
        found = list(objects(lines))
        for line in found:
            self._note_epoch(line)
        return anew and not first, start, [] if first or anew else found

    @property
    def end(self) -> int:
        """Bytes of ``metrics.jsonl`` that were read."""
        return self._tail.end

    def _object(self, name: str) -> Mapping[str, Any]:
        try:
            return read_object(self.folder / name)
        except (OSError, ValueError) as err:
            reason = err.strerror if isinstance(err, OSError) else None
            self._notes.append(f"{name} cannot be read ({reason or err})")
            return {}

    def _note_epoch(self, line: Mapping[str, Any]) -> None:
        epoch = line.get("epoch")
        if line.get("kind") != "epoch" or not isinstance(epoch, int):
            return
        self._epoch = line
        self._seconds += number(line.get("seconds")) or 0.0
        valid = mapping(line.get("valid"))
        if self._metric not in valid:
            self._metric = self._chosen(valid)
        value = number(valid.get(self._metric or "")) if self._metric else None
        if value is None:  # without a validation part the training loss is shown
            value = number(mapping(line.get("train")).get("loss"))
        if value is not None:
            self._values[epoch] = value

    def _chosen(self, valid: Mapping[str, Any]) -> str | None:
        """Name the metric to show: the one the run is judged by, else the most telling one."""
        chosen = mapping(mapping(self._run.get("settings")).get("loss")).get("metric")
        if chosen == "mse" and "rmse" in valid:
            return "rmse"  # the same order, in the units of the target
        if isinstance(chosen, str) and chosen in valid:
            return chosen
        main = RunFiles(folder=self.folder, run={}, epochs=({"valid": valid},)).main_metric
        return None if main is None else main[0]

    def row(self, now: float) -> dict[str, Any]:
        """Give what the list shows, ready for JSON.

        Args:
            now: The time, in seconds since 1970.
        """
        files = RunFiles(folder=self.folder, run=self._run, result=self._result)
        settings = mapping(files.settings)
        source = mapping(self._run.get("data")).get("source")
        changed = [part[0] / 1e9 for part in self.signature[:3] if part]
        updated = max(changed, default=0.0)
        status, notes = self._status(now - updated)
        score = self._score()
        record = self._result or self._epoch
        return {
            "name": self.name,
            "status": status,
            "notes": [*self._notes, *notes],
            "task": text(self._run.get("task")),
            "data": text(source if isinstance(source, str) else None),
            "model": text(self._result.get("model") or files.model),
            **score,
            "test": number(mapping(self._result.get("test")).get(score["metric"] or "")),
            "curve": thin(list(self._values.values()), _SPARK_POINTS),
            "epochs": number(self._result.get("epochs")) or number(self._epoch.get("epoch")) or 0,
            "planned": number(mapping(settings.get("optimization")).get("epochs")),
            "seconds": number(self._result.get("seconds")) or self._seconds,
            "speed": number(record.get("examples_per_second")),
            "parameters": number(self._result.get("parameters")),
            "created": self._created(),
            "updated": updated,
        }

    def _score(self) -> dict[str, Any]:
        """The best validation value, which is the one of the weights that the run keeps."""
        valid = mapping(self._result.get("valid"))
        metric = self._metric or self._chosen(valid)
        final_value = number(valid.get(metric or ""))
        mode = self._run.get("best_mode")
        lower = mode == "min" if mode in ("min", "max") else metric in LOWER_IS_BETTER
        lower = lower or metric is None
        best = min if lower else max
        if final_value is None and self._values:
            final_value = best(self._values.values())
        metric = metric or ("loss" if self._values else None)
        epoch = next((e for e, v in self._values.items() if v == best(self._values.values())), None)
        recorded = number(self._result.get("best_epoch"))
        return {
            "metric": metric,
            "score": final_value,
            "lower": lower,
            "best_epoch": epoch if recorded is None else recorded,
        }

    def _status(self, silent: float) -> tuple[str, list[str]]:
        if not self._run:
            return "damaged", []
        status = text(self._run.get("status")) or "unknown"
        if status == "failed":
            return status, [text(self._run.get("error")) or "the reason was not recorded"]
        if status == "stopped":
            return status, [text(self._run.get("stopped")) or "the reason was not recorded"]
        if status == "running" and silent > _SILENT_SECONDS and not self._is_trained():
            return "killed", [f"no process trains it; go on with: {remedy(self.folder)}"]
        return status, []

    def _is_trained(self) -> bool:
        """Say whether the process that locked the run last still exists on this machine."""
        try:
            os.kill(int(read_bytes(self.folder / ".lock", limit=20)), 0)
        except (ValueError, ProcessLookupError, FileNotFoundError):
            return False
        except (OSError, OverflowError):  # it is somebody else's, or cannot be told
            return True
        return True

    def _created(self) -> float | None:
        try:
            when = datetime.datetime.fromisoformat(str(self._run.get("created")))
            return when.timestamp()
        except (ValueError, OverflowError):
            return self.signature[0][0] / 1e9 if self.signature and self.signature[0] else None

    def detail(self) -> dict[str, Any]:
        """Give what the page of the run shows besides its row, ready for JSON.

        The curves are read anew, up to the last whole line.
        """
        tail = Tail(file=self.folder / "metrics.jsonl")
        try:
            _, lines = tail.read()
        except OSError:
            lines = []
        return {
            "command": text(self._run.get("command"), 4000),
            "settings": mapping(self._run.get("settings")),
            "data": mapping(self._run.get("data")),
            "schema": mapping(self._run.get("schema")),
            "machine": mapping(self._run.get("machine")),
            "versions": mapping(self._run.get("versions")),
            "parts": {part: mapping(self._result.get(part)) for part in ("train", "valid", "test")},
            "end": tail.end,
            **points(objects(lines)),
        }


def points(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the points of the curves: step, loss and rate of steps, and the records of epochs.

    Args:
        lines: Of ``metrics.jsonl``, in order; a later line replaces an earlier one of its step.
    """
    steps: dict[float, list[float | None]] = {}
    epochs: dict[float, dict[str, Any]] = {}
    for line in lines:
        step, epoch = number(line.get("step")), number(line.get("epoch"))
        if line.get("kind") == "step" and step is not None:
            steps[step] = [step, number(line.get("loss")), number(line.get("lr"))]
        elif line.get("kind") == "epoch" and epoch is not None:
            epochs[epoch] = {
                "epoch": epoch,
                "step": step,
                "lr": number(line.get("lr")),
                "seconds": number(line.get("seconds")),
                "speed": number(line.get("examples_per_second")),
                "train": numbers(line.get("train")),
                "valid": numbers(line.get("valid")),
            }
    return {
        "steps": thin([steps[step] for step in sorted(steps)], MOST_POINTS),
        "epochs": thin([epochs[epoch] for epoch in sorted(epochs)], MOST_POINTS),
    }


def thin(values: Sequence[Any], most: int) -> list[Any]:
    """Keep every second, third ... of a long sequence, and its last one.

    Args:
        values: The sequence.
        most: Values that may stay, besides the last.
    """
    stride = max(1, math.ceil(len(values) / most))
    kept = list(values[::stride])
    if values and (len(values) - 1) % stride:
        kept.append(values[-1])
    return kept


def text(value: Any, longest: int = _LONGEST_TEXT) -> str | None:
    """Give a value of a record as a text of bounded length; None stays None.

    Args:
        value: The value.
        longest: Letters that are kept.
    """
    if value is None:
        return None
    words = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return words if len(words) <= longest else f"{words[:longest]} ..."


def number(value: Any) -> float | None:
    """Give a finite number and anything else as None.

    Args:
        value: What a record holds.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond all floats
        return None


def numbers(value: Any) -> dict[str, float]:
    """Give the entries of an object that are finite numbers.

    Args:
        value: What a record holds.
    """
    found = ((str(name), number(item)) for name, item in mapping(value).items())
    return {name: item for name, item in found if item is not None}


def mapping(value: Any) -> Mapping[str, Any]:
    """Give the value if it is an object, else an empty one.

    Args:
        value: What a record holds.
    """
    return value if isinstance(value, Mapping) else {}
