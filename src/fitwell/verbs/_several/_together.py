"""Train several runs together: the members of a fold, an ensemble or a sweep.

Every member is an ordinary run in ``GROUP/members/NAME`` with weights, metrics and a manifest of
its own, so that all verbs that take a run take it too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, final

from ...core.errors import UsageError
from ...data import Splits
from ...tasks import Source
from ...train import EarlyStopping, Member, Population, Run
from .._measure import measure
from .._prepare import as_member, begin, defaults, prepare, read_data
from .._session import Session
from ._bar import Bar
from ._scale import spread


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
    members: Sequence[Session],
    *,
    watch: Watch | None = None,
    workers: int = 1,
    cluster: str | None = None,
    quiet: bool = False,
) -> list[Run]:
    """Train the members side by side and measure each; give their runs.

    Those that are finished already stay as they are. One whose loss became infinite ends as
    failed, and the others go on.

    Args:
        members: From `sessions`.
        watch: Called after each epoch of all members that still train; in this process only.
        workers: Processes that each train a part of them.
        cluster: Address of a Ray cluster to start the processes on; None is this machine.
        quiet: Show no progress.

    Raises:
        UsageError: A setting is only for a training of its own, or does not go with `workers`.
        KeyboardInterrupt: The user stopped it; what is not finished starts anew next time.
    """
    if workers < 1:
        raise UsageError(f"train_together: `workers` must be at least 1; got {workers}.")
    for session in members:
        _check(session)
    runs = [_begun(session) for session in members]
    waiting = [
        (replace(session, run=run), run)
        for session, run in zip(members, runs, strict=True)
        if run.status != "finished"
    ]
    if waiting and (workers > 1 or cluster is not None):
        if watch is not None:
            raise UsageError(
                f"train_together: `workers` must be 1 where members are compared after every epoch;"
                f" got {workers}. Leave it out, or take another method."
            )
        parts = [session for session, _ in waiting]
        spread(parts, train_together, workers=workers, cluster=cluster, quiet=quiet)
        return [_opened(run) for run in runs]
    with contextlib.ExitStack() as held:
        for _, run in waiting:
            held.enter_context(run.locked())
        trainings = [_Training(session) for session, _ in waiting]
        if trainings:
            _fit(trainings, watch, quiet)
    return runs


def _opened(run: Run) -> Run:
    """Give a run as another process has left it."""
    opened = Run.open(run.folder)
    opened.task, opened.own_model = run.task, run.own_model
    return opened


def _begun(session: Session) -> Run:
    run = Run(session.run.folder, begin(session, resume=True))
    run.task = session.task
    run.own_model = session.choice if session.run.settings.model.own else None
    return run


@final
class _Training:
    """A session as a member of a population."""

    def __init__(self, session: Session) -> None:
        run, chosen = session.run, session.run.settings.optimization
        self.session, self.run = session, run
        mode = run.manifest["best_mode"]
        self.best = EarlyStopping(run.settings.loss.metric, mode, chosen.patience)
        run.rewind(0)
        self.member = as_member(session, [_EpochLog(run), self.best])
        run.update(status="running", error=None, machine=session.machine())

    def finish(self) -> None:
        """Keep the best weights, and measure them."""
        stopped = self.member.history.stopped
        if stopped is not None and stopped.startswith("the loss became"):
            self.run.update(status="failed", error=f"TrainingError: {stopped}")
            return
        self.best.restore(self.member)  # type: ignore[arg-type]  # it has what is asked for
        self.run.save_model(self.member.model.state_dict())
        session = self.session
        measure(self.run, session.task, session.splits, self.member, self.best.best_epoch)
        self.run.update(status="finished", stopped=stopped)


_ALONE = {
    "max_steps": None,
    "accumulate": 1,
    "average": "none",
    "compiled": False,
    "unfreeze_every": None,
    "recompute": False,
}
"""Settings that only a training of its own can have, and their values for members."""


def _check(session: Session) -> None:
    chosen = session.run.settings.optimization
    for name, usual in _ALONE.items():
        if getattr(chosen, name) != usual:
            raise UsageError(
                f"{session.run.folder}: `{name}` must be {usual} where several models are trained"
                f" together; got {getattr(chosen, name)}. Use fitwell train for it."
            )


@final
class _EpochLog:
    """Write the metrics of every epoch to ``metrics.jsonl``."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def on_epoch(self, member: Member) -> None:
        """Write the epoch."""
        self._run.append({"kind": "epoch", **member.history.epochs[-1]})


def _fit(trainings: Sequence[_Training], watch: Watch | None, quiet: bool) -> None:
    population = Population([training.member for training in trainings])
    bar = Bar(quiet)

    def after_epoch(progress: Population) -> None:
        if watch is not None:
            watch(progress)
        bar.show(progress)

    def ended(number: int) -> None:
        trainings[number].finish()  # at once, so that an interruption does not cost it

    try:
        population.fit(after_epoch, ended=ended, side_by_side=watch is not None)
    except BaseException as err:
        for training in trainings:
            if training.run.status == "running":
                training.run.update(status="stopped", stopped=f"stopped by {type(err).__name__}")
        raise
    finally:
        bar.close()
