"""Whether members are trained as a stack or alone: tried on copies, and the faster way is taken."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from .._memory import available_memory
from .._objective import batch_length
from .._state import random_state, restore_random
from ._convolutions import Conv
from ._feed import joined
from ._fold import own_noise
from ._member import Member
from ._stack import Alone, Stack, signature

SHARE = 0.25
"""Share of the free memory that a stack may take."""

_STEPS = 3
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
    """

    size: int
    seconds: dict[int, float] = field(default_factory=dict)
    reason: str = ""
    ways: dict[str, str] = field(default_factory=dict)

    @property
    def speedup(self) -> float:
        """How much faster a member's step is than alone."""
        return self.seconds[1] / self.seconds[self.size] if self.seconds else 1.0

    def __str__(self) -> str:
        if self.size == 1:
            return f"one after the other ({self.reason or 'a stack is no faster'})"
        return f"stacks of up to {self.size}, {self.speedup:.1f} x one after the other"

    def cut(self, members: Sequence[Member]) -> list[list[Member]]:
        """Give the members by stack; what is left over trains alone if that is faster.

        Args:
            members: Of the architecture.
        """
        size = self.size
        count = -(-len(members) // size)
        even = -(-len(members) // count)  # 21 members in stacks of 20 are 11 and 10
        parts = [list(members[i : i + even]) for i in range(0, len(members), even)]
        return [part for whole in parts for part in self._worth(whole)]

    def _worth(self, part: list[Member]) -> list[list[Member]]:
        known = [size for size in self.seconds if 1 < size <= len(part)]
        insisted = not self.seconds and len(part) > 1
        if insisted or (known and self.seconds[max(known)] * _CLEARLY < self.seconds[1]):
            return [part]
        return [[member] for member in part]


def choose(members: Sequence[Member]) -> Choice:
    """Try stacks of several sizes on copies of the members, and give the fastest that is right.

    A stack whose gradients are not those of its members alone is not taken. Members, their data
    and torch's random numbers stay as they are.

    Args:
        members: That may be stacked by their signature.
    """
    if signature(members[0]) is None:
        return Choice(1, reason="the objective or the optimizer needs each model alone")
    if len(members) == 1:
        return Choice(1, reason="a single member")
    with _as_before(members) as batches:
        (twin,) = _copied(members[:1])
        alone = Alone(twin)
        twin.model.train()
        seconds = {1: _time(lambda: alone.step(batches[0]), 4 * _STEPS)}
        best, ways = 1, dict[str, str]()
        for size in _sizes(min(len(members), _fitting(members, batches[0]))):
            tried = _tried(members[:size], batches, ways)
            if isinstance(tried, str):
                return Choice(1, seconds, tried)
            step = functools.partial(tried.step, joined(batches[:size], tried.fold))
            took = _time(step, _STEPS)
            seconds[size] = took / size
            if seconds[size] * _CLEARLY < seconds[best]:
                best = size
    return Choice(best, seconds, "", ways)


def insist(members: Sequence[Member], size: int) -> Choice:
    """Take stacks of a size, whether they are faster or not.

    Args:
        members: That may be stacked by their signature.
        size: Members of a stack.

    Raises:
        UsageError: The members cannot be stacked.
    """
    reason: str | Stack = "the objective or the optimizer needs each model alone"
    ways: dict[str, str] = {}
    if signature(members[0]) is not None:
        with _as_before(members) as batches:
            reason = _tried(members[:size], batches, ways)
    if isinstance(reason, str):
        raise UsageError(
            f"Population: `stack` must be 1 or 'auto' for these members; got {size}: {reason}."
        )
    return Choice(size, {}, "", ways)


@contextlib.contextmanager
def _as_before(members: Sequence[Member]) -> Iterator[list[Any]]:
    """Give the members' first batches, and put torch's random numbers back afterwards."""
    before = random_state()
    try:
        yield [_first_batch(member) for member in members]
    finally:
        restore_random(before)


def _tried(members: Sequence[Member], batches: Sequence[Any], ways: dict[str, str]) -> Stack | str:
    """Give a stack of copies whose gradients are right and whose ways are chosen, or what is not.

    Ways that are known from a stack before are tried again: what is best depends on the size.
    """
    size = len(members)
    try:
        trial = Stack(_copied(members))
        trial.module.train()
        if wrong := _difference(trial, members, batches[:size]):
            return wrong
        _choose_ways(trial, batches[:size], ways)
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError) as err:
        return f"it cannot be stacked: {str(err).splitlines()[0] if str(err) else repr(err)}"
    return trial


def _sizes(most: int) -> list[int]:
    """Give sizes to try: some small ones, since members may finish early, and the largest."""
    return sorted({size for size in (2, 5, 16, 50, 150) if size < most} | {most} - {1})


def _copied(members: Sequence[Member]) -> list[Member]:
    """Copy members without their data and history, for trials."""
    made = []
    for member in members:
        model, optimizer = copy.deepcopy((member.model, member.optimizer))
        twin = copy.copy(member)
        twin.model, twin.optimizer = model, optimizer
        twin.noise = torch.Generator()
        twin.noise.set_state(member.noise.get_state())
        made.append(twin)
    return made


def _first_batch(member: Member) -> Any:
    """Give the first batch of an epoch, as if it had not been asked for."""
    train: Any = member.train
    state = train.state_dict() if hasattr(train, "state_dict") else None
    state = copy.deepcopy(state)
    batch = next(itertools.islice(iter(train), 1))
    if state is not None:
        train.load_state_dict(state)
    return batch


def _difference(trial: Stack, members: Sequence[Member], batches: Sequence[Any]) -> str:
    """Compare losses and gradients of a stack with those of members alone; say what is wrong.

    Losses must agree closely. Gradients may differ where rounding decides which of equal numbers
    is the largest of a pool.
    """
    losses = trial.gradients(joined(batches, trial.fold))
    rows = {name: leaf.grad for name, leaf in trial.rows.leaves.items() if leaf.grad is not None}
    trusted = 1e-4 if members[0].precision == "float32" else 3e-2
    for k in {0, len(members) - 1}:
        (twin,) = _copied(members[k : k + 1])
        alone = Alone(twin)
        twin.model.train()
        with own_noise(twin.noise):
            loss = alone.gradients(batches[k])
        wanted = {n: p.grad for n, p in twin.model.named_parameters() if p.grad is not None}
        if not torch.allclose(losses[k], loss, rtol=trusted, atol=trusted):
            return "the model mixes examples of a batch"
        for name, grad in wanted.items():
            if not _close(rows[name][k], grad, 0.1):
                return f"the gradient of {name} is another in a stack"
    return ""


def _close(one: Tensor, other: Tensor, share: float) -> bool:
    far = (one - other).norm()
    return bool(far <= share * (other.norm() + share))


def _choose_ways(trial: Stack, batches: Sequence[Any], ways: dict[str, str]) -> None:
    """Let every convolution of a stack try its ways, one convolution after the other."""
    convolutions = {n: m for n, m in trial.module.named_modules() if isinstance(m, Conv)}
    if len(convolutions) == 0:
        return
    inputs: dict[str, Tensor] = {}
    hooks = [
        m.register_forward_pre_hook(lambda _, given, name=n: inputs.update({name: given[0]}))
        for n, m in convolutions.items()
    ]
    trial.gradients(joined(batches, trial.fold))
    for hook in hooks:
        hook.remove()
    known: dict[tuple[Any, ...], Any] = {}
    for name, module in convolutions.items():
        x = inputs[name]
        given = x.detach().requires_grad_(x.requires_grad)
        key = (tuple(x.shape), tuple(module.leaves["weight"].shape), x.requires_grad)
        if key not in known:
            known[key] = _fastest_way(module, given)
        module.way = ways[name] = known[key]


def _fastest_way(module: Conv, x: Tensor) -> Any:
    leaves = [leaf for leaf in module.leaves.values() if leaf.requires_grad]
    wanted = [x, *leaves] if x.requires_grad else leaves
    took = {}
    for way in module.ways(x):
        module.way = way

        def once() -> None:
            y = module(x)
            if wanted:
                torch.autograd.grad(y, wanted, torch.ones_like(y))

        took[way] = _time(once, 2)
    return min(took, key=took.__getitem__)


def _time(act: Any, steps: int) -> float:
    """Give the least time of an act among some, after one that does not count."""
    act()
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)


def _fitting(members: Sequence[Member], batch: Any) -> int:
    """Give how many members' numbers, gradients, moments and activations fit into free memory."""
    weights = sum(p.numel() * p.element_size() for p in members[0].model.parameters())
    inputs = batch[0].nbytes if isinstance(batch[0], Tensor) else batch_length(batch)
    each = 6 * weights + 200 * inputs
    free = available_memory()
    return len(members) if free is None else max(1, int(SHARE * free / max(each, 1)))
