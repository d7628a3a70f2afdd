"""What watching costs: the time between steps is the training's, and what is left is ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from ._sampler import Sampler


@final
class Account:
    """Keeps the books of a sampler by the clock.

    Args:
        sampler: Whose books they are.
        clock: Seconds.
    """

    def __init__(self, sampler: Sampler, clock: Callable[[], float]) -> None:
        self.sampler = sampler
        self.clock = clock
        self.left = clock()  # when the last call ended
        self._own = 0.0  # seconds of an ordinary call
        self._spent = 0.0  # on the look at hand
        self._pace = 0.0  # seconds of a step

    def enter(self, steps: int, hooks: float) -> float:
        """Begin a call, and give the time.

        Args:
            steps: Taken since the last one.
            hooks: Seconds that hooks took meanwhile.
        """
        entered = self.clock()
        passed = entered - self.left - hooks
        self._pace = passed / steps
        self.sampler.passed(passed, self._own, steps)
        return entered

    def leave(self, entered: float) -> int:
        """End an ordinary call; give how many steps need none.

        Args:
            entered: When it began.
        """
        self.left = self.clock()
        own, most = self.left - entered, 2 * self._own + 1e-6
        self._own = own if own < most else most  # a busy machine is not our cost
        return self.sampler.rest(self._pace, self._own)

    def leave_look(self, entered: float, hooks: float, *, over: bool) -> None:
        """End a call with a look before or after it.

        Args:
            entered: When it began.
            hooks: Seconds that hooks took before it.
            over: Pay: the look is over, or what follows is its second step.
        """
        self.left = self.clock()
        self._spent += self.left - entered + hooks
        if over:
            self.sampler.looked(self._spent)
            self._spent = 0.0

    def settle(self, steps: int) -> None:
        """Pay for steps that were put aside, at the pace of those that were counted.

        Args:
            steps: How many.
        """
        if steps:
            self.sampler.passed(steps * self._pace, self._own, steps)

    def skip(self) -> None:
        """Leave out the time since the last call."""
        self.left = self.clock()
