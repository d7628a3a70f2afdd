"""Running sums and means of gradients and of their squares."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ._base import Number, State, Transform, add_, mix_, mix_square_, over, power


@final
@dataclass(frozen=True, kw_only=True)
class Trace(Transform):
    """Add up past gradients, each weighted less than the one after it: momentum.

        b₁ = g₁,   bₜ = decay · bₜ₋₁ + (1 - dampening) · gₜ
        gives b          (nesterov: g + decay · b, the look-ahead without a second copy)

    Args:
        decay: Share of the sum that is kept per step.
        dampening: Share of each gradient but the first that is left out.
        nesterov: Look ahead along the sum.

    Source: polyak1964some; bengio2013advances for `nesterov`.
    Reduces to: the gradient at `decay=0`.
    Checked against: `torch.optim.SGD`; the sum written out; the look-ahead with two copies.
    """

    names: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    decay: Number = 0.9
    dampening: Number = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "spares_g", not self.nesterov)

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Add the gradient to the sum."""
        sums, decay = state["momentum_buffer"], over(self.decay, g)
        sums.mul_(decay)
        if isinstance(self.dampening, Tensor) or self.dampening != 0:
            # In the first step nothing is left out.
            later = over(step > 1, g) if isinstance(step, Tensor) else float(step > 1)
            add_(sums, g, 1 - over(self.dampening, g) * later)
        else:
            sums.add_(g)
        return add_(g, sums, decay) if self.nesterov else sums


class Moment(Transform):
    """A running sum or mean: a part of its own, or the top or bottom of a `Ratio`.

    Source: kingma2015adam, for the name.
    Checked against: torch's optimizers, built from the parts.
    """

    @abstractmethod
    def moment(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Number]:
        """Take in a gradient; give the raw moment and the number to divide it by.

        Args:
            g: The gradient, left as it is.
            state: What `init` made, changed in place.
            x: The parameter.
            step: Counts from 1.
            out: Memory of the shape of `g` to work in, not `g` itself; None takes new memory.
        """

    def divisor(self, step: int | Tensor, x: Tensor) -> Number:
        """Give what the raw moment is to be divided by: 1 - βᵗ if it began with zeros.

        Args:
            step: Counts from 1.
            x: A tensor of the shape of the moment.
        """
        beta = getattr(self, "beta", None)
        return (
            1 - power(beta, step, x) if beta is not None and getattr(self, "debias", False) else 1.0
        )

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Give the moment."""
        raw, divisor = self.moment(g, state, x, step)
        return torch.div(raw, divisor, out=g)


@final
@dataclass(frozen=True, kw_only=True)
class Mean(Moment):
    """Running mean of the gradient.

        m = beta · m + (1 - beta) · g          (debias: m / (1 - betaᵗ))

    Args:
        beta: Share of the mean that is kept per step.
        debias: Make up for having begun with zeros.

    Source: kingma2015adam, algorithm 1.
    Reduces to: the gradient at `beta=0`.
    Checked against: `torch.optim.Adam`.
    """

    names: ClassVar[tuple[str, ...]] = ("exp_avg",)
    beta: Number = 0.9
    debias: bool = True

    def moment(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Number]:
        """Take in a gradient."""
        mean: Tensor = state["exp_avg"]
        mix_(mean, g, over(self.beta, g))
        return mean, self.divisor(step, g)


@final
@dataclass(frozen=True, kw_only=True)
class SumOfSquares(Moment):
    """Sum of all squared gradients so far, for Adagrad; its steps only shrink.

        s = s + g²          (mean: s / t)

    Args:
        mean: Divide by the number of steps; the root is then the root-mean-square of all
            gradients, and the step is larger than Adagrad's by √t.

    Source: duchi2011adaptive, section 1.3, the diagonal form.
    Checked against: `torch.optim.Adagrad`.
    """

    names: ClassVar[tuple[str, ...]] = ("sum",)
    mean: bool = False

    def moment(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Number]:
        """Take in a gradient."""
        total: Tensor = state["sum"]
        total.addcmul_(g, g)
        return total, self.divisor(step, g)

    def divisor(self, step: int | Tensor, x: Tensor) -> Number:
        """Give the count of steps, or 1."""
        return over(step, x) if self.mean else 1.0


@final
@dataclass(frozen=True, kw_only=True)
class MeanSquare(Moment):
    """Running mean of the squared gradient, for RMSprop and Adam.

        v = beta · v + (1 - beta) · g²          (debias: v / (1 - betaᵗ))
        centered: v - m², with m the running mean of g

    Args:
        beta: Share of the mean that is kept per step.
        debias: Make up for having begun with zeros.
        centered: Take the square of the mean off, which leaves the variance.

    Source: tieleman2012lecture; kingma2015adam, algorithm 1, for `debias`.
    Checked against: `torch.optim.RMSprop`; `torch.optim.Adam`.
    """

    names: ClassVar[tuple[str, ...]] = ("exp_avg_sq",)
    beta: Number = 0.999
    debias: bool = True
    centered: bool = False

    def __post_init__(self) -> None:
        if self.centered:
            object.__setattr__(self, "names", ("exp_avg_sq", "grad_avg"))

    def moment(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Number]:
        """Take in a gradient."""
        square: Tensor = state["exp_avg_sq"]
        beta = over(self.beta, g)
        mix_square_(square, g, beta)
        if self.centered:
            mean = mix_(state["grad_avg"], g, beta)
            square = torch.addcmul(square, mean, mean, value=-1)
        return square, self.divisor(step, g)


@final
@dataclass(frozen=True, kw_only=True)
class MaxMeanSquare(Moment):
    """The largest running mean of the squared gradient so far, for AMSGrad.

    A long row of small gradients then cannot make the step large again.

        v = beta · v + (1 - beta) · g²,   u = max(u, v)          (debias: u / (1 - betaᵗ))

    Args:
        beta: Share of the mean that is kept per step.
        debias: Make up for having begun with zeros.

    Source: reddi2018convergence, algorithm 2.
    Checked against: `torch.optim.Adam(amsgrad=True)`.
    """

    names: ClassVar[tuple[str, ...]] = ("exp_avg_sq", "max_exp_avg_sq")
    beta: Number = 0.999
    debias: bool = True

    def moment(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Number]:
        """Take in a gradient."""
        square = mix_square_(state["exp_avg_sq"], g, over(self.beta, g))
        largest: Tensor = state["max_exp_avg_sq"]
        torch.maximum(largest, square, out=largest)
        return largest, self.divisor(step, g)


@final
@dataclass(frozen=True, kw_only=True)
class SignedSquare(Moment):
    """Move towards the squared gradient by its own size, not by the distance, for Yogi.

        v = v - (1 - beta) · sign(v - g²) · g²          (debias: v / (1 - betaᵗ))

    Args:
        beta: One minus the share of g² that is moved by.
        debias: Divide as if it had begun with zeros.
        initial: What v begins with.

    Source: zaheer2018adaptive, algorithm 2.
    Checked against: the formula written out.
    """

    names: ClassVar[tuple[str, ...]] = ("exp_avg_sq",)
    beta: Number = 0.999
    debias: bool = True
    initial: float = 1e-6

    def init(self, x: Tensor, index: int = 0) -> State:
        """Make the mean that it begins with.

        Args:
            x: The parameter.
            index: Its place among the parameters.
        """
        return {"exp_avg_sq": torch.full_like(x, self.initial)}

    def moment(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Number]:
        """Take in a gradient."""
        moved: Tensor = state["exp_avg_sq"]
        sign = torch.addcmul(moved, g, g, value=-1, out=out).sign_()
        beta = over(self.beta, g)
        if isinstance(beta, Tensor):
            moved.sub_(sign.mul_(g).mul_(g).mul_(1 - beta))
        else:
            moved.addcmul_(sign.mul_(g), g, value=beta - 1)
        return moved, self.divisor(step, g)


@final
@dataclass(frozen=True, kw_only=True)
class Surprise(Moment):
    """Running mean of the squared distance of the gradient from its mean, for AdaBelief.

    The bottom of a `Ratio` whose top is a `Mean`: the step is large where gradients are as
    foreseen.

        s = beta · s + (1 - beta) · (g - m)² + eps          (debias: s / (1 - betaᵗ))

    Args:
        beta: Share of the mean that is kept per step.
        debias: Make up for having begun with zeros.
        eps: Added in every step.

    Source: zhuang2020adabelief, algorithm 2.
    Checked against: the formula written out.
    """

    names: ClassVar[tuple[str, ...]] = ("exp_avg_var",)
    beta: Number = 0.999
    debias: bool = True
    eps: float = 1e-16

    def moment(
        self, g: Tensor, state: State, x: Tensor, step: int | Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Number]:
        """Take in a gradient, after the mean has."""
        distance = torch.sub(g, state["exp_avg"], out=out)
        square = mix_square_(state["exp_avg_var"], distance, over(self.beta, g))
        return square.add_(self.eps), self.divisor(step, g)
