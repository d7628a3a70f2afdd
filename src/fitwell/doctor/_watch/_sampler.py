"""When to look closely: as often as a share of the time allows."""

from __future__ import annotations

from typing import Final, final

NEAREST = 10
"""Steps between looks at least, where the budget alone decides."""

_COUNTING: Final = 8
"""Part of the budget that ordinary calls may take is one over this."""

_MOST_RESTS: Final = 15

_BRIEF: Final = 0.3
"""Time of a call at a step that is not counted, over that of an ordinary one."""


@final
class Sampler:
    """Decide at which steps to look, from what looking cost and what the training took.

    Training earns `budget` of its time, and a look may begin when no debt is left. The first look,
    which takes long since much happens for the first time, is charged a third. What a long pause
    earns is no more than one look.

    Args:
        budget: Share of the time of training that may be spent.
        every: Steps from look to look, whatever they cost; None leaves it to the budget.
    """

    def __init__(self, budget: float, every: int | None) -> None:
        self.budget = budget
        self.every = every
        self.training = 0.0  # seconds outside of the watch
        self.spent = 0.0  # seconds inside
        self.cost: float | None = None  # of a look
        self.urgent = False
        self._credit = 0.0
        self._since: int | None = None

    def passed(self, training: float, own: float, steps: int = 1) -> None:
        """Take in some steps.

        Args:
            training: Seconds from the end of the last call to the beginning of this one, without
                what hooks took.
            own: Seconds that an ordinary call takes.
            steps: How many.
        """
        own *= 1 + (steps - 1) * _BRIEF
        self.training += training
        self.spent += own
        earned = self.budget * training
        left = earned - own
        self._credit += left if left > earned / 4 else earned / 4  # calls never use up everything
        if self.cost is not None and self._credit > self.cost:
            self._credit = self.cost
        if self._since is not None:
            self._since += steps

    def rest(self, step: float, own: float) -> int:
        """Give how many steps may go by that are not counted one by one, as counting costs too.

        Args:
            step: Seconds that a step of the training takes.
            own: Seconds that an ordinary call takes.
        """
        if self.every is not None or not step > 0:
            return 0
        return min(_MOST_RESTS, int(_COUNTING * own / (self.budget * step)))

    def looked(self, cost: float) -> None:
        """Pay for a look.

        Args:
            cost: Seconds that it took.
        """
        self.spent += cost
        self._credit -= cost / 3 if self.cost is None else cost
        self.cost = cost if self.cost is None else min(cost, (self.cost + cost) / 2)

    def due(self) -> bool:
        """Say whether to look at the next step; if so, the count to the one after begins."""
        if self._since is None or self.urgent:
            due = True
        elif self.every is not None:
            due = self._since >= self.every
        else:
            due = self._since >= NEAREST and self._credit >= 0
        if due:
            self._since, self.urgent = 0, False
        return due

    @property
    def share(self) -> float:
        """Own time as a share of that of training; 0 before anything was timed."""
        return self.spent / self.training if self.training else 0.0
