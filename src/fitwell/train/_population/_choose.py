"""Whether members are trained as a stack or alone: both are tried, and the faster one is taken."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

from ...core.errors import UsageError
from .._memory import available_memory
from .._objective import batch_length
from ._alike import signature
from ._member import Member
from ._stack import Alone
from ._trial import REFUSALS, STEPS, Tried, as_before, copied, said, time_of, try_stack

SHARE = 0.25
"""Share of the free memory that a stack may take."""

SHARE_OF_TIME = 0.03
"""Share of the time of a training that trying stacks may take."""

_SHORT = 0.15  # seconds that trying may always take
_FEW = 4  # members of the small stack
_TRIAL_STEPS = 15  # what trying it costs, in steps of its members
_SOLITARY = "the objective, the optimizer, hooks or shared parameters need each model alone"
_CLEARLY = 1.05  # a stack that is less faster than this is not worth its trouble


@final
@dataclass(frozen=True)
class Choice:
    """How members of one architecture are trained.

    Args:
        size: Members of a stack; 1 trains them alone.
        seconds: Seconds of a step of one member, by the size of the stack it is in.
        reason: Why there are no stacks, or empty.
        ways: How each convolution of a stack is done, by its name.
        idle: Names of parameters that get no gradient.
    """

    size: int
    seconds: dict[int, float] = field(default_factory=dict)
    reason: str = ""
    ways: dict[str, str] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()

    @property
    def speedup(self) -> float:
        """How much faster a member's step is than alone."""
        tried = max((size for size in self.seconds if size <= self.size), default=1)
        return self.seconds[1] / self.seconds[tried] if self.seconds else 1.0

    def __str__(self) -> str:
        if self.size == 1:
            return f"one after the other ({self.reason or 'a stack is no faster'})"
        return f"stacks of up to {self.size}, {self.speedup:.1f} x one after the other"

    def covers(self, count: int) -> bool:
        """Say whether it is known what is fastest for so many members.

        Args:
            count: Members that are left.
        """
        tried = [size for size in self.seconds if size > 1]
        return not tried or count >= min(tried) / 2 or count == 1

    def cut(self, members: Sequence[Member]) -> list[list[Member]]:
        """Give the members by stack, all of about one size.

        Args:
            members: Of the architecture.
        """
        count = -(-len(members) // self.size)
        even = -(-len(members) // count)  # 21 members in stacks of 20 are 11 and 10
        return [list(members[i : i + even]) for i in range(0, len(members), even)]


def choose(members: Sequence[Member]) -> Choice:
    """Try a small stack and a large one on the members, and give the fastest way that is right.

    A stack whose losses and gradients are not those of its members alone is not taken. Trying
    takes a few hundredths of the training at most; where that is too short to try anything,
    members train alone. Members, their data and torch's random numbers stay as they are.

    Args:
        members: That may be stacked by their signature.
    """
    if signature(members[0]) is None:
        return Choice(1, reason=_SOLITARY)
    if len(members) == 1:
        return Choice(1, reason="no other member is like it")
    with as_before(members) as batches:
        try:
            (twin,) = copied(members[:1])
        except REFUSALS as err:
            return Choice(1, reason=f"a model cannot be copied: {said(err)}")
        twin.model.train()
        step = time_of(functools.partial(Alone(twin).step, batches[0]), 4 * STEPS)
        left = sum(member.total_steps - member.step for member in members) * step
        allowed = max(_SHORT, SHARE_OF_TIME * left)
        fitting = min(len(members), _fitting(members, batches[0]))
        seconds, few = {1: step}, min(fitting, _FEW)
        if few == 1:
            return Choice(1, seconds, "memory holds no two of them")
        if _TRIAL_STEPS * few * step > allowed:
            return Choice(1, seconds, "too short to try a stack")
        tried = try_stack(members[:few], batches[:few])
        if isinstance(tried, str):
            return Choice(1, seconds, tried)
        seconds[few] = tried.seconds / few
        for size in _sizes(fitting, few):
            if (STEPS + 1) * size * step > allowed:
                continue
            more = try_stack(members[:size], batches[:size], tried)
            if isinstance(more, str):
                return Choice(1, seconds, more)
            seconds[size] = more.seconds / size
    best = min(seconds, key=seconds.__getitem__)
    if best > 1 and seconds[best] * _CLEARLY > step:
        best = 1
    # Larger ones than were tried are as fast, as long as memory holds them.
    size = fitting if best == max(seconds) else best
    return Choice(size if best > 1 else 1, seconds, "", tried.ways, tried.idle)


def insist(members: Sequence[Member], size: int) -> Choice:
    """Take stacks of a size, whether they are faster or not.

    Args:
        members: That may be stacked by their signature.
        size: Members of a stack.

    Raises:
        UsageError: The members cannot be stacked.
    """
    tried: str | Tried = _SOLITARY
    if all(signature(member) is not None for member in members):
        with as_before(members) as batches:
            tried = try_stack(members[:size], batches[:size])
    if isinstance(tried, str):
        raise UsageError(
            f"Population: `stack` must be 1 or 'auto' for these members; got {size}: {tried}."
        )
    return Choice(size, {}, "", tried.ways, tried.idle)


def _sizes(most: int, tried: int) -> list[int]:
    """Give sizes to try: the largest, and for many members one that needs less memory at once."""
    return sorted(
        {size for size in (most // 4, most) if size > 3 * tried or size == most} - {tried}
    )


def _fitting(members: Sequence[Member], batch: Any) -> int:
    """Give how many members' numbers, gradients, moments and activations fit into free memory."""
    weights = sum(p.numel() * p.element_size() for p in members[0].model.parameters())
    inputs = batch[0].nbytes if isinstance(batch[0], Tensor) else batch_length(batch)
    each = 6 * weights + 200 * inputs
    free = available_memory()
    return len(members) if free is None else max(1, int(SHARE * free / max(each, 1)))
