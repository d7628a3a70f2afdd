"""Directions made of moments: their ratio, with or without bounds, and the sign of a mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from ...core.errors import UsageError
from ._base import Number, State, Transform, mix_, over
from ._moments import Mean, MeanSquare, Moment, Surprise
from ._one_pass import descend_at_once


@final
@dataclass(frozen=True, kw_only=True)
class Ratio(Transform):
    """Divide one moment of the gradient by the root of another: every Adagrad and Adam.

        m / (√v + eps)          m: top, v: bottom

    With `Scale` after it this is θ = θ - (η / σ) · m.

    Args:
        top: What is divided; None takes the gradient itself.
        bottom: What it is divided by the root of.
        eps: Added to the root.

    Raises:
        UsageError: Both keep the same thing, or `Surprise` is without the mean it needs.

    Source: kingma2015adam, algorithm 1.
    Reduces to: `top` where `bottom` is 1.
    Checked against: `torch.optim.Adagrad`, `RMSprop`, `Adam`, `AdamW`.
    """

    spares_g: ClassVar[bool] = True
    top: Moment | None = None
    bottom: Moment = MeanSquare()  # noqa: RUF009, it is frozen
    eps: Number = 1e-8

    def __post_init__(self) -> None:
        _check_moments("Ratio", self.top, self.bottom)
        kept = (*(self.top.names if self.top is not None else ()), *self.bottom.names)
        object.__setattr__(self, "names", kept)

    def init(self, x: Tensor, index: int = 0) -> State:
        """Make what both keep.

        Args:
            x: The parameter.
            index: Its place among the parameters.
        """
        state = self.top.init(x, index) if self.top is not None else {}
        return {**state, **self.bottom.init(x, index)}

    def quotient(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Number]:
        """Give top, root and what makes both free of bias."""
        top, of_top, square, of_square = _moments(self.top, self.bottom, g, state, x, step, out)
        bias = of_square**0.5
        return top, torch.sqrt(square, out=out).add_(over(self.eps, g) * bias), bias / of_top

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
        """Take the direction off a parameter, at once where it can be."""
        moments = self.top, self.bottom
        if not descend_at_once(*moments, x, g, state, step, rate, left, self.eps, out):
            super().descend(x, g, state, step, rate, left, out)

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Divide."""
        return _together(self.quotient(g, state, x, step), g)


def _moments(
    top: Moment | None,
    bottom: Moment,
    g: Tensor,
    state: State,
    x: Tensor,
    step: int | Tensor,
    out: Tensor | None,
) -> tuple[Tensor, Number, Tensor, Number]:
    """Take in a gradient; give both raw moments, each with the number to divide it by."""
    mean, of_top = (g, 1.0) if top is None else top.moment(g, state, x, step)
    return mean, of_top, *bottom.moment(g, state, x, step, out)


def _together(quotient: tuple[Tensor, Tensor | None, Number], g: Tensor) -> Tensor:
    top, bottom, factor = quotient
    direction = top if bottom is None else torch.div(top, bottom, out=g)
    unchanged = not isinstance(factor, Tensor) and factor == 1
    return direction if unchanged else torch.mul(direction, factor, out=g)


def _check_moments(owner: str, top: Moment | None, bottom: Moment) -> None:
    for name, value in (("top", top), ("bottom", bottom)):
        if not isinstance(value, Moment) and not (value is None and name == "top"):
            raise UsageError(
                f"{owner}: `{name}` must be a moment such as MeanSquare(); got {value!r}."
            )
    if top is not None and set(top.names) & set(bottom.names):
        raise UsageError(
            f"{owner}: `top` and `bottom` must keep different things; got {top!r} and {bottom!r}."
        )
    if isinstance(bottom, Surprise) and not isinstance(top, Mean):
        raise UsageError(f"{owner}: `top` must be a Mean where `bottom` is Surprise; got {top!r}.")


@final
@dataclass(frozen=True, kw_only=True)
class Bounded(Transform):
    """Divide as `Ratio` does, but keep the rate of every element between two moving bounds.

    The bounds begin far apart and meet in `final_lr`: the method begins as Adam and ends as
    momentum with one rate. The rate is part of it, so no `Scale` follows.

        r = lr / (√v + eps) · √(1 - β₂ᵗ) / (1 - β₁ᵗ), the square roots and powers by `debias`
        clip r into final_lr · [1 - 1 / (gamma · t + 1), 1 + 1 / (gamma · t)];   gives r · m

    Args:
        top: What is multiplied by the rate.
        bottom: What the rate is divided by the root of.
        lr: The rate before bounds.
        final_lr: Where the bounds meet; times the factor of the schedule, if there is one.
        gamma: Speed at which they do.
        eps: Added to the root, before it is made free of bias.

    Raises:
        UsageError: Both keep the same thing, or `Surprise` is without the mean it needs.

    Source: luo2019adaptive, algorithm 2 and section 4.
    Reduces to: `Ratio` with `Scale` at `gamma=0`, in the limit; `Mean` times `final_lr` for large
        `gamma`.
    Checked against: the authors' update written out.
    """

    spares_g: ClassVar[bool] = True
    top: Moment = Mean()  # noqa: RUF009
    bottom: Moment = MeanSquare()  # noqa: RUF009, it is frozen
    lr: float = 1e-3
    final_lr: float = 0.1
    gamma: float = 1e-3
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_moments("Bounded", self.top, self.bottom)
        object.__setattr__(self, "names", (*self.top.names, *self.bottom.names))

    def init(self, x: Tensor, index: int = 0) -> State:
        """Make what both keep.

        Args:
            x: The parameter.
            index: Its place among the parameters.
        """
        return {**self.top.init(x, index), **self.bottom.init(x, index)}

    def quotient(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Number]:
        """Give top, bounded root and rate: bounds on rate / root are bounds on the root."""
        top, of_top, square, of_square = _moments(self.top, self.bottom, g, state, x, step, out)
        rate = self.lr * of_square**0.5 / of_top
        if not isinstance(rate, Tensor) and rate == 0:  # below both bounds, whatever the root
            time = self.gamma * over(step, g)
            return top, None, self.final_lr * time / (time + 1)
        least, most = self._bounds(rate, step, g)
        return top, torch.sqrt(square, out=out).add_(self.eps).clamp_(least, most), rate

    def _bounds(self, rate: Number, step: int | Tensor, g: Tensor) -> tuple[Any, Any]:
        time = self.gamma * over(step, g)
        least = _divided(rate * time, self.final_lr * (time + 1))
        return least, _divided(rate * (time + 1), self.final_lr * time)

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
        """Take the bounded direction off a parameter, at once where it can be."""
        of_top = self.top.divisor(step, g)
        root = self.bottom.divisor(step, g) ** 0.5
        if not isinstance(root, Tensor) and self.lr:
            least, most = self._bounds(self.lr * root / of_top, step, g)
            bounds = least - self.eps, most - self.eps
            moments = self.top, self.bottom
            eps = self.eps / root
            if descend_at_once(*moments, x, g, state, step, rate * self.lr, left, eps, out, bounds):
                return
        super().descend(x, g, state, step, rate, left, out)

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Divide within bounds."""
        return _together(self.quotient(g, state, x, step), g)


def _divided(rate: Number, bound: Number) -> Any:
    """Divide a rate by a bound on it, which gives a bound on the root."""
    if isinstance(rate, Tensor) or isinstance(bound, Tensor):
        return rate / bound
    return rate / bound if bound else math.inf


@final
@dataclass(frozen=True, kw_only=True)
class SignOfMean(Transform):
    """Give the sign of a mix of the gradient and its running mean, for Lion.

    Every element moves by the same amount.

        c = β₁ · m + (1 - β₁) · g,  m = β₂ · m + (1 - β₂) · g;   gives sign(c)

    Args:
        betas: Share of the mean in the mix, and share of it that is kept per step.

    Source: chen2023symbolic, algorithm 2.
    Reduces to: the sign of the gradient at `betas=(0, 0)`.
    Checked against: the formula written out.
    """

    names: ClassVar[tuple[str, ...]] = ("exp_avg",)
    spares_g: ClassVar[bool] = True
    betas: tuple[Number, Number] = (0.9, 0.99)

    def quotient(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Number]:
        """Give the sign of the mix."""
        mean, (mixed, kept) = state["exp_avg"], (over(beta, g) for beta in self.betas)
        mix = torch.lerp(g, mean, mixed, out=out)
        mix_(mean, g, kept)
        return mix.sign_(), None, 1.0

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Give the sign of the mix."""
        return self.quotient(g, state, x, step)[0]
