"""AdaBound and AMSBound: begin as Adam, end as momentum with one rate."""

from __future__ import annotations

from typing import Any, final

from torch.optim.optimizer import ParamsT

from ._checks import check_settings
from ._chunked import Chunked
from ._kit import Bounded, Chain, Decay, MaxMeanSquare, Mean, MeanSquare, Moment, Transform


class _Bounded(Chunked):
    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        final_lr: float = 0.1,
        gamma: float = 1e-3,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "final_lr": final_lr, "gamma": gamma}
        settings |= {"eps": eps, "weight_decay": weight_decay}
        check_settings(type(self).__name__, settings)
        super().__init__(params, settings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        # Schedules act on the final rate as they act on the rate.
        self.param_groups[-1].setdefault("base_lr", self.param_groups[-1]["lr"])

    def _with(self, bottom: Moment, group: dict[str, Any]) -> Transform:
        beta1, _ = group["betas"]
        lr, base = group["lr"], group["base_lr"]
        bounded = Bounded(
            top=Mean(beta=beta1),
            bottom=bottom,
            lr=lr,
            final_lr=group["final_lr"] * (lr / base if base else 0.0),
            gamma=group["gamma"],
            eps=group["eps"],
        )
        decay = group["weight_decay"]
        return Chain(parts=(Decay(rate=decay), bounded)) if decay else bounded


@final
class AdaBound(_Bounded):
    """Begin as Adam and end as momentum: the rate of every element lies between bounds that meet.

    For those who like Adam's start and SGD's end, and know the rate that SGD would want. The
    bounds are chosen by hand and are the same for every element; `AdamW` with a schedule is the
    usual choice.

        r = lr / (√v + eps) · √(1 - β₂ᵗ) / (1 - β₁ᵗ)
        r = clip(r, final_lr · (1 - 1 / (γ t + 1)), final_lr · (1 + 1 / (γ t)))
        θ = θ - r · m

    Args:
        params: Parameters or groups of them.
        lr: Step size at the start.
        betas: Decay of the running means of gradient and square, per step.
        final_lr: Step size at the end, before the factor of a schedule.
        gamma: Speed at which the bounds meet.
        eps: Added to the root.
        weight_decay: L2 penalty added to the gradient.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: luo2019adaptive, algorithm 2.
    Reduces to: `Adam` as `gamma` goes to 0.
    Checked against: the authors' update written out, 200 steps.
    """

    def _rule(self, group: dict[str, Any]) -> Transform:
        return self._with(MeanSquare(beta=group["betas"][1]), group)


@final
class AMSBound(_Bounded):
    """`AdaBound` over AMSGrad: the second moment that divides never falls.

        u = max(u, v),  and u in the place of v

    Args:
        params: Parameters or groups of them.
        lr: Step size at the start.
        betas: Decay of the running means of gradient and square, per step.
        final_lr: Step size at the end, before the factor of a schedule.
        gamma: Speed at which the bounds meet.
        eps: Added to the root.
        weight_decay: L2 penalty added to the gradient.

    Raises:
        UsageError: A value is out of range, or parameters are complex, sparse or whole numbers.

    Source: luo2019adaptive, section 4, its AMSBound.
    Reduces to: AMSGrad as `gamma` goes to 0.
    Checked against: the authors' update written out, 200 steps.
    """

    def _rule(self, group: dict[str, Any]) -> Transform:
        return self._with(MaxMeanSquare(beta=group["betas"][1]), group)
