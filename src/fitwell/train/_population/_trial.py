"""Try a stack on its members: compare it with each alone, measure it, and leave no trace."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...data import Batches
from .._passes import autocast
from .._state import random_state, restore_random
from ._alike import settings_of
from ._convolutions import Conv, Stacked
from ._feed import Joined, first_rows, is_plain, joined
from ._fold import own_noise
from ._layers import Each
from ._member import Member
from ._rows import ELEMENTWISE
from ._stack import Alone, Stack

STEPS = 3
"""Steps that are measured, of which the fastest counts."""

REFUSALS = (RuntimeError, NotImplementedError, TypeError, AttributeError, ValueError, LookupError)
"""What a model may raise that cannot be copied or stacked."""


@contextlib.contextmanager
def as_before(members: Sequence[Member]) -> Iterator[list[Any]]:
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


@final
@dataclass(frozen=True)
class Tried:
    """What a trial has found: seconds of a step, ways of convolutions, parameters that idle."""

    seconds: float
    ways: dict[str, Any]
    idle: frozenset[str]


def try_stack(
    members: Sequence[Member], batches: Sequence[Any], before: Tried | None = None
) -> str | Tried:
    """Measure a stack and compare it with its members alone; say what is wrong, if anything is.

    Args:
        members: Of the stack.
        batches: One for each.
        before: What a smaller stack has found.
    """
    trial: Stack | None = None
    try:
        compared = range(len(members)) if before is None else {0, len(members) // 2, -1}
        twins = {k % len(members): copied([members[k]])[0] for k in compared}
        idle = before.idle if before else _idle(twins[0], batches[0])
        trial = _trial(members, idle)
        batch = joined(batches, trial.fold)
        if not isinstance(batch, Joined):
            return "the members' batches differ"
        before_use = _attributes(trial)
        if wrong := _other_answers(trial, twins, batches, batch):
            return wrong
        ways = before.ways if before else _choose_ways(trial, batch)
        _same_noise(trial, twins)
        trial.use(ways)
        if wrong := _other_gradients(trial, twins, batches, batch):
            return wrong
        if _attributes(trial) != before_use:
            return "a forward method changes attributes of its module"
        return Tried(time_of(functools.partial(trial.step, batch), STEPS), ways, idle)
    except REFUSALS as err:
        return f"it cannot be stacked: {said(err)}"
    finally:
        if trial is not None:
            trial.release(keep=False)


def _attributes(trial: Stack) -> list[Any]:
    """Give the attributes of the modules that all members share in a stack."""
    shared = (m for m in trial.module.modules() if not isinstance(m, (Stacked, Each)))
    return [settings_of(module) for module in shared]


def _same_noise(trial: Stack, twins: Mapping[int, Member]) -> None:
    """Let a stack draw what its members alone will draw."""
    for k, twin in twins.items():
        trial.members[k].noise.set_state(twin.noise.get_state())


def _trial(members: Sequence[Member], idle: frozenset[str]) -> Stack:
    """Make a stack of the members where that leaves no trace, else of copies."""
    if type(members[0].optimizer) in ELEMENTWISE:
        trial = Stack(members, idle)
        if not trial.has_strangers:
            trial.module.train()
            return trial
        trial.release(keep=False)
    trial = Stack(copied(members), idle)
    trial.module.train()
    return trial


def _idle(twin: Member, batch: Any) -> frozenset[str]:
    """Give the names of parameters that get no gradient."""
    (other,) = copied([twin])
    other.model.train()
    with own_noise(other.noise):
        Alone(other).gradients(batch)
    return frozenset(
        name for name, p in other.model.named_parameters() if p.requires_grad and p.grad is None
    )


def copied(members: Sequence[Member]) -> list[Member]:
    """Copy members without their data and history, for trials."""
    made = []
    for member in members:
        model, optimizer = copy.deepcopy((member.model, member.optimizer))
        twin = copy.copy(member)
        twin.model, twin.optimizer = model, optimizer
        twin.noise = torch.Generator(member.noise.device)
        twin.noise.set_state(member.noise.get_state())
        made.append(twin)
    return made


def _first_batch(member: Member) -> Any:
    """Give the first batch of an epoch, as if it had not been asked for."""
    train: Any = member.train
    if is_plain(train):
        return first_rows(train)
    generators = [g for g in _generators(train) if g is not None]
    before = [generator.get_state() for generator in generators]
    state = copy.deepcopy(train.state_dict()) if isinstance(train, Batches) else None
    batch = next(itertools.islice(iter(train), 1))
    if state is not None:
        train.load_state_dict(state)
    for generator, was in zip(generators, before, strict=True):
        generator.set_state(was)
    return batch


def _generators(train: Any) -> list[Any]:
    """Give the generators that a loader of torch draws its order from."""
    places = [train, getattr(train, "sampler", None), getattr(train, "batch_sampler", None)]
    places.append(getattr(places[2], "sampler", None))
    found = [getattr(place, "generator", None) for place in places]
    return list({id(generator): generator for generator in found}.values())


def said(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else repr(error)


def _other_answers(
    trial: Stack, twins: Mapping[int, Member], batches: Sequence[Any], batch: Joined
) -> str:
    """Compare what a stack and its members alone answer in use; say what is wrong."""
    trial.module.eval()
    answers = trial.outputs(batch)
    trial.module.train()
    for k, twin in twins.items():
        with torch.no_grad(), autocast(twin.precision, twin.device):
            answer = twin.model.eval()(batches[k][0])
        if not _close(answers[k], answer, _small(twin)):
            return "its answers are others in a stack; the model mixes examples of a batch"
    return ""


def _other_gradients(
    trial: Stack, twins: Mapping[int, Member], batches: Sequence[Any], batch: Joined
) -> str:
    """Compare a stack with its members alone in training; say what is wrong.

    Losses must agree closely. Gradients may differ where rounding decides which of equal numbers
    is the largest of a pool.
    """
    losses = trial.gradients(batch)
    rows = {name: leaf.grad for name, leaf in trial.rows.leaves.items() if leaf.grad is not None}
    for k, twin in twins.items():
        twin.model.train()
        with own_noise(twin.noise):
            loss = Alone(twin).gradients(batches[k])
        wanted = {n: p.grad for n, p in twin.model.named_parameters() if p.grad is not None}
        if not _close(losses[k], loss, _small(twin)):
            return (
                "its losses are others in a stack; the model mixes examples of a batch, or draws"
                " noise outside of layers"
            )
        whole = torch.stack([grad.norm() for grad in wanted.values()]).norm()
        for name, grad in wanted.items():
            most = 0.1 * grad.norm() + _small(twin) * whole
            if name not in rows or (rows[name][k] - grad).norm() > most:
                return f"the gradient of {name} is another in a stack"
    return ""


def _small(twin: Member) -> float:
    """Give the share by which numbers may differ through rounding."""
    return 1e-4 if twin.precision == "float32" else 3e-2


def _close(one: Tensor, other: Tensor, share: float) -> bool:
    return one.shape == other.shape and bool((one - other).norm() <= share * other.norm() + 1e-30)


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

        took[way] = time_of(once, 2)
    return min(took, key=took.__getitem__)


def time_of(act: Any, steps: int) -> float:
    """Give the least time of an act among some, after one that does not count."""
    act()
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)
