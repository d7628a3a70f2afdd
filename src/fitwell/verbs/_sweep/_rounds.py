"""The rounds of a sweep: draw trials, train those that are not there yet together, tell."""

from __future__ import annotations

import copy
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, final

from torch import nn

from ...core.errors import FitwellError, MissingExtra, RunError, UsageError
from ...core.groups import is_group
from ...core.runs import RUN_FILE, is_run, read_run
from ...tasks import Source
from ...train import Run
from .._choose import settings_of
from .._session import Session
from .._several._group import Group
from .._several._members import Launch, with_own_models
from .._several._together import Variation, data_for, sessions, train_together
from ._failures import reason_of, try_alone
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
        failed: Why members could not be trained, by name; grows.
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
    failed: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _errors(self) -> dict[str, Exception]:
        """What was raised by members that could not be trained."""
        return {}

    @cached_property
    def group(self) -> Group:
        """The group, which is made once there is a member that can be trained."""
        return self.begin()

    def note(self, **facts: Any) -> None:
        """Change entries of ``group.json``, if the group has been made.

        Args:
            facts: The new entries.
        """
        if "group" in vars(self):
            self.group.update(**facts)

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

    def own_model(self, name: str) -> Any:
        """Give the model of a member that is not written down as a text; None if it is.

        Args:
            name: Of the member.
        """
        (member,) = [one for one in self.members if one.name == name]
        model = member.settings.get("model", self.given["model"])
        return None if isinstance(model, str) else model

    def rows(self) -> list[Row]:
        """Give what has become of the members, in their order."""
        return [self._row(member) for member in self.members]

    def _row(self, member: Member) -> Row:
        failed = self.failed.get(member.name)
        return read_row(member, self.folder(member.name), self.base[0], failed)

    def results(self) -> tuple[TrialResult, ...]:
        """Give the trials, best first."""
        return trials_of(self.rows(), self.base[1])

    def go(self, trials: float, together: int) -> None:
        """Draw and train, round by round.

        Args:
            trials: How many at most; those that are trained already stay in any case.
            together: How many in a round.

        Raises:
            UsageError: No trial can be trained; nothing was written.
        """
        if is_group(self.place):
            self.group.update(status="running", failed={})
        trials = max(trials, self._trained())
        draws = self.method.begin(self.space, self.seed, self.base[1])
        done = 0
        while done < trials:
            drawn = draws.next(int(min(together, trials - done)))
            if not drawn:
                break
            self._round(range(done, done + len(drawn)), drawn)
            self._tell(draws, range(done, done + len(drawn)))
            done += len(drawn)
        if self.failed and "group" not in vars(self):
            raise self._nothing_fits()

    def _trained(self) -> int:
        """Give how many trials there must be for none that is trained to be left out."""
        found = [
            int(run.parent.name.split("-")[1]) + 1
            for run in self.place.glob(f"members/trial-*/{RUN_FILE}")
            if is_done(run.parent)
        ]
        return max(found, default=0)

    def _nothing_fits(self) -> Exception:
        """Give the error of a sweep of which nothing can be trained."""
        names = {member.name: member for member in self.members}
        name, reason = next(iter(self.failed.items()))
        error = self._errors[name]
        kind = type(error) if isinstance(error, FitwellError) else UsageError
        which = "the only trial" if len(names) == 1 else f"none of {len(names)} members"
        how = "cannot" if len(names) == 1 else "can"
        made = kind(f"sweep: {which} {how} be trained; {names[name]}: {reason}")
        made.__cause__ = error
        return made

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
        ready, errors = self._sessions(waiting)
        for member in waiting:
            if member.name in errors:
                self._errors[member.name] = errors[member.name]
                self._fail(member, reason_of(errors[member.name]))
        if ready:
            self.group.update(status="running", failed=self.failed)
        left = [member for member in waiting if member.name in ready]
        while left:
            settled = [ready[member.name] for member in left]
            alone = isinstance(self.stop, Never)
            watch = None if alone else self._watcher(left, trials, settled)
            try:
                train_together(settled, watch=watch, **vars(self.launch))
                return
            except (OSError, RunError, MissingExtra):
                raise  # not of a member
            except Exception as err:
                traceback.clear_frames(err.__traceback__)  # they hold the models
                left = self._without_failed(left, ready, err)

    def _without_failed(
        self, members: Sequence[Member], ready: Mapping[str, Session], err: Exception
    ) -> list[Member]:
        """Find the members that an error comes from, and give those that are to go on.

        Args:
            members: Those that were trained together.
            ready: The members as sessions.
            err: What was raised.

        Raises:
            Exception: The error, if no member by itself is its cause.
        """
        left = [member for member in members if not is_done(self.folder(member.name))]
        reasons = {member.name: try_alone(ready[member.name]) for member in left}
        if len(left) == 1:
            reasons[left[0].name] = reasons[left[0].name] or reason_of(err)
        if not any(reasons.values()):
            raise err
        for member in left:
            reason = reasons[member.name]
            if reason is not None:
                self._errors[member.name] = err
                self._fail(member, reason)
        return [member for member in left if reasons[member.name] is None]

    def _fail(self, member: Member, reason: str) -> None:
        """Take a member out, and write down why."""
        self.failed[member.name] = reason
        if is_run(self.folder(member.name)):
            Run.open(self.folder(member.name)).update(status="failed", error=reason, stopped=None)
        self.note(failed=self.failed)
        if not self.launch.quiet:
            print(f"sweep: {member} failed: {reason}", file=sys.stderr)

    def _sessions(
        self, members: Sequence[Member]
    ) -> tuple[dict[str, Session], dict[str, Exception]]:
        """Settle the members' settings, reading the data once for those that share it.

        Args:
            members: The members.

        Returns:
            The sessions by name, and what is wrong with the members that have none.
        """
        found: dict[str, Session] = {}
        errors: dict[str, Exception] = {}
        for own, group in self._by_data(members):
            try:
                given = {**self.given, **own}
                data = data_for(given) if own else self.data
            except FitwellError as err:
                errors |= {member.name: err for member in group}
                continue
            for member in group:
                try:
                    (found[member.name],) = sessions(
                        given, data, self._variation(member, own), self.place
                    )
                except Exception as err:  # of the user's own code too
                    errors[member.name] = err
        return found, errors

    def _variation(self, member: Member, own: Mapping[str, Any]) -> list[Variation]:
        settings = {
            name: copy.deepcopy(value) if isinstance(value, nn.Module) else value
            for name, value in member.settings.items()
            if name not in own
        }
        facts = {"sweep": {"trial": member.trial, "values": dict(member.values)}}
        varied = Variation(name=member.name, settings=settings, facts=facts)
        return with_own_models([varied], self.given["model"])

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
        for member in self.members:
            if member.name in self.failed and member not in trained:
                never: Curve = dict.fromkeys(range(1, last + 1))
                curves.setdefault(member.trial, []).append(never)
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
            ready, errors = self._sessions(waiting)
            for error in errors.values():
                raise error
            train_together([ready[one.name] for one in waiting], **vars(self.launch))
        return [self._row(one) for one in again]

    def with_weights(self, names: Sequence[str]) -> list[str]:
        """Give the members whose weights have not been removed.

        Args:
            names: Of members.
        """
        return [name for name in names if (self.folder(name) / "model.safetensors").is_file()]

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
