"""The end of an adaptive step in one pass over memory, where torch has a kernel for it."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ._base import State
from ._moments import MaxMeanSquare, Mean, MeanSquare, Moment, Surprise

_LATE = torch.tensor(2.0**53)  # the step at which the kernel makes up for no zeros any more
_KEEP = 1 - 2.0**-53  # the share that leaves a moment as it is; 1 would make the kernel divide by 0
_LEFT = 1 - _KEEP**2.0**53  # what the kernel divides a kept moment by: 1 - 1/e
FREE = (-math.inf, math.inf)
_SMALL = 1e-18  # smaller numbers have no square in float32


def descend_at_once(
    top: Moment | None,
    bottom: Moment,
    x: Tensor,
    g: Tensor,
    state: State,
    step: int | Tensor,
    rate: float,
    left: float,
    eps: Any,
    out: Tensor | None,
    bounds: tuple[float, float] = FREE,
) -> bool:
    """Take ``rate · m̂ / (√v̂ + eps)`` off a parameter by torch's fused step of Adam, if it can.

    The kernel takes in the gradient, divides and changes the parameter in one pass, in place of
    four to seven. A second moment that is not Adam's is made before, and given to it as one that
    stays as it is.

    Args:
        top: What is divided; None is the gradient.
        bottom: What it is divided by the root of.
        x: The parameter, changed in place.
        g: The gradient, left as it is.
        state: What both keep, changed in place.
        step: Counts from 1.
        rate: What the direction is multiplied by.
        left: What the parameter is multiplied by before.
        eps: Added to the root.
        out: Memory of the shape of `g` to work in; None takes new memory.
        bounds: Bounds on √v, before it is made free of bias.
    """
    (least, most), of_square = bounds, bottom.divisor(step, g)
    if isinstance(of_square, Tensor) or not _fits(top, x, g, step, eps):
        return False
    if most < 0 or 0 < least < _SMALL:
        return False
    beta1, of_top = top.beta, top.divisor(step, g)
    if isinstance(bottom, Surprise):  # it looks at the mean of this step
        top.moment(g, state, x, step)
        beta1, of_top = _KEEP, of_top / _LEFT
    largest: list[Tensor] = []
    if bounds == FREE and _is_adams(bottom):
        square, beta2 = state["exp_avg_sq"], bottom.beta
        largest = [state["max_exp_avg_sq"]] if isinstance(bottom, MaxMeanSquare) else []
    else:
        square, beta2 = bottom.moment(g, state, x, step, out)[0], _KEEP
        of_square = of_square / _LEFT
    if bounds != FREE:
        square = torch.clamp(square, max(least, 0.0) ** 2, most * most, out=out)
    if left != 1:
        x.mul_(left)
    torch._fused_adam_(
        [x],
        [g],
        [state["exp_avg"]],
        [square],
        largest,
        [_LATE],
        lr=rate * of_square**0.5 / of_top,
        beta1=float(beta1),
        beta2=float(beta2),
        weight_decay=0.0,
        eps=eps * of_square**0.5,
        amsgrad=bool(largest),
        maximize=False,
    )
    return True


def _fits(
    top: Moment | None, x: Tensor, g: Tensor, step: int | Tensor, eps: Any
) -> TypeGuard[Mean]:
    """Say whether the kernel can take a step, but for the second moment."""
    numbers = isinstance(top, Mean) and _is_share(top.beta) and isinstance(eps, float | int)
    kind = g.device.type == "cpu" and g.dtype in (torch.float32, torch.float64)
    alike = g.dtype == x.dtype and g.is_contiguous() and x.is_contiguous()
    return numbers and kind and alike and isinstance(step, int)


def _is_adams(bottom: Moment) -> TypeGuard[MeanSquare | MaxMeanSquare]:
    if not isinstance(bottom, MeanSquare | MaxMeanSquare):
        return False
    return _is_share(bottom.beta) and not getattr(bottom, "centered", False)


def _is_share(beta: Any) -> bool:
    """Say whether a share is a number of which nothing is left at the late step."""
    return isinstance(beta, float | int) and 0 <= beta < 1 - 1e-12
