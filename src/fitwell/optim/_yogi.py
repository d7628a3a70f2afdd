"""Adam with another second moment: Yogi and AdaBelief."""

from __future__ import annotations

from typing import Any, final

from torch.optim.optimizer import ParamsT

from ._checks import check_settings
from ._chunked import Chunked
from ._kit import Chain, Decay, Mean, Ratio, Scale, SignedSquare, Surprise, Transform


@final
class Yogi(Chunked):
    """Adam whose rate cannot rise quickly: the second moment moves by g², not by the distance.

    For sparse or bursty gradients, where Adam forgets a burst within some steps.

        v = v - (1 - β₂) · sign(v - g²) · g²
        θ = θ - lr · m̂ / (√v̂ + eps)          hats: divided by 1 - βᵗ

    Args:
        params: Parameters or groups of them.
        lr: Step size.
        betas: Decay of the mean of gradients, and one minus the speed of the second moment.
        eps: Added to the root; larger than Adam's, as in the source.
        initial: What the second moment begins with.
        weight_decay: L2 penalty added to the gradient.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: zaheer2018adaptive, algorithm 2.
    Differs: divides both moments by 1 - βᵗ, as Adam does and as is usual.
    Reduces to: momentum with one rate for all as β₂ goes to 1.
    Checked against: the formula written out, 200 steps.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-3,
        initial: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps}
        settings |= {"initial": initial, "weight_decay": weight_decay}
        check_settings("Yogi", settings)
        super().__init__(params, settings)

    def _rule(self, group: dict[str, Any]) -> Transform:
        beta1, beta2 = group["betas"]
        bottom = SignedSquare(beta=beta2, initial=group["initial"])
        ratio = Ratio(top=Mean(beta=beta1), bottom=bottom, eps=group["eps"])
        decay = (Decay(rate=group["weight_decay"]),) if group["weight_decay"] else ()
        return Chain(parts=(*decay, ratio, Scale(lr=group["lr"])))


@final
class AdaBelief(Chunked):
    """Adam that trusts its mean: steps are large where gradients are as foreseen.

    Often better than Adam where gradients are consistent, such as in image models; the same cost.

        s = β₂ s + (1 - β₂)(g - m)² + eps
        θ = θ · (1 - lr · weight_decay) - lr · m̂ / (√ŝ + eps)          hats: divided by 1 - βᵗ

    Args:
        params: Parameters or groups of them.
        lr: Step size.
        betas: Decay of the two running means, per step.
        eps: Added to the second moment in every step, and to its root.
        weight_decay: Share of each weight taken away per step, in units of `lr`.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: zhuang2020adabelief, algorithm 2.
    Reduces to: the sign of the mean, at any scale, where every gradient is the same.
    Checked against: the formula written out, 200 steps.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        check_settings("AdaBelief", settings)
        super().__init__(params, settings)

    def _rule(self, group: dict[str, Any]) -> Transform:
        beta1, beta2 = group["betas"]
        bottom = Surprise(beta=beta2, eps=group["eps"])
        ratio = Ratio(top=Mean(beta=beta1), bottom=bottom, eps=group["eps"])
        decay = (Decay(rate=group["weight_decay"]),) if group["weight_decay"] else ()
        return Chain(parts=(ratio, *decay, Scale(lr=group["lr"])))
