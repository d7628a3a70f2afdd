"""Optimizers for very large batches: each tensor's step is measured against the tensor itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ._checks import check_settings
from ._chunked import Chunked
from ._kit import Chain, Mean, MeanSquare, Ratio, Scale, State, Trace, Transform
from ._kit._base import Scope


@final
class LARS(Chunked):
    """SGD with momentum whose rate, per tensor, is a small share of the weights' length.

    For image models at batches of many thousands, where one rate is too large for some layers and
    too small for others. The rate itself is then large, of the order of 1 to 10, and needs a
    warm-up. Prefer `LAMB` where Adam would be the choice, `SGD` at ordinary batches.

        r = trust · ‖θ‖ / (‖g‖ + weight_decay · ‖θ‖ + eps)      per matrix or filter; else 1
        v = momentum · v + lr · r · (g + weight_decay · θ)
        θ = θ - v

    Args:
        params: Parameters or groups of them.
        lr: Step size for all tensors.
        momentum: Share of the last step that is kept.
        weight_decay: L2 penalty added to the gradient.
        trust: Share of the weights' length that a step at `lr=1` has; 0 makes all r 1.
        eps: Added to the divisor.
        vectors: Adapt biases and the gains of normalization layers too, which are not otherwise.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: you2017large, algorithm 1.
    Differs: `eps`; r is 1 where a norm is 0, and for vectors unless `vectors`.
    Reduces to: `SGD` at `trust=0` and a constant rate; a change of rate acts on new steps only.
    Checked against: the algorithm written out, 20 steps.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        trust: float = 1e-3,
        eps: float = 1e-8,
        vectors: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "eps": eps,
            "vectors": vectors,
        }
        check_settings("LARS", settings)
        super().__init__(params, settings)

    def _rule(self, group: dict[str, Any]) -> Transform:
        adapted = _Adapted(
            weight_decay=group["weight_decay"],
            trust=group["trust"],
            eps=group["eps"],
            vectors=group["vectors"],
        )
        return Chain(parts=(adapted, Scale(lr=group["lr"]), Trace(decay=group["momentum"])))


@final
class LAMB(Chunked):
    """Adam whose step, per tensor, is as long as the weights times the rate.

    For transformers at batches of many thousands, such as BERT's pre-training at 8k to 32k.
    At ordinary batches `AdamW` does as well with less to compute.

        u = m̂ / (√v̂ + eps) + weight_decay · θ            m̂, v̂ as in `Adam`
        θ = θ - lr · (‖θ‖ / ‖u‖) · u                      per matrix or filter; else lr · u

    Args:
        params: Parameters or groups of them.
        lr: Step size, as a share of the weights' length.
        betas: Decay of the running means of gradient and square, per step.
        eps: Added to the root.
        weight_decay: Share of the weights added to the direction, before it is scaled.
        vectors: Adapt biases and the gains of normalization layers too, which are not otherwise.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: you2020large, algorithm 2, with φ the identity.
    Differs: the factor is 1 where a norm is 0, and for vectors unless `vectors`.
    Reduces to: `AdamW`, up to its factor of `lr` on the decay, where only vectors are trained.
    Checked against: the algorithm written out, 20 steps.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        vectors: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "vectors": vectors,
        }
        check_settings("LAMB", settings)
        super().__init__(params, settings)

    def _rule(self, group: dict[str, Any]) -> Transform:
        beta1, beta2 = group["betas"]
        adam = Ratio(top=Mean(beta=beta1), bottom=MeanSquare(beta=beta2), eps=group["eps"])
        lengthened = _Lengthened(weight_decay=group["weight_decay"], vectors=group["vectors"])
        return Chain(parts=(adam, lengthened, Scale(lr=group["lr"])))


@final
@dataclass(frozen=True, kw_only=True)
class _Adapted(Transform):
    """Add the penalty, and scale by `trust` times the length of θ over those of its two parts."""

    scope: ClassVar[Scope] = "tensor"
    reads_x: ClassVar[bool] = True
    weight_decay: float
    trust: float
    eps: float
    vectors: bool

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Add and scale."""
        if self.trust == 0 or not (self.vectors or x.ndim > 1):
            return g.add_(x, alpha=self.weight_decay)
        of_x, of_g = _length(x), _length(g)
        ratio = _ratio(self.trust * of_x, of_g, self.weight_decay * of_x + self.eps)
        return g.add_(x, alpha=self.weight_decay).mul_(ratio)


@final
@dataclass(frozen=True, kw_only=True)
class _Lengthened(Transform):
    """Add the decay, and give the direction the length of θ."""

    scope: ClassVar[Scope] = "tensor"
    reads_x: ClassVar[bool] = True
    weight_decay: float
    vectors: bool

    def apply(self, g: Tensor, state: State, x: Tensor, step: int | Tensor) -> Tensor:
        """Add and scale."""
        g.add_(x, alpha=self.weight_decay)
        if not (self.vectors or x.ndim > 1):
            return g
        of_x, of_g = _length(x), _length(g)
        return g.mul_(_ratio(of_x, of_g, 0.0))


def _length(x: Tensor) -> float | Tensor:
    """Give the norm: on a CPU as a number, which is quicker, elsewhere without waiting for it."""
    norm = torch.linalg.vector_norm(x)
    return float(norm) if x.device.type == "cpu" else norm


def _ratio(top: Any, bottom: Any, more: Any) -> Any:
    """Divide `top` by `bottom + more`; give 1 where one of the first two is 0."""
    if isinstance(top, Tensor):
        return torch.where((top > 0) & (bottom > 0), top / (bottom + more), 1.0)
    return top / (bottom + more) if top > 0 and bottom > 0 else 1.0
