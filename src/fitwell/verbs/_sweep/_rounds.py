"""The rounds of a sweep: draw trials, train those that are not there yet together, tell."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, final

from ...core.groups import is_group
from ...core.runs import is_run, read_run
from ...tasks import Source
from ...train import Run
from .._choose import settings_of
from .._session import Session
from .._several._group import Group
from .._several._members import Launch, with_own_models
from .._several._together import Variation, data_for, sessions, train_together
from ._methods import Draws, Method, Trial
from ._rows import Member, Row, TrialResult, is_done, read_row, trials_of
from ._space import Space
from ._stops import Never, Rung, Stop
from ._watch import FELL_SHORT, Curve, Watcher, carry_on, curve_of

READ_ANEW: Final = ("ignore", "image_size", "channels", "split", "split_by", "split_seed")
"""Options that change the data."""


@final
@dataclass(frozen=True, kw_only=True)
class Rounds:
    """A sweep under way.

    Args:
        place: Its folder.
        begin: Makes the group there, or finds it.
        given: Arguments of `train` that all members share.
        data: What they learn from.
        space: What they differ in.
        method: How settings are chosen.
        stop: Which trials end early.
        seed: Of the draw.
        launch: Where members are trained.
        members: All that have been drawn; grows.
        rungs: What has been decided, by round; grows.
    """

    place: Path
    begin: Callable[[], Group]
    given: dict[str, Any]
    data: Source
    space: Space
    method: Method
    stop: Stop
    seed: int
    launch: Launch
    members: list[Member] = field(default_factory=list)
    rungs: list[list[Rung]] = field(default_factory=list)

    @cached_property
    def group(self) -> Group:
        """The group, which is made once the settings of the first round have been settled."""
        return self.begin()

    @cached_property
    def base(self) -> tuple[str, Literal["min", "max"]]:
        """The metric that is compared, and whether less or more of it is best."""
        given = {**self.given, "workers": 1}
        if given["batch_size"] == "auto":
            given["batch_size"] = None
        old = None if given["like"] is None else Run.open(given["like"]).settings
        settings, _, mode = settings_of(given, self.data, old)
        return settings.loss.metric, mode

    def folder(self, name: str) -> Path:
        """Give the folder of a member.

        Args:
            name: Of the member.
        """
        return self.place / "members" / name

    def rows(self) -> list[Row]:
        """Give what has become of the members, in their order."""
        return [read_row(member, self.folder(member.name), self.base[0]) for member in self.members]

    def results(self) -> tuple[TrialResult, ...]:
        """Give the trials, best first."""
        return trials_of(self.rows(), self.base[1])

    def go(self, trials: float, together: int) -> None:
        """Draw and train, round by round.

        Args:
            trials: How many at most.
            together: How many in a round.

        Raises:
            UsageError: A setting does not fit.
        """
        if is_group(self.place):
            self.group.update(status="running")
        draws = self.method.begin(self.space, self.seed, self.base[1])
        done = 0
        while done < trials:
            drawn = draws.next(int(min(together, trials - done)))
            if not drawn:
                break
            self._round(range(done, done + len(drawn)), drawn)
            self._tell(draws, range(done, done + len(drawn)))
            done += len(drawn)

    def _tell(self, draws: Draws, trials: Sequence[int]) -> None:
        reached = {result.trial: result.valid for result in self.results()}
        for trial in trials:
            draws.tell(trial, reached[trial])

    def _round(self, numbers: Sequence[int], drawn: Sequence[Trial]) -> None:
        fresh = [
            Member(
                name=f"trial-{number:03d}" + (f"-{place}" if len(trial) > 1 else ""),
                trial=number,
                values=point.values,
                settings=point.settings,
            )
            for number, trial in zip(numbers, drawn, strict=True)
            for place, point in enumerate(trial)
        ]
        self.members.extend(fresh)
        open_ones = [member for member in fresh if not is_done(self.folder(member.name))]
        if open_ones and not self.launch.quiet:
            which = f"trials {numbers[0]} to {numbers[-1]}"
            todo = f"{len(open_ones)} of {len(fresh)} members to train"
            print(f"sweep: {which}: {todo}", file=sys.stderr)
        if open_ones:
            self._train(open_ones, numbers)
        self.rungs.append(self._watcher([], numbers).rungs())

    def _train(self, waiting: Sequence[Member], trials: Sequence[int]) -> None:
        ready = self._sessions(waiting)
        watch = None if isinstance(self.stop, Never) else self._watcher(waiting, trials, ready)
        self.group.update(status="running")
        train_together(ready, watch=watch, **vars(self.launch))

    def _sessions(self, members: Sequence[Member]) -> list[Session]:
        """Settle the members' settings; those that share their data are settled together."""
        found: dict[str, Session] = {}
        for own, group in self._by_data(members):
            given = {**self.given, **own}
            data = data_for(given) if own else self.data
            variations = [
                Variation(
                    name=member.name,
                    settings={k: v for k, v in member.settings.items() if k not in own},
                    facts={"sweep": {"trial": member.trial, "values": dict(member.values)}},
                )
                for member in group
            ]
            variations = with_own_models(variations, given["model"])
            made = sessions(given, data, variations, self.place)
            found |= {member.name: one for member, one in zip(group, made, strict=True)}
        return [found[member.name] for member in members]

    def _by_data(self, members: Sequence[Member]) -> list[tuple[Mapping[str, Any], list[Member]]]:
        groups: dict[str, tuple[Mapping[str, Any], list[Member]]] = {}
        for member in members:
            own = {k: v for k, v in member.settings.items() if k in READ_ANEW}
            groups.setdefault(str(own), (own, []))[1].append(member)
        return list(groups.values())

    def _watcher(
        self, waiting: Sequence[Member], trials: Sequence[int], ready: Sequence[Session] = ()
    ) -> Watcher:
        """Watch members, beside all that have been trained before.

        Args:
            waiting: Those that are to be trained.
            trials: Numbers of the trials of their round.
            ready: The members as sessions.
        """
        names = {member.name for member in waiting}
        trained = [m for m in self.members if m.name not in names and is_run(self.folder(m.name))]
        settings = [session.run.settings for session in ready]
        settings += [Run.open(self.folder(member.name)).settings for member in trained]
        last = max((one.optimization.epochs or 1 for one in settings), default=1) - 1
        curves: dict[int, list[Curve]] = {}
        for member in trained:
            curves.setdefault(member.trial, []).append(self._curve(member, last))
        metric, mode = self.base
        return Watcher(
            self.stop,
            trials=[member.trial for member in waiting],
            others=curves,
            round_of=trials,
            metric=metric,
            mode=mode,
            last=last,
        )

    def _curve(self, member: Member, last: int) -> Curve:
        """Read what a member has completed; that stands for later epochs if it ended by itself."""
        files = read_run(self.folder(member.name), owner="sweep")
        curve: dict[int, float | None] = dict(curve_of(files.epochs, *self.base))
        if files.run.get("status") == "failed":
            curve[max(curve, default=0) + 1] = None
        if not str(files.run.get("stopped") or "").startswith(FELL_SHORT):
            carry_on(curve, last)
        return curve

    def refit(self, best: Row, seeds: int) -> list[Row]:
        """Train the settings of the best member again with seeds that no member had.

        Args:
            best: The best member.
            seeds: How many.
        """
        (member,) = [one for one in self.members if one.name == best.member]
        trained = [one for one in self.members if is_run(self.folder(one.name))]
        used = {Run.open(self.folder(one.name)).settings.optimization.seed for one in trained}
        free = [seed for seed in range(len(used) + seeds) if seed not in used][:seeds]
        again = [
            replace(
                member, name=f"refit-{seed}", trial=-1, settings={**member.settings, "seed": seed}
            )
            for seed in free
        ]
        waiting = [one for one in again if not is_done(self.folder(one.name))]
        if waiting:
            train_together(self._sessions(waiting), **vars(self.launch))
        return [read_row(one, self.folder(one.name), self.base[0]) for one in again]

    def list_members(self, names: Sequence[str], *, alone: bool) -> None:
        """Say which members can answer, for verbs that take the group.

        Args:
            names: Of the members that have a score.
            alone: Whether weights of all others are removed, for room on the disk.
        """
        self.group.list_members({name: self.folder(name) for name in names})
        if not alone:
            return
        for member in self.members:
            if member.name not in names:
                folder = self.folder(member.name)
                (folder / "model.safetensors").unlink(missing_ok=True)
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)
