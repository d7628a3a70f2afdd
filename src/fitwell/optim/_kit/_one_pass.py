"""Both moments of Adam in one pass over memory, where torch has a kernel for it."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Number, State
from ._moments import MaxMeanSquare, Mean, MeanSquare, Moment, debias

_FIRST = torch.ones(())  # the kernel divides by 1 - βᵗ, and what it divides is multiplied by 0


def both_moments(
    top: Moment | None,
    bottom: Moment,
    g: Tensor,
    state: State,
    x: Tensor,
    step: int | Tensor,
    out: Tensor | None,
) -> tuple[Tensor, Number, Tensor, Number]:
    """Take in a gradient; give both raw moments, each with the number to divide it by.

    On a processor, torch's fused step of Adam at a rate of 0 changes the two moments and nothing
    else: one pass over memory in place of three or four, and the same numbers up to rounding.

    Args:
        top: What is divided; None is the gradient.
        bottom: What it is divided by the root of.
        g: The gradient, left as it is.
        state: What both keep, changed in place.
        x: The parameter.
        step: Counts from 1.
        out: Memory to work in, which the engine gives with flat pieces; None takes new memory.
    """
    if out is not None and _fits(top, bottom, g, x):
        largest = [state["max_exp_avg_sq"]] if isinstance(bottom, MaxMeanSquare) else []
        torch._fused_adam_(
            [x],
            [g],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            largest,
            [_FIRST],
            lr=0.0,
            beta1=top.beta,  # type: ignore[union-attr]
            beta2=bottom.beta,  # type: ignore[attr-defined]
            weight_decay=0.0,
            eps=1.0,
            amsgrad=bool(largest),
            maximize=False,
        )
        square = largest[0] if largest else state["exp_avg_sq"]
        of_top = debias(top.beta, step, g, top.debias)  # type: ignore[union-attr]
        of_square = debias(bottom.beta, step, g, bottom.debias)  # type: ignore[attr-defined]
        return state["exp_avg"], of_top, square, of_square
    mean, of_top = (g, 1.0) if top is None else top.moment(g, state, x, step)
    return mean, of_top, *bottom.moment(g, state, x, step, out)


def _fits(top: Moment | None, bottom: Moment, g: Tensor, x: Tensor) -> bool:
    if not isinstance(top, Mean) or not isinstance(bottom, MeanSquare | MaxMeanSquare):
        return False
    betas = (top.beta, bottom.beta)
    numbers = all(isinstance(beta, float) and 0 <= beta < 1 for beta in betas)
    plain = numbers and not getattr(bottom, "centered", False)
    kind = g.device.type == "cpu" and g.dtype in (torch.float32, torch.float64)
    return plain and kind and g.dtype == x.dtype and g.is_contiguous()
