"""What a sweep found: the trials in their order, the best of them, and its honest number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ...core.files import finite
from ...core.text import aligned, shorten
from ...report import BELIEVED
from ...train import Run
from .._open_run import open_run
from ._rows import Row, TrialResult

_SHOWN = 10
_FAILED = 3
_WHY = 160
_SAID = 0.01
_CELL = 40


@final
@dataclass(frozen=True, kw_only=True)
class Final:
    """What the best setting is worth, on examples that did not choose it.

    Args:
        test: Test metric of the best member, or the mean over seeds; None without a test part.
        interval: Its 95% interval, over the test examples or over the seeds; None if there is none.
        over: What the interval is over: ``examples`` or ``seeds``.
        seeds: How many seeds it is the mean of; 0 for the best member itself.
        new: Whether the seeds had no part in the choice.
    """

    test: float | None
    interval: tuple[float, float] | None
    over: str
    seeds: int = 0
    new: bool = False

    @property
    def of(self) -> str:
        """What it is the number of, in words."""
        return f"mean of {self.seeds} {'new ' * self.new}seeds" if self.seeds else "best member"

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        ends = None if self.interval is None else list(self.interval)
        return {**vars(self), "interval": ends}

    def words(self, metric: str) -> str:
        """Say it in a sentence.

        Args:
            metric: What the number is.
        """
        if self.test is None:
            return "There is no test part: the validation score of the best is optimistic."
        ends = ""
        if self.interval is not None:
            ends = f" (95% interval over {self.over} {_range(self.interval)})"
        return f"test {metric} {self.test:.4g} of the {self.of}{ends}"


def _range(ends: Sequence[float]) -> str:
    return " to ".join(f"{end:.4g}" for end in ends)


@final
@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The trials of a sweep, best first, and what to do next.

    Args:
        group: Folder of the group.
        metric: What is compared, on the validation part.
        mode: Whether ``min`` or ``max`` of it is best.
        trials: Best first; each has the rows of its members.
        final: What the best is worth.
        command: The command that trains the best member alone.
        importance: Share of each setting in how the metric varies; empty where trials are too few.
        page: The page that shows it all; None if none was written.
        answering: Members whose weights are there.
        model: Model of the best member, if it is one of your own from Python.
    """

    group: Path
    metric: str
    mode: str
    trials: tuple[TrialResult, ...]
    final: Final
    command: str
    importance: Mapping[str, Any]
    page: Path | None
    answering: int
    model: Any = None

    @property
    def best(self) -> Row:
        """The best member of the best trial."""
        return best_row(self.trials[0], self.mode)

    def best_run(self) -> Run:
        """Open the run of the best member, ready to predict."""
        return open_run(self.group / "members" / self.best.member, model=self.model)

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain data, ready for JSON."""
        rows = [row.to_dict() for trial in self.trials for row in trial.rows]
        value = {
            "group": str(self.group),
            "metric": self.metric,
            "mode": self.mode,
            "best": {**self.best.to_dict(), "command": self.command},
            "final": self.final.to_dict(),
            "members": rows,
            "importance": dict(self.importance),
            "page": None if self.page is None else str(self.page),
        }
        found: dict[str, Any] = finite(value)
        return found

    def __str__(self) -> str:
        rows = [row for trial in self.trials for row in trial.rows]
        names = list(dict.fromkeys(name for row in rows for name in row.values))
        several = any(len(trial.rows) > 1 for trial in self.trials)
        shown = [name for name in names if not any(_differs(name, one) for one in self.trials)]
        lines = []
        for trial in self.trials[:_SHOWN]:
            values = [_cell(trial.rows[0].values.get(name)) for name in shown]
            epochs = max(row.epochs for row in trial.rows)
            count = [len(trial.rows)] if several else []
            lines.append([f"{trial.trial:03d}", *values, _number(trial.valid), epochs, *count])
        header = ["trial", *shown, f"valid {self.metric}", "epochs", *["members"] * several]
        parts = [aligned(header, lines)]
        if len(self.trials) > _SHOWN:
            parts[0] += f"\n... {len(self.trials) - _SHOWN} more in {self.group / 'sweep.csv'}"
        facts = [
            f"best     {self.group / 'members' / self.best.member}",
            f"alone    {self.command}",
            f"honest   {self.final.words(self.metric)}",
        ]
        mattered = [
            f"{name} {100 * part:.0f}%"
            for name, part in self.importance.get("shares", {}).items()
            if part >= _SAID and self.importance["explained"] >= BELIEVED
        ]
        if mattered:
            facts.append(f"mattered {', '.join(mattered)}")
        failed = [row for row in rows if row.status == "failed"]
        facts += [f"failed   {row}: {shorten(str(row.stopped), _WHY)}" for row in failed[:_FAILED]]
        if len(failed) > _FAILED:
            facts.append(f"failed   {len(failed) - _FAILED} more, in {self.group / 'sweep.csv'}")
        if self.answering > 1:
            facts.append(f"together fitwell ensemble {self.group} --select greedy")
        if self.page is not None:
            facts.append(f"page     {self.page}")
        parts.append("\n".join(facts))
        parts.append(OPTIMISTIC)
        return "\n\n".join(parts)


OPTIMISTIC = (
    "The best validation score is optimistic, since it was chosen for being the best;"
    " the test score was not."
)


def best_row(trial: TrialResult, mode: str) -> Row:
    """Give the best member of a trial; of equal ones the first.

    Args:
        trial: With its members.
        mode: Whether ``min`` or ``max`` of the metric is best.
    """
    known = [row for row in trial.rows if row.valid is not None]
    best = min if mode == "min" else max
    return best(known, key=lambda row: row.valid or 0.0) if known else trial.rows[0]


def _differs(name: str, trial: TrialResult) -> bool:
    """Say whether the members of a trial differ in a setting."""
    return len({row.values.get(name) for row in trial.rows}) > 1


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return shorten(f"{value:.4g}" if isinstance(value, float) else str(value), _CELL)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
