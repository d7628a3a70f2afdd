"""Parameters cut into pieces that fit the cache, and a rule of the kit applied to them.

Three kinds: a `Pack` of small tensors gathered into one buffer, `Slices` of a large one, and
`Whole` tensors, for rules that need them so and for those that are a piece as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ._kit import State, Transform

GATHERED = 8
"""Tensors larger than this share of a piece are not gathered: calls for them cost little then."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What pieces need to know about a step.

    Args:
        rule: What turns gradients into directions.
        step: Counts from 1.
        rate: What directions are multiplied by before they are taken off.
        left: What parameters are multiplied by before that: their share left by weight decay.
        factor: What gradients are multiplied by before the rule; None leaves them.
    """

    rule: Transform
    step: int
    rate: float
    left: float
    factor: Tensor | None


class Piece(ABC):
    """Parameters that a rule is applied to at once.

    Attributes:
        params: The parameters.
        states: What is kept for each, ``optimizer.state[p]``.
    """

    params: list[Tensor]
    states: list[State]

    @abstractmethod
    def take(self, grads: list[Tensor], turn: Turn) -> None:
        """Take one step.

        Args:
            grads: The gradients of the parameters, left as they are.
            turn: The rule and the step.
        """


def cut(
    params: Sequence[Tensor],
    states: Sequence[State],
    rule: Transform,
    size: int,
    places: Sequence[int],
) -> list[Piece]:
    """Cut parameters of one kind, which have taken equally many steps, into pieces.

    Args:
        params: The parameters, all on one device and of one dtype.
        states: What is kept for each; filled, and moved into the buffers of the pieces.
        rule: What will be applied.
        size: Elements of a piece; 0 for no limit.
        places: Place of each among all parameters of the optimizer.
    """
    if rule.scope != "element":
        scratch = params[0].new_empty(max(p.numel() for p in params))
        return [Whole(params, states, rule, scratch, places)]
    pieces: list[Piece] = []
    scratch = params[0].new_empty(size or sum(p.numel() for p in params))
    small: list[int] = []
    medium: list[int] = []

    def pack() -> None:
        if small:
            chosen, kept = [params[i] for i in small], [states[i] for i in small]
            pieces.append(Pack(chosen, kept, rule, scratch, places[small[0]]))
            small.clear()

    room = scratch.numel()
    for i, p in enumerate(params):
        if size and _dense(p) and p.numel() > size // GATHERED:
            if p.numel() <= size:
                medium.append(i)
                continue
            pieces.append(Slices(p, states[i], rule, scratch, places[i]))
            continue
        if p.numel() > room:
            pack()
            room = scratch.numel()
        small.append(i)
        room -= p.numel()
    pack()
    if medium:
        chosen, kept = [params[i] for i in medium], [states[i] for i in medium]
        pieces.append(Whole(chosen, kept, rule, scratch, [places[i] for i in medium]))
    return pieces


def _dense(p: Tensor) -> bool:
    """Say whether the elements fill their stretch of memory, in whatever order."""
    return torch.empty_like(p, device="meta").stride() == p.stride()


def _views(flat: Tensor, params: Sequence[Tensor]) -> list[Tensor]:
    """Give the parts of a buffer in the shapes of parameters, in their order in memory if dense."""
    found = []
    for p, part in zip(params, torch.split(flat, [p.numel() for p in params]), strict=True):
        strides = p.stride() if _dense(p) else torch.empty(p.shape, device="meta").stride()
        found.append(torch.as_strided(part, p.shape, strides))
    return found


def _keep(
    flat: State, params: Sequence[Tensor], states: Sequence[State]
) -> dict[str, list[Tensor]]:
    """Move what is kept for parameters into flat buffers, and leave views of them in its place."""
    views = {}
    for name, buffer in flat.items():
        views[name] = _views(buffer, params)
        for state, view in zip(states, views[name], strict=True):
            if name in state:
                view.copy_(state[name])
            state[name] = view
    return views


@final
class Pack(Piece):
    """Small tensors gathered into one buffer, or on a GPU all of them."""

    def __init__(
        self,
        params: list[Tensor],
        states: list[State],
        rule: Transform,
        scratch: Tensor,
        index: int,
    ) -> None:
        self.params, self.states = params, states
        count = sum(p.numel() for p in params)
        self._g = scratch[:count] if count <= scratch.numel() else scratch.new_empty(count)
        self._g_views = _views(self._g, params)
        self._out = torch.empty_like(self._g)
        self._out_views = _views(self._out, params)
        x = torch.empty_like(self._g)
        self._x_views = _views(x, params)
        torch._foreach_copy_(self._x_views, params)
        self._state = rule.init(x, index)
        self._kept = _keep(self._state, params, states)
        self._x: Tensor | None = x if rule.reads_x else None

    def take(self, grads: list[Tensor], turn: Turn) -> None:
        """Gather, apply the rule, and give each parameter its part of the result."""
        g, x = self._g, self._x
        torch._foreach_copy_(self._g_views, grads)
        if turn.factor is not None:
            g.mul_(turn.factor)
        if turn.rule.reads_x and x is not None:
            torch._foreach_copy_(self._x_views, self.params)
        top, bottom, scale = turn.rule.quotient(
            g, self._state, g if x is None else x, turn.step, self._out
        )
        rate = -turn.rate * float(scale)
        if turn.left != 1:
            torch._foreach_mul_(self.params, turn.left)
        if bottom is None:
            torch._foreach_add_(self.params, self._shaped(top), alpha=rate)
        else:
            pieces = self._shaped(top), self._shaped(bottom)
            torch._foreach_addcdiv_(self.params, *pieces, value=rate)

    def _shaped(self, flat: Tensor) -> list[Tensor]:
        """Give a buffer in the shapes of the parameters; those that live long are prepared."""
        if flat is self._g:
            return self._g_views
        if flat is self._out:
            return self._out_views
        for name, buffer in self._state.items():
            if buffer is flat:
                return self._kept[name]
        return _views(flat, self.params)


@final
class Slices(Piece):
    """A large tensor, a slice of its memory at a time."""

    def __init__(
        self, p: Tensor, state: State, rule: Transform, scratch: Tensor, index: int
    ) -> None:
        self.params, self.states = [p], [state]
        flat = rule.init(_in_order(p.detach()), index)
        _keep(flat, [p], [state])
        size = scratch.numel()
        parts = [dict[str, Tensor]() for _ in range(0, p.numel(), size)]
        for name, buffer in flat.items():
            for part, stretch in zip(parts, torch.split(buffer, size), strict=True):
                part[name] = stretch
        self._parts = parts
        self._scratch = [scratch[: min(size, p.numel() - i)] for i in range(0, p.numel(), size)]

    def take(self, grads: list[Tensor], turn: Turn) -> None:
        """Apply the rule to slice after slice."""
        (p,), (grad,) = self.params, grads
        if grad.stride() != p.stride():
            grad = torch.empty_like(p).copy_(grad)
        size = self._scratch[0].numel()
        xs, gs = torch.split(_in_order(p.detach()), size), torch.split(_in_order(grad), size)
        for x, grad, scratch, state in zip(xs, gs, self._scratch, self._parts, strict=True):
            _take(x, grad, scratch, state, turn)


def _take(x: Tensor, grad: Tensor, scratch: Tensor, state: State, turn: Turn) -> None:
    """Take the step of one tensor or slice."""
    g = grad
    out: Tensor | None = scratch
    if turn.factor is not None:
        g, out = torch.mul(grad, turn.factor, out=scratch), None
    elif not turn.rule.spares_g:
        g, out = scratch.copy_(grad), None
    turn.rule.descend(x, g, state, turn.step, turn.rate, turn.left, out)


def _in_order(p: Tensor) -> Tensor:
    """Give a dense tensor's elements in the order of its memory."""
    return p.view(-1) if p.is_contiguous() else torch.as_strided(p, (p.numel(),), (1,))


@final
class Whole(Piece):
    """Tensors one by one, in their shape."""

    def __init__(
        self,
        params: Sequence[Tensor],
        states: Sequence[State],
        rule: Transform,
        scratch: Tensor,
        places: Sequence[int],
    ) -> None:
        self.params, self.states = list(params), list(states)
        self._g_views = [_views(scratch[: p.numel()], [p])[0] for p in params]
        for p, state, place in zip(params, states, places, strict=True):
            for name, value in rule.init(p.detach(), place).items():
                state.setdefault(name, value)

    def take(self, grads: list[Tensor], turn: Turn) -> None:
        """Apply the rule to tensor after tensor."""
        for p, grad, g, state in zip(self.params, grads, self._g_views, self.states, strict=True):
            _take(p, grad, g, state, turn)
