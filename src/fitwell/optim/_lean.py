"""torch's SGD, Adam and AdamW with a shorter way to the same fused kernels.

Same arguments, same state, same bits as ``torch.optim.X(..., fused=True)``, and still instances of
it. Left out of the usual step are the import of the compiler (see `Light`), the grouping of tensors
by device and dtype, the wrapper that marks steps for the profiler, and the search for every tensor
in every step. Whatever the short way does not cover (complex gradients, several devices, a gradient
scaler, ``amsgrad``, ``maximize``) goes through torch's own step, which refuses sparse gradients.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ._light import Light

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class _Lists:
    """What the kernel gets for some parameters, found once and used in every step.

    Args:
        params: The parameters.
        columns: Their state tensors, a list per kind.
        steps: Their step counts; empty for SGD.
        counter: All step counts in one tensor, of which `steps` are the entries; None if the
            counts are separate.
        first: State of the first parameter, to notice when states are replaced.
    """

    params: list[Tensor]
    columns: tuple[list[Tensor], ...]
    steps: list[Tensor]
    counter: Tensor | None
    first: Any


class _Lean(Light):
    _found: dict[int, _Lists]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Evaluates the model again and gives the loss; goes torch's own way.
        """
        # A gradient scaler leaves its scale and verdict as attributes for torch's own step.
        short = closure is None and not hasattr(self, "found_inf")
        work = self._work() if short else None
        if work is None:
            return super().step(closure)
        for group, lists, grads in work:
            self._update(group, lists, grads)
        return None

    def _work(self) -> list[tuple[dict[str, Any], _Lists, list[Any]]] | None:
        """Give groups, lists and gradients of the short way, or None if it is closed."""
        work = []
        for number, group in enumerate(self.param_groups):
            params = group["params"]
            grads = [p.grad for p in params]
            lists = self._found.get(number)
            if lists is None or not self._holds(lists, group) or any(g is None for g in grads):
                params = [p for p in params if p.grad is not None]
                if not params:
                    continue
                if group["maximize"] or group.get("amsgrad") or not _alike(params):
                    return None
                grads = [p.grad for p in params]
                lists = self._look_up(group, params)
                if len(params) == len(group["params"]):
                    self._found[number] = lists
            work.append((group, lists, grads))
        return work

    def _holds(self, lists: _Lists, group: dict[str, Any]) -> bool:
        params = group["params"]
        return (
            len(params) == len(lists.params)
            and all(map(operator.is_, params, lists.params))
            and self.state.get(params[0]) is lists.first
        )

    def _look_up(self, group: dict[str, Any], params: list[Tensor]) -> _Lists:
        raise NotImplementedError

    def _update(self, group: dict[str, Any], lists: _Lists, grads: list[Any]) -> None:
        raise NotImplementedError


def _alike(parameters: list[Tensor]) -> bool:
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

    def _holds(self, lists: _Lists, group: dict[str, Any]) -> bool:
        buffered = bool(lists.columns[0]) == bool(group["momentum"])  # momentum may be scheduled
        return buffered and super()._holds(lists, group)

    def _look_up(self, group: dict[str, Any], params: list[Tensor]) -> _Lists:
        buffers = []
        if group["momentum"]:
            for p in params:
                # A buffer of zeros gives the first step that torch gives without dampening.
                if self.state[p].get("momentum_buffer") is None:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                buffers.append(self.state[p]["momentum_buffer"])
        return _Lists(list(params), (buffers,), [], None, self.state.get(params[0]))

    def _update(self, group: dict[str, Any], lists: _Lists, grads: list[Any]) -> None:
        torch._fused_sgd_(
            lists.params,
            grads,
            lists.columns[0],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=False,
            is_first_step=False,
        )


class _LeanAdam(_Lean):
    _kernel: Callable[..., None]

    def _look_up(self, group: dict[str, Any], params: list[Tensor]) -> _Lists:
        states = [self._state_of(p) for p in params]
        counter = None
        if len(params) == len(group["params"]):  # then all are counted by one addition
            counter = torch.stack([state["step"] for state in states])
            for place, state in enumerate(states):
                state["step"] = counter[place]
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        steps = [state["step"] for state in states]
        return _Lists(list(params), (means, squares), steps, counter, states[0])

    def _update(self, group: dict[str, Any], lists: _Lists, grads: list[Any]) -> None:
        if lists.counter is None:
            torch._foreach_add_(lists.steps, 1)
        else:
            lists.counter.add_(1)
        beta1, beta2 = group["betas"]
        type(self)._kernel(
            lists.params,
            grads,
            *lists.columns,
            [],
            lists.steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
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
