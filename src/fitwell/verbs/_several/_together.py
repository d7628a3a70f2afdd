"""Train several runs together: the members of a fold, an ensemble or a sweep.

Every member is an ordinary run in ``GROUP/members/NAME`` with weights, metrics and a manifest of
its own, so that all verbs that take a run take it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, final

from ...data import Splits
from ...tasks import Source
from ...train import Run
from .._prepare import begin, defaults, prepare, read_data
from .._session import Session


class Progress(Protocol):
    """What a watcher sees of trainings that go on together, after each epoch of all of them."""

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        ...

    @property
    def active(self) -> Sequence[int]:
        """Numbers of the members that still train."""
        ...

    def last(self, member: int) -> Mapping[str, Any]:
        """Give the newest record of a member: ``{"epoch", "train", "valid", "lr", ...}``.

        Args:
            member: Its number, from 0.
        """
        ...

    def stop(self, member: int, reason: str) -> None:
        """Take a member out after this epoch; it keeps its best weights.

        Args:
            member: Its number, from 0.
            reason: Why, in a few words.
        """
        ...


Watch = Callable[[Progress], None]


@final
@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a member differs from the others.

    Args:
        name: Of the member's folder, such as ``fold-1``.
        settings: Arguments of `train` that differ.
        splits: Parts of the data of its own; None takes those of all.
        facts: What ``run.json`` is to say of it besides.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    splits: Splits | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def arguments(source: Any, path: str | Path | None, training: Mapping[str, Any]) -> dict[str, Any]:
    """Give all arguments of `train`: those that were given, and the defaults of the others.

    A folder that is a run stands for its settings and data.

    Args:
        source: As for `train`, or a run.
        path: As for `train`.
        training: Further arguments of `train`.
    """
    given = {**defaults(), **training, "source": source, "path": path, "report": False}
    if path is None and _is_run(source):
        folder = source.folder if isinstance(source, Run) else source
        given |= {"source": None, "like": folder}
    return given


def _is_run(source: Any) -> bool:
    if isinstance(source, Run):
        return True
    return isinstance(source, (str, Path)) and (Path(source) / "run.json").exists()


def data_for(given: dict[str, Any]) -> Source:
    """Read the data that all members learn from.

    Args:
        given: From `arguments`.
    """
    old = None if given["like"] is None else Run.open(given["like"]).settings
    return read_data(given, old)


def sessions(
    given: dict[str, Any], data: Source, variations: Sequence[Variation], folder: Path
) -> list[Session]:
    """Settle the members' settings; nothing is written.

    Args:
        given: From `arguments`.
        data: From `data_for`.
        variations: How the members differ.
        folder: Of the group.

    Raises:
        UsageError: An argument does not fit.
    """
    made = []
    for variation in variations:
        own = data if variation.splits is None else replace(data, splits=variation.splits)
        place = folder / "members" / variation.name
        session = prepare({**given, **variation.settings, "run": place, "quiet": True}, data=own)
        made.append(session.with_facts(member=variation.name, **variation.facts))
    return made


def train_together(
    members: Sequence[Session], *, watch: Watch | None = None, quiet: bool = False
) -> list[Run]:
    """Train the members and measure each; give their runs.

    Args:
        members: From `sessions`.
        watch: Called after each epoch of all members that still train.
        quiet: Show no progress.
    """
    del watch, quiet
    runs = []
    for session in members:
        run = Run(session.run.folder, begin(session, resume=True))
        run.task = session.task
        runs.append(replace(session, run=run).execute())
    return runs
