"""SWATS: begin with Adam, end with SGD, at the rate that Adam's own steps suggest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ..core.errors import UsageError
from ._checks import check_settings
from ._light import Light


@final
class SWATS(Light):
    """Take steps of Adam until the rate of SGD that equals them has settled, then steps of SGD.

    For who wants the quick start of Adam and the generalization of SGD without tuning two rates.
    The switch may never come: look at `switched_at`.

        p = Adam's step on g                            step k, all parameters together
        γ = - (p · p) / (p · g)                         the rate of SGD whose projection on p is p
        λ = β₂ λ + (1 - β₂) γ,  Λ = λ / (1 - β₂ᵏ)
        switch when k > 1 and |Λ - γ| < tolerance
        v = β₁ v + g,  θ = θ - (1 - β₁) Λ · v           from then on

    After the switch a schedule acts on Λ: it is multiplied by what `lr` has become since, as a
    share of what it was then. Before, a rate that falls keeps γ below its mean and may put the
    switch off. Each step of the first phase waits for the device.

    Args:
        params: Parameters or groups of them.
        lr: Step size of Adam.
        betas: Decay of the two running means of Adam; the first is also the momentum of SGD, the
            second the decay of the mean of γ.
        eps: Added to the root.
        weight_decay: L2 penalty added to the gradient, in both phases.
        tolerance: How near γ has to be to its mean.

    Raises:
        UsageError: A value is out of range, or a gradient is sparse or complex.

    Source: keskar2017improving, algorithm 1, where one number stands for `eps` and `tolerance`.
    Differs: does not switch to a rate that is negative.
    Reduces to: Adam with `eps` added before the correction of bias, at `tolerance=0`.
    Checked against: a literal reference on a recorded stream of gradients; `torch.optim.Adam`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-9,
        weight_decay: float = 0.0,
        tolerance: float = 1e-9,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        check_settings("SWATS", {**settings, "tolerance": tolerance})
        # What concerns all parameters stands in every group, where torch saves it.
        whole = {"tolerance": tolerance, "steps": 0, "mean_rate": 0.0, "switched_at": None}
        super().__init__(params, {**settings, **whole, "rate": None, "rate_per_lr": None})

    @property
    def switched_at(self) -> int | None:
        """Number of the last step of Adam; None while there has been no switch."""
        number: int | None = self.param_groups[0]["switched_at"]
        return number

    @property
    def rate(self) -> float | None:
        """The rate of SGD that was found, before any schedule; None before the switch."""
        rate: float | None = self.param_groups[0]["rate"]
        return rate

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Evaluates the model again and gives the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.switched_at is None:
            self._adam()
        else:
            self._sgd()
        return loss

    def _adam(self) -> None:
        dots: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    g = _gradient(p, group["weight_decay"])
                    step = _adam_step(p, g, self.state[p], group)
                    flat = step.flatten()
                    dots.append((flat.dot(flat), flat.dot(g.flatten())))
                    p.add_(step)
        if dots:
            device = dots[0][0].device
            pairs = torch.stack([torch.stack(pair).to(device) for pair in dots])
            self._judge(*pairs.double().sum(0).tolist())

    def _judge(self, square: float, along: float) -> None:
        """Average the rate that SGD would need, and switch if it has settled.

        Args:
            square: Adam's step times itself.
            along: Adam's step times the gradient; 0 says nothing about the rate.
        """
        first = self.param_groups[0]
        beta2 = first["betas"][1]
        steps, mean, settled = first["steps"] + 1, first["mean_rate"], None
        if along != 0:
            rate = -square / along
            mean = beta2 * mean + (1 - beta2) * rate
            corrected = mean / (1 - beta2**steps)
            if steps > 1 and corrected > 0 and abs(corrected - rate) < first["tolerance"]:
                settled = corrected
        for group in self.param_groups:
            group.update(steps=steps, mean_rate=mean)
            if settled is not None:
                share = settled / group["lr"] if group["lr"] else 0.0
                group.update(switched_at=steps, rate=settled, rate_per_lr=share)
        if settled is not None:
            self.state.clear()

    def _sgd(self) -> None:
        first = self.param_groups[0]
        for group in self.param_groups:
            if group["switched_at"] is None:  # joined after the switch
                group.update({name: first[name] for name in ("switched_at", "rate", "rate_per_lr")})
            beta1 = group["betas"][0]
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    if not state:
                        state["momentum_buffer"] = torch.zeros_like(p)
                    v = state["momentum_buffer"].mul_(beta1)
                    v.add_(_gradient(p, group["weight_decay"]))
                    p.add_(v, alpha=-(1 - beta1) * group["rate_per_lr"] * group["lr"])


def _gradient(p: Tensor, weight_decay: float) -> Tensor:
    g: Any = p.grad
    if g.layout != torch.strided or g.is_complex():
        raise UsageError(
            "SWATS: gradients must be dense and real; got a sparse or complex one."
            " Use sparse=False, or SparseAdam of torch."
        )
    result: Tensor = g.add(p, alpha=weight_decay) if weight_decay else g
    return result


def _adam_step(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Give what Adam would add to a parameter, and advance its running means."""
    if not state:
        state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
    state["step"] += 1
    beta1, beta2 = group["betas"]
    m = state["exp_avg"].lerp_(g, 1 - beta1)
    a = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
    correction = math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
    step: Tensor = a.sqrt().add_(group["eps"])
    return torch.div(m, step, out=step).mul_(-group["lr"] * correction)
