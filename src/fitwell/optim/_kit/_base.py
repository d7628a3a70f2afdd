"""What a gradient transform is, and how several make a chain.

A part turns a gradient into a direction. It works in place, so that the same code serves a loop
over small tensors, cache-sized slices of large ones, and K trainings stacked along a first axis.
Hyper-parameters are numbers, or tensors with one value for each of the K.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from .._schedules import Schedule

Number = float | Tensor
State = dict[str, Any]
Scope = Literal["element", "tensor", "all"]

_WIDTH: dict[Scope, int] = {"element": 0, "tensor": 1, "all": 2}


class Transform(ABC):
    """Turn a gradient into a direction; the base of all parts and of a part of your own.

    A part of your own is a frozen dataclass with `apply`, the `names` of the tensors that it keeps
    for every parameter, and the two notes below where they differ.

        scope    "element": any slice of a tensor will do; "tensor": needs whole tensors;
                 "all": needs all gradients at once, see `ClipNorm`
        reads_x  whether `apply` looks at the parameter
        spares_g whether `quotient` leaves the gradient as it is, so that no copy is needed

    Source: babuschkin2020deepmind, whose optax composes optimizers of such parts.
    Checked against: torch's optimizers, built from the parts.
    """

    scope: ClassVar[Scope] = "element"
    reads_x: ClassVar[bool] = False
    spares_g: ClassVar[bool] = False
    names: ClassVar[tuple[str, ...]] = ()

    def init(self, x: Tensor, index: int = 0) -> State:
        """Make what is kept for a tensor: zeros of its shape under each of `names`.

        Args:
            x: The parameter.
            index: Its place among the parameters, for what must differ between them.
        """
        del index
        return {name: torch.zeros_like(x) for name in self.names}

    @property
    def shrinks(self) -> float | None:
        """The share of the parameter that is all that it adds; None for all but `Decay`."""
        return None

    @abstractmethod
    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Give the direction: `g`, overwritten, or a tensor of the state, not to be written to.

        Args:
            g: The gradient, or what the part before made of it; may be overwritten.
            state: What `init` made, changed in place.
            x: The parameter, not to be changed; unset unless `reads_x`.
            step: Counts from 1; a number, or a tensor with one for each of K.
        """

    def quotient(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Number]:
        """Give the direction as numerator, denominator and factor, not yet brought together.

        An optimizer adds such a direction to its parameters with two passes over memory less. A
        part that divides implements this and has `apply` bring it together.

        Args:
            g: As for `apply`; left as it is if `spares_g` and `out` is another.
            state: As for `apply`.
            x: As for `apply`.
            step: As for `apply`.
            out: Memory of the shape of `g` to work in; None takes new memory.
        """
        return self.apply(g, state, x, step), None, 1.0

    def descend(
        self,
        x: Tensor,
        g: Tensor,
        state: State,
        step: int | Tensor,
        rate: float,
        left: float = 1.0,
        out: Tensor | None = None,
    ) -> None:
        """Take the direction off a parameter; what is not named here is as for `quotient`.

        Args:
            x: Changed in place.
            rate: What the direction is multiplied by.
            left: What `x` is multiplied by before.
        """
        top, bottom, factor = self.quotient(g, state, x, step, out)
        x = x if left == 1 else x.mul_(left)
        if bottom is None:
            x.sub_(top, alpha=rate * float(factor))
        else:
            x.addcdiv_(top, bottom, value=-rate * float(factor))


class Joint(Transform):
    """A part that needs all gradients at once, to multiply them by one factor."""

    scope: ClassVar[Scope] = "all"

    @abstractmethod
    def factor(self, grads: Sequence[Tensor]) -> Tensor:
        """Give what to multiply all gradients by.

        Args:
            grads: All of them.
        """

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Multiply one gradient as if it were all there are."""
        return g.mul_(over(self.factor([g]), g))


def over(value: Number, x: Tensor) -> Number:
    """Give a hyper-parameter the axes that it needs to meet a tensor.

    Args:
        value: A number, or a tensor with the leading axes of `x`.
        x: The tensor.
    """
    if not isinstance(value, Tensor):
        return value
    return value.to(x.dtype).reshape(value.shape + (1,) * (x.ndim - value.ndim))


def power(base: Number, exponent: int | Tensor, x: Tensor) -> Number:
    """Give a hyper-parameter to the power of the step, ready to meet a tensor.

    Args:
        base: The hyper-parameter.
        exponent: The step.
        x: The tensor.
    """
    if isinstance(exponent, Tensor) and not isinstance(base, Tensor):
        base = torch.as_tensor(base, dtype=x.dtype, device=x.device)
    result: Number = over(base, x) ** over(exponent, x)
    return result


def add_(total: Tensor, term: Tensor, weight: Number) -> Tensor:
    """Add a weighted tensor in place.

    Args:
        total: What is added to.
        term: What is added.
        weight: Its weight, with the axes to meet it.
    """
    if isinstance(weight, Tensor):
        return total.addcmul_(term, weight)
    return total.add_(term, alpha=weight)


def mix_(mean: Tensor, new: Tensor, beta: Number) -> Tensor:
    """Keep a share of a running mean in place and take the rest from a new tensor.

    Args:
        mean: The running mean.
        new: The new tensor.
        beta: The share that is kept, with the axes to meet it.
    """
    if isinstance(beta, Tensor):
        return mean.mul_(beta).addcmul_(new, 1 - beta)
    return mean.lerp_(new, 1 - beta)


def mix_square_(mean: Tensor, new: Tensor, beta: Number) -> Tensor:
    """Keep a share of a running mean in place and take the rest from a square.

    Args:
        mean: The running mean.
        new: What is squared.
        beta: The share that is kept, with the axes to meet it.
    """
    mean.mul_(beta)
    if isinstance(beta, Tensor):
        return mean.addcmul_(new * new, 1 - beta)
    return mean.addcmul_(new, new, value=1 - beta)


@final
@dataclass(frozen=True, kw_only=True)
class Scale(Transform):
    """Multiply by the learning rate; the last part of a chain.

        g = lr · schedule(step - 1, total_steps) · g

    Args:
        lr: The rate.
        schedule: Factor on the rate by step; None keeps it.
        total_steps: Steps of the whole run, which a schedule needs to know.

    Raises:
        UsageError: A schedule without `total_steps`.

    Source: robbins1951stochastic.
    Reduces to: nothing at all at `lr=1`.
    Checked against: `torch.optim.SGD` with the rate set by hand.
    """

    lr: Number = 0.1
    schedule: Schedule | None = None
    total_steps: int | None = None

    def __post_init__(self) -> None:
        if self.schedule is not None and self.total_steps is None:
            raise UsageError(
                "Scale: `total_steps` must be a number of steps where there is a `schedule`;"
                " got None."
            )

    def rate(self, step: int | Tensor) -> Number:
        """Give the rate of a step.

        Args:
            step: Counts from 1.
        """
        if self.schedule is None or self.total_steps is None:
            return self.lr
        if not isinstance(step, Tensor):
            return self.lr * self.schedule(step - 1, self.total_steps)
        factors = [self.schedule(int(each) - 1, self.total_steps) for each in step.tolist()]
        return self.lr * torch.tensor(factors, dtype=torch.float64, device=step.device)

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Multiply."""
        return g.mul_(over(self.rate(step), g))


@final
@dataclass(frozen=True, kw_only=True)
class Chain(Transform):
    """Apply parts one after the other: the form that every optimizer of the kit has.

    The direction is taken off the parameter, so the last part is usually `Scale`.

        θ = θ - parts[-1]( ... parts[1]( parts[0](g) ) )

    Args:
        parts: The parts; a name that two of them keep gets the place of the part before it.

    Raises:
        UsageError: A part that needs all gradients is not the first.

    Source: babuschkin2020deepmind, `optax.chain`.
    Reduces to: its part, if there is one.
    Checked against: torch's optimizers, built from the parts.
    """

    parts: tuple[Transform, ...]

    def __post_init__(self) -> None:
        set_once = object.__setattr__
        set_once(self, "parts", tuple(self.parts))
        for part in self.parts:
            if not isinstance(part, Transform):
                raise UsageError(
                    f"Chain: `parts` must be transforms such as Trace(); got {part!r}."
                )
        for place, part in enumerate(self.parts):
            if part.scope == "all" and place > 0:
                raise UsageError(
                    f"Chain: `parts` must have what needs all gradients in the first place; got"
                    f" {type(part).__name__} in place {place + 1}. Put it first."
                )
        scopes: list[Scope] = ["element", *(part.scope for part in self.parts)]
        set_once(self, "scope", max(scopes, key=_WIDTH.__getitem__))
        set_once(self, "reads_x", any(part.reads_x for part in self.parts))
        alone = self.parts[0].spares_g if len(self.parts) == 1 else not self.parts
        set_once(self, "spares_g", alone)
        kept = [name for part in self.parts for name in part.names]
        unique = len(set(kept)) == len(kept)
        set_once(self, "_unique", unique)
        set_once(self, "names", tuple(kept if unique else self._renamed()))

    def _renamed(self) -> list[str]:
        return [f"{i}.{name}" for i, part in enumerate(self.parts) for name in part.names]

    def init(self, x: Tensor, index: int = 0) -> State:
        """Make what the parts keep.

        Args:
            x: The parameter.
            index: Its place among the parameters.
        """
        state: State = {}
        for place, part in enumerate(self.parts):
            for name, value in part.init(x, index).items():
                state[name if self._is_unique() else f"{place}.{name}"] = value
        return state

    def _is_unique(self) -> bool:
        return bool(self.__dict__["_unique"])

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Apply the parts in turn."""
        return self._through(len(self.parts), g, state, x, step)

    def quotient(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Number]:
        """Apply the parts in turn, and give what the last one makes in its parts."""
        if not self.parts:
            return g, None, 1.0
        last = len(self.parts) - 1
        _settle(self._through(last, g, state, x, step), g)
        return self.parts[last].quotient(g, self._own(last, state), x, step, out)

    def descend(
        self,
        x: Tensor,
        g: Tensor,
        state: State,
        step: int | Tensor,
        rate: float,
        left: float = 1.0,
        out: Tensor | None = None,
    ) -> None:
        """Apply the parts in turn, and have the last one change the parameter."""
        if not self.parts:
            return super().descend(x, g, state, step, rate, left, out)
        last = len(self.parts) - 1
        _settle(self._through(last, g, state, x, step), g)
        return self.parts[last].descend(x, g, self._own(last, state), step, rate, left, out)

    def _through(
        self, count: int, g: Tensor, state: State, x: Tensor, step: int | Tensor
    ) -> Tensor:
        direction = g
        for place, part in enumerate(self.parts[:count]):
            direction = part.apply(_settle(direction, g), self._own(place, state), x, step)
        return direction

    def _own(self, place: int, state: State) -> State:
        if self._is_unique():
            return state
        return {name: state[f"{place}.{name}"] for name in self.parts[place].names}


def _settle(direction: Tensor, g: Tensor) -> Tensor:
    """Put a direction where the next part may overwrite it; a tensor of the state stays whole."""
    return g if direction is g else g.copy_(direction)


def split_end(rule: Transform, step: int) -> tuple[Transform, float, float]:
    """Take rate and weight decay off the end of a chain, since a parameter can do them by itself.

    Gives the rest, the rate, and the share of the parameter that is left by the decay.

    Args:
        rule: Any transform.
        step: The step, for the schedule.
    """
    parts = rule.parts if isinstance(rule, Chain) else (rule,)
    factor = 1.0
    if parts and isinstance(parts[-1], Scale):
        rate = parts[-1].rate(step)
        if isinstance(rate, Tensor):
            return rule, 1.0, 1.0
        parts, factor = parts[:-1], rate
    if len(parts) == 1 and isinstance(parts[0], Chain):
        inner, rate, left = split_end(parts[0], step)
        return (inner, rate * factor, left) if left == 1 else (parts[0], factor, 1.0)
    if len(parts) > 1 and parts[-1].shrinks is not None:
        return Chain(parts=parts[:-1]), factor, 1 - factor * parts[-1].shrinks
    return (parts[0] if len(parts) == 1 else Chain(parts=parts)), factor, 1.0


def split_all(rule: Transform) -> tuple[Joint | None, Transform]:
    """Take what needs all gradients off the front; None if there is nothing such.

    Args:
        rule: Any transform.
    """
    if isinstance(rule, Joint):
        return rule, Chain(parts=())
    if isinstance(rule, Chain) and rule.scope == "all":
        head, rest = split_all(rule.parts[0])
        before = rest.parts if isinstance(rest, Chain) else (rest,)
        return head, Chain(parts=(*before, *rule.parts[1:]))
    return None, rule
