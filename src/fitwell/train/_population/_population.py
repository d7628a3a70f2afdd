"""Trainings that go on together: stacked where that is faster, and equal to each alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

from ...core.errors import UsageError
from .._history import History
from ._alike import signature
from ._choose import Choice, choose, insist
from ._member import Member
from ._stack import Alone, Stack, Unit


@final
class Population:
    """Train K models as one stacked program: folds, seeds, an ensemble, trials of a sweep.

    Each member has a seed, data, and settings of its own, such as rate, weight decay, dropout
    probability and label smoothing, and ends where it would have ended in a `Trainer`, up to
    rounding: noise comes from a stream per member, whatever stack it is in. Members of one
    architecture and batch size become one program: dense layers a batched product, convolutions
    what is fastest for their sizes, the update one kernel over all rows. A stack is tried on copies
    first, and taken only if its gradients are right and its steps faster.

    All members go through their epochs side by side. One that is stopped leaves the stack, and its
    model is an ordinary module throughout.

        population = Population([Member(model=..., objective=..., optimizer=..., train=...), ...])
        histories = population.fit()

    Args:
        members: The trainings.
        stack: Members in a stack, whether that is faster or not; ``auto`` measures what is fastest,
            1 trains one after the other.

    Raises:
        UsageError: There are no members, two share a model, or `fit` cannot make the stacks that
            are insisted on.

    Source: paszke2019pytorch, the model ensembling of `torch.func`, written as batched layers.
    Reduces to: `Trainer` for one member.
    Checked against: `Trainer` for each member: batch norm, dropout, convolutions, rates of their
        own, clipping, early stopping; float64 to 1e-9.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        stack: int | Literal["auto"] = "auto",
    ) -> None:
        if not members:
            raise UsageError("Population: `members` must be at least one; got none.")
        if len({id(member.model) for member in members}) < len(members):
            raise UsageError(
                "Population: `members` must have models of their own; got one twice. Build each."
            )
        if stack != "auto" and stack < 1:
            raise UsageError(f"Population: `stack` must be at least 1; got {stack}. Use 'auto'.")
        self.members = list(members)
        self.epoch = 0  # of the members that go on
        self.choices: dict[tuple[int, ...], Choice] = {}
        self._stack = stack

    @property
    def active(self) -> list[int]:
        """Numbers of the members that still train."""
        return [number for number, member in enumerate(self.members) if not member.done]

    def last(self, member: int) -> Mapping[str, Any]:
        """Give the newest record of a member.

        Args:
            member: Its number, from 0.
        """
        return self.members[member].history.epochs[-1]

    def stop(self, member: int, reason: str) -> None:
        """Take a member out; it keeps what it has learned.

        Args:
            member: Its number, from 0.
            reason: Why, in a few words.
        """
        self.members[member].stop(reason)

    def fit(
        self,
        watch: Callable[[Population], None] | None = None,
        *,
        ended: Callable[[int], None] | None = None,
        side_by_side: bool = True,
    ) -> list[History]:
        """Train all members to their end; give their histories.

        Args:
            watch: Called after every epoch of all that still train; it may stop members.
            ended: Called with the number of each member that is done, once its model is its own.
            side_by_side: Members that train alone take an epoch each in turn; else each goes to
                its end, and `watch` is called after that.

        Raises:
            UsageError: No member has epochs left, or stacks that are insisted on cannot be made.
        """
        if not self.active:
            raise UsageError("Population: `members` must have epochs left to train; got none.")
        told: set[int] = set()
        units: list[Unit] = []
        for member in self.members:
            member.notify("on_fit_start")
        try:
            kinds = self._kinds()
            while self.active:
                self._arrange(kinds, units)
                for unit in units:
                    unit.run_epoch()
                    while isinstance(unit, Alone) and not (side_by_side or unit.members[0].done):
                        unit.run_epoch()
                self.epoch = max(member.epoch for member in self.members)
                if watch is not None:
                    watch(self)
                self._let_go(units)
                self._tell(ended, told)
        finally:
            with contextlib.ExitStack() as releases:
                for unit in units:
                    releases.callback(unit.release)
            for member in self.members:
                member.notify("on_fit_end")
        return [member.history for member in self.members]

    def _tell(self, ended: Callable[[int], None] | None, told: set[int]) -> None:
        for number, member in enumerate(self.members):
            if member.done and number not in told:
                told.add(number)
                if ended is not None:
                    ended(number)

    def _kinds(self) -> list[tuple[list[int], Choice]]:
        """Give the members by architecture, and how those of each are trained."""
        found: dict[Any, list[int]] = {}
        for number in self.active:
            member = self.members[number]
            kind = signature(member)
            found.setdefault(number if kind is None else kind, []).append(number)
        kinds = []
        for numbers in found.values():
            some = [self.members[number] for number in numbers]
            if self._stack == 1:
                choice = Choice(1, reason="as asked for")
            elif self._stack == "auto":
                choice = choose(some)
            else:
                choice = insist(some, self._stack)
            self.choices[tuple(numbers)] = choice
            kinds.append((numbers, choice))
        return kinds

    def _let_go(self, units: list[Unit]) -> None:
        """Dissolve the stacks that somebody has left."""
        for unit in [unit for unit in units if any(member.done for member in unit.members)]:
            units.remove(unit)
            unit.release()

    def _arrange(self, kinds: list[tuple[list[int], Choice]], units: list[Unit]) -> None:
        """Put those that still train, and are in no stack, into stacks."""
        placed = {id(member) for unit in units for member in unit.members}
        for place, (numbers, choice) in enumerate(kinds):
            left = [self.members[n] for n in numbers if not self.members[n].done]
            left = [member for member in left if id(member) not in placed]
            if left and self._stack == "auto" and not choice.covers(len(left)):
                choice = choose(left)  # what was faster for many need not be so for few
                kinds[place] = (numbers, choice)
            for part in choice.cut(left) if left else ():
                units.append(self._unit(part, choice))

    def _unit(self, members: list[Member], choice: Choice) -> Unit:
        if len(members) == 1:
            return Alone(members[0])
        made = Stack(members, choice.idle)
        made.use(choice.ways)
        return made
