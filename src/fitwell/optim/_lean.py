"""torch's SGD, Adam and AdamW with a shorter way to the same fused kernels.

Same arguments, same state, same bits as ``torch.optim.X(..., fused=True)``, and still instances of
it. Two things are left out of the usual step: the import of the compiler (torch's own constructors
and steps import ``torch._dynamo``, which takes longer than importing torch) and the grouping of
tensors by device and dtype. Whatever the short way does not cover (sparse or complex gradients,
several devices, ``amsgrad``, ``maximize``) goes through torch's own step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method of Optimizer without the wrapper that imports the compiler."""
    return getattr(method, "__wrapped__", method)


class _Lean(Optimizer):
    add_param_group = _plain(Optimizer.add_param_group)
    load_state_dict = _plain(Optimizer.load_state_dict)
    state_dict = _plain(Optimizer.state_dict)
    zero_grad = _plain(Optimizer.zero_grad)

    def _short(self, parameters: list[Tensor]) -> bool:
        first = parameters[0]
        return first.dtype in _DTYPES and all(
            p.dtype == first.dtype
            and p.device == first.device
            and p.grad is not None
            and p.grad.layout == torch.strided
            and p.grad.dtype == first.dtype
            for p in parameters
        )


@final
class SGD(_Lean, torch.optim.SGD):
    """Descend the gradient, with momentum if asked.

    The choice for image models trained long with a falling rate; needs its rate tuned more than
    Adam does.

        b = momentum · b + g + weight_decay · θ
        θ = θ - lr · b          (nesterov: θ - lr · (g + momentum · b))

    Args:
        params: Parameters or groups of them.
        lr: Step size.
        momentum: Share of the last step that is kept; 0 keeps none.
        weight_decay: L2 penalty added to the gradient.
        nesterov: Look ahead along the momentum.

    Raises:
        ValueError: A value is negative, or `nesterov` without `momentum`.

    Source: robbins1951stochastic; polyak1964some; sutskever2013importance.
    Differs: `lr` outside the momentum sum, as in torch.
    Reduces to: gradient descent at `momentum=0`.
    Checked against: `torch.optim.SGD(fused=True)`, bit for bit; closed form on a quadratic.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params, lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Evaluates the model again and gives the loss; goes torch's own way.
        """
        groups = [(g, [p for p in g["params"] if p.grad is not None]) for g in self.param_groups]
        if closure is not None or not all(self._short(ps) for _, ps in groups if ps):
            return super().step(closure)
        for group, params in groups:
            if not params:
                continue
            momentum = group["momentum"]
            first = momentum != 0 and "momentum_buffer" not in self.state[params[0]]
            if first:
                for p in params:
                    self.state[p]["momentum_buffer"] = torch.empty_like(p)
            torch._fused_sgd_(
                params,
                [p.grad for p in params],
                [self.state[p]["momentum_buffer"] for p in params] if momentum else [],
                weight_decay=group["weight_decay"],
                momentum=momentum,
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=False,
                is_first_step=first,
            )
        return None


class _LeanAdam(_Lean):
    _kernel: Callable[..., None]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Evaluates the model again and gives the loss; goes torch's own way.
        """
        groups = [(g, [p for p in g["params"] if p.grad is not None]) for g in self.param_groups]
        if closure is not None or not all(self._short(ps) for _, ps in groups if ps):
            return super().step(closure)
        for group, params in groups:
            if params:
                self._update(group, params)
        return None

    def _update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        states = [self._state_of(p) for p in params]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        type(self)._kernel(
            params,
            [p.grad for p in params],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _state_of(self, p: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
            state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return state


@final
class Adam(_LeanAdam, torch.optim.Adam):
    """Scale each step by running means of the gradient and of its square.

    Prefer `AdamW` when there is weight decay: here it is divided by the gradient's scale too.

        m = β₁ m + (1 - β₁) g,  v = β₂ v + (1 - β₂) g²
        θ = θ - lr · m̂ / (√v̂ + eps)          hats: divided by 1 - βᵗ

    Args:
        params: Parameters or groups of them.
        lr: Step size.
        betas: Decay of the two running means, per step.
        eps: Added to the root, so that a vanishing gradient gives a vanishing step.
        weight_decay: L2 penalty added to the gradient.

    Raises:
        ValueError: A value is out of range.

    Source: kingma2015adam, algorithm 1.
    Reduces to: `AdamW` at `weight_decay=0`.
    Checked against: `torch.optim.Adam(fused=True)`, bit for bit.
    """

    _kernel = staticmethod(torch._fused_adam_)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, fused=True)


@final
class AdamW(_LeanAdam, torch.optim.AdamW):
    """Adam with weight decay that acts on the weights directly, not through the gradient.

    A good first choice for almost everything.

        θ = θ · (1 - lr · weight_decay), then the step of `Adam`

    Args:
        params: Parameters or groups of them.
        lr: Step size.
        betas: Decay of the two running means, per step.
        eps: Added to the root, so that a vanishing gradient gives a vanishing step.
        weight_decay: Share of each weight taken away per step, in units of `lr`.

    Raises:
        ValueError: A value is out of range.

    Source: loshchilov2019decoupled, algorithm 2.
    Reduces to: `Adam` at `weight_decay=0`.
    Checked against: `torch.optim.AdamW(fused=True)`, bit for bit.
    """

    _kernel = staticmethod(torch._fused_adamw_)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, fused=True)


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into those that decay (matrices, filters) and those that do not.

    Biases and the gains of normalization layers are vectors; decaying them only hurts.

    Args:
        model: Whose parameters.
        weight_decay: For the first group; the second gets 0.

    Source: he2019bag, section 3.1.
    Checked against: the number of dimensions of each parameter.
    """
    trainable: Iterable[Tensor] = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
