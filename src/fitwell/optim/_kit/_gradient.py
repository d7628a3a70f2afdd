"""Parts that change the gradient itself: decay, clipping, noise, centralization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ._base import Joint, Number, Scope, State, Transform, add_, over


@final
@dataclass(frozen=True, kw_only=True)
class Decay(Transform):
    """Add a share of the parameter to whatever it is given.

    Its place decides what it is: before the momentum, and before a `Ratio`, it is the L2 penalty;
    after them, and before `Scale`, it is weight decay that acts on the weights directly.

        g = g + rate · θ

    Args:
        rate: The share.

    Source: loshchilov2019decoupled, algorithms 1 and 2.
    Reduces to: nothing at all at `rate=0`.
    Checked against: `torch.optim.Adam` and `torch.optim.AdamW` with weight decay.
    """

    reads_x: ClassVar[bool] = True
    rate: Number = 0.01

    @property
    def shrinks(self) -> float | None:
        """The share, if it is a number."""
        return None if isinstance(self.rate, Tensor) else self.rate

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Add the share."""
        return add_(g, x, over(self.rate, g))


@final
@dataclass(frozen=True, kw_only=True)
class Clip(Transform):
    """Cut every element to a range, against single bursts; changes the direction.

        g = min(max(g, -value), value)

    Args:
        value: The largest magnitude.

    Source: pascanu2013difficulty, section 3.2, element by element.
    Reduces to: nothing at all for a large `value`.
    Checked against: `torch.nn.utils.clip_grad_value_`.
    """

    value: Number = 1.0

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Cut."""
        limit = over(self.value, g)
        if isinstance(limit, Tensor):
            return g.clamp_(min=-limit, max=limit)
        return g.clamp_(-limit, limit)


@final
@dataclass(frozen=True, kw_only=True)
class ClipNorm(Joint):
    """Shorten all gradients together, if they are longer than they may be; keeps the direction.

    Comes first in a chain, since it needs the gradients of all parameters.

        g = g · min(1, norm / (‖all gradients‖ + 1e-6))

    Args:
        norm: The greatest length; a tensor clips each of K stacked trainings on its own.
        p: Order of the length; infinity takes the largest magnitude.

    Source: pascanu2013difficulty, algorithm 1.
    Reduces to: nothing at all for a large `norm`.
    Checked against: `torch.nn.utils.clip_grad_norm_`.
    """

    norm: Number = 1.0
    p: float = 2.0

    def factor(self, grads: Sequence[Tensor]) -> Tensor:
        """Give what to multiply all gradients by.

        Args:
            grads: All of them.
        """
        kept = self.norm.ndim if isinstance(self.norm, Tensor) else 0
        norms = [
            torch.linalg.vector_norm(g, self.p, dim=tuple(range(kept, g.ndim)))
            if g.ndim > kept
            else g.abs()
            for g in grads
        ]
        first = norms[0]
        each = torch.stack([n.to(first.device, first.dtype) for n in norms])
        total = torch.linalg.vector_norm(each, self.p, dim=0)
        factor: Tensor = self.norm / (total + 1e-6)
        return factor.clamp(max=1.0)


@final
@dataclass(frozen=True, kw_only=True)
class Noise(Transform):
    """Add normal noise that fades with time, which helps deep networks out of a bad start.

    The noise is a function of seed, parameter and step, so that a resumed training repeats it.

        g = g + n,  n normal with mean 0 and variance eta / (1 + t)^gamma, t = 0 in the first step

    Args:
        eta: Variance in the first step.
        gamma: Speed of fading; 0 keeps the variance.
        seed: Where the noise begins.

    Source: neelakantan2015adding, section 3.
    Reduces to: nothing at all at `eta=0`.
    Checked against: the chi-square distribution of the variance at several steps.
    """

    scope: ClassVar[Scope] = "tensor"
    names: ClassVar[tuple[str, ...]] = ("stream",)
    eta: Number = 0.01
    gamma: Number = 0.55
    seed: int = 0

    def init(self, x: Tensor, index: int = 0) -> State:
        """Keep the place among the parameters, as a number.

        Args:
            x: The parameter.
            index: Its place.
        """
        return {"stream": index}

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Add the noise of this step."""
        now = int(step.max()) if isinstance(step, Tensor) else step
        generator = torch.Generator(device=g.device)
        # torch hashes no seed; mixing with odd constants keeps neighbours far apart.
        mixed = (self.seed * 0x9E3779B97F4A7C15 + state["stream"] * 0xBF58476D1CE4E5B9) & _MASK
        generator.manual_seed((mixed ^ (now * 0x94D049BB133111EB)) & _MASK)
        noise = torch.randn(g.shape, generator=generator, dtype=g.dtype, device=g.device)
        variance = over(self.eta, g) / over(step, g) ** over(self.gamma, g)
        return add_(
            g, noise, variance**0.5 if isinstance(variance, Tensor) else math.sqrt(variance)
        )


_MASK = 2**63 - 1


@final
@dataclass(frozen=True, kw_only=True)
class Centralize(Transform):
    """Take the mean over a row off each row of the gradient of a matrix or filter.

    Steadier training of networks with normalization, at no cost; vectors are left as they are.

        g = g - mean of g over all axes but the first

    Args:
        keep: Leading axes whose elements keep a mean of their own; 2 where K trainings are stacked.

    Source: yong2020gradient, equation 1.
    Reduces to: nothing at all for vectors.
    Checked against: the projection matrix I - 1·1ᵀ / n.
    """

    scope: ClassVar[Scope] = "tensor"
    keep: int = 1

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Take the mean off."""
        if g.ndim <= self.keep:
            return g
        return g.sub_(g.mean(dim=tuple(range(self.keep, g.ndim)), keepdim=True))
