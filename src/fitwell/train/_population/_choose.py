"""Whether members are trained as a stack or alone: tried on copies, and the faster way is taken."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from .._memory import available_memory
from .._objective import batch_length
from .._state import random_state, restore_random
from ._convolutions import Conv
from ._feed import Joined, joined
from ._fold import own_noise
from ._member import Member
from ._rows import ELEMENTWISE
from ._stack import Alone, Stack, signature

SHARE = 0.25
"""Share of the free memory that a stack may take."""

SHARE_OF_TIME = 0.03
"""Share of the time of a training that trying stacks may take."""

_STEPS = 3
_SHORT = 0.15  # seconds that trying may always take
_FEW = 4  # members of the small stack
_TRIAL_STEPS = 15  # what trying it costs, in steps of its members
_SOLITARY = "the objective or the optimizer needs each model alone"
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
        return Choice(1, reason="a single member")
    with _as_before(members) as batches:
        (twin,) = _copied(members[:1])
        twin.model.train()
        step = _time(functools.partial(Alone(twin).step, batches[0]), 4 * _STEPS)
        left = sum(member.total_steps - member.step for member in members) * step
        allowed = max(_SHORT, SHARE_OF_TIME * left)
        fitting = min(len(members), _fitting(members, batches[0]))
        seconds, few = {1: step}, min(fitting, _FEW)
        if few == 1:
            return Choice(1, seconds, "memory holds no two of them")
        if _TRIAL_STEPS * few * step > allowed:
            return Choice(1, seconds, "too short to try a stack")
        tried = _try(members[:few], batches[:few])
        if isinstance(tried, str):
            return Choice(1, seconds, tried)
        seconds[few], ways = tried[0] / few, tried[1]
        for size in _sizes(fitting, few):
            if (_STEPS + 1) * size * step > allowed:
                continue
            more = _try(members[:size], batches[:size], ways)
            if isinstance(more, str):
                return Choice(1, seconds, more)
            seconds[size] = more[0] / size
    best = min(seconds, key=seconds.__getitem__)
    if best > 1 and seconds[best] * _CLEARLY > step:
        best = 1
    # Larger ones than were tried are as fast, as long as memory holds them.
    size = fitting if best == max(seconds) else best
    return Choice(size if best > 1 else 1, seconds, "", ways)


def insist(members: Sequence[Member], size: int) -> Choice:
    """Take stacks of a size, whether they are faster or not.

    Args:
        members: That may be stacked by their signature.
        size: Members of a stack.

    Raises:
        UsageError: The members cannot be stacked.
    """
    tried: str | tuple[float, dict[str, str]] = _SOLITARY
    if signature(members[0]) is not None:
        with _as_before(members) as batches:
            tried = _try(members[:size], batches[:size])
    if isinstance(tried, str):
        raise UsageError(
            f"Population: `stack` must be 1 or 'auto' for these members; got {size}: {tried}."
        )
    return Choice(size, {}, "", tried[1])


@contextlib.contextmanager
def _as_before(members: Sequence[Member]) -> Iterator[list[Any]]:
    """Give the members' first batches, and undo afterwards what a trial changes besides."""
    before, steps = random_state(), [member.step for member in members]
    noise = [member.noise.get_state() for member in members]
    kept = [(buffer, buffer.clone()) for member in members for buffer in member.model.buffers()]
    try:
        yield [_first_batch(member) for member in members]
    finally:
        for member, step, state in zip(members, steps, noise, strict=True):
            member.step = step
            member.noise.set_state(state)
        for buffer, value in kept:
            buffer.copy_(value)
        restore_random(before)


def _try(
    members: Sequence[Member], batches: Sequence[Any], ways: Mapping[str, Any] | None = None
) -> str | tuple[float, dict[str, Any]]:
    """Give the seconds of a step and the ways of convolutions of a stack, or what is wrong.

    With ways that are known, the stack is right already.
    """
    merges = type(members[0].optimizer) in ELEMENTWISE
    twins = {} if ways else {k: _copied([members[k]])[0] for k in {0, len(members) - 1}}
    trial = None
    try:
        trial = Stack(members if merges else _copied(members))
        trial.module.train()
        if wrong := _difference(trial, twins, batches):
            return wrong
        batch = joined(batches, trial.fold)
        if not isinstance(batch, Joined):
            return "the members' batches differ"
        found = _choose_ways(trial, batch) if ways is None else dict(ways)
        trial.use(found)
        return _time(functools.partial(trial.step, batch), _STEPS), found
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError) as err:
        return f"it cannot be stacked: {str(err).splitlines()[0] if str(err) else repr(err)}"
    finally:
        if trial is not None:
            trial.release(keep=False)


def _sizes(most: int, tried: int) -> list[int]:
    """Give sizes to try: the largest, and for many members one that needs less memory at once."""
    return sorted(
        {size for size in (most // 4, most) if size > 3 * tried or size == most} - {tried}
    )


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


def _difference(trial: Stack, twins: Mapping[int, Member], batches: Sequence[Any]) -> str:
    """Compare losses and gradients of a stack with those of members alone; say what is wrong.

    Losses must agree closely. Gradients may differ where rounding decides which of equal numbers
    is the largest of a pool.
    """
    losses = trial.gradients(joined(batches, trial.fold))
    rows = {name: leaf.grad for name, leaf in trial.rows.leaves.items() if leaf.grad is not None}
    for k, twin in twins.items():
        twin.model.train()
        with own_noise(twin.noise):
            loss = Alone(twin).gradients(batches[k])
        trusted = 1e-4 if twin.precision == "float32" else 3e-2
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


def _choose_ways(trial: Stack, batch: Joined) -> dict[str, str]:
    """Let every convolution of a stack try its ways, one convolution after the other."""
    convolutions = {n: m for n, m in trial.module.named_modules() if isinstance(m, Conv)}
    if not convolutions:
        return {}
    inputs: dict[str, Tensor] = {}
    hooks = [
        m.register_forward_pre_hook(lambda _, given, name=n: inputs.update({name: given[0]}))
        for n, m in convolutions.items()
    ]
    trial.gradients(batch)
    for hook in hooks:
        hook.remove()
    known: dict[tuple[Any, ...], Any] = {}
    for name, module in convolutions.items():
        x = inputs[name]
        given = x.detach().requires_grad_(x.requires_grad)
        key = (tuple(x.shape), tuple(module.leaves["weight"].shape), x.requires_grad)
        if key not in known:
            known[key] = _fastest_way(module, given)
        module.way = known[key]
    return {name: module.way for name, module in convolutions.items()}


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
