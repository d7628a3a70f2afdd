"""The table of a sweep: a row per member, from its folder alone, and what the trials reached."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from ...core.files import write_text
from ...core.runs import is_run, read_run


@final
@dataclass(frozen=True, kw_only=True)
class Member:
    """A member before its training: what it is called and how it differs.

    Args:
        name: Of its folder.
        trial: Number of its trial.
        values: What was chosen, by the name of the dimension.
        settings: Arguments of `train` that differ.
    """

    name: str
    trial: int
    values: Mapping[str, Any]
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return _named(self.name, self.values)


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of a member.

    Args:
        member: Its name.
        trial: Number of its trial.
        values: What was chosen, by the name of the dimension.
        status: Of its run; ``missing`` before it begins, ``failed`` also if it never could.
        valid: Metric of the validation part; None if it has none.
        test: Metric of the test part; None without one.
        epochs: Epochs completed.
        best_epoch: The epoch of the kept weights.
        parameters: Weights of the model.
        seconds: Of its training.
        stopped: Why it ended early; None if it did not.
    """

    member: str
    trial: int
    values: Mapping[str, Any]
    status: str = "missing"
    valid: float | None = None
    test: float | None = None
    epochs: int = 0
    best_epoch: int | None = None
    parameters: int | None = None
    seconds: float | None = None
    stopped: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return _named(self.member, self.values)


def _named(member: str, values: Mapping[str, Any]) -> str:
    return f"{member} ({', '.join(f'{name}={value}' for name, value in values.items())})"


@final
@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a trial reached: the mean of its members.

    Args:
        trial: Its number.
        rows: Its members.
        valid: Mean metric of the validation part; None if a member has none.
        test: Likewise of the test part.
    """

    trial: int
    rows: tuple[Row, ...]
    valid: float | None
    test: float | None


def is_done(folder: Path) -> bool:
    """Say whether there is nothing left to train in a member's folder.

    Args:
        folder: Of the member.
    """
    if not is_run(folder):
        return False
    files = read_run(folder, owner="sweep")
    diverged = str(files.run.get("error") or "").startswith("TrainingError")
    return bool(files.result) or (files.run.get("status") == "failed" and diverged)


def read_row(member: Member, folder: Path, metric: str, failed: str | None = None) -> Row:
    """Read what became of a member.

    Args:
        member: The member.
        folder: Of the member.
        metric: What the sweep compares.
        failed: Why it could not be trained; None if it could.
    """
    values = dict(member.values)
    if not is_run(folder):
        return Row(
            member=member.name,
            trial=member.trial,
            values=values,
            status="missing" if failed is None else "failed",
            stopped=failed,
        )
    files = read_run(folder, owner="sweep")
    result = files.result
    return Row(
        member=member.name,
        trial=member.trial,
        values=values,
        status=str(files.run.get("status")),
        valid=_number(result, "valid", metric),
        test=_number(result, "test", metric),
        epochs=files.epochs_done,
        best_epoch=result.get("best_epoch"),
        parameters=result.get("parameters"),
        seconds=result.get("seconds"),
        stopped=files.run.get("error") or files.run.get("stopped"),
    )


def _number(result: Mapping[str, Any], part: str, metric: str) -> float | None:
    value = (result.get(part) or {}).get(metric)
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def trials_of(rows: Sequence[Row], mode: str) -> tuple[TrialResult, ...]:
    """Give the trials, best first.

    Args:
        rows: Of the members.
        mode: Whether ``min`` or ``max`` of the metric is best.
    """
    members: dict[int, list[Row]] = {}
    for row in rows:
        members.setdefault(row.trial, []).append(row)
    found = {
        trial: TrialResult(
            trial=trial,
            rows=tuple(own),
            valid=_mean([row.valid for row in own]),
            test=_mean([row.test for row in own]),
        )
        for trial, own in members.items()
    }
    sign = 1 if mode == "min" else -1

    def rank(trial: int) -> tuple[float, int]:
        value = found[trial].valid
        return (math.inf if value is None else sign * value, trial)

    return tuple(found[trial] for trial in sorted(found, key=rank))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def write_csv(path: Path, rows: Sequence[Row], metric: str) -> None:
    """Write the table, a row per member.

    Args:
        path: The file.
        rows: Of the members.
        metric: What the sweep compares.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    facts = ("status", "epochs", "best_epoch", "parameters", "seconds", "stopped")
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["member", "trial", *names, f"valid {metric}", f"test {metric}", *facts])
    for row in rows:
        chosen = [row.values.get(name) for name in names]
        more = [getattr(row, name) for name in facts]
        out.writerow([row.member, row.trial, *chosen, row.valid, row.test, *more])
    write_text(path, text.getvalue())
