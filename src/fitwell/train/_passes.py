"""Forward passes in a precision, and `loss.backward()` with less Python around it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Precision = Literal["float32", "bf16", "fp16"]


def autocast(
    precision: Precision, device: torch.device | str
) -> contextlib.AbstractContextManager[Any]:
    """Give the context for forward passes of a precision; float32 changes nothing.

    Args:
        precision: Of the passes.
        device: Where they run.

    Source: micikevicius2018mixed.
    Checked against: `torch.autocast`.
    """
    if precision == "float32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(torch.device(device).type, dtype=dtype)


def take_step(optimizer: Optimizer, again: Callable[[], Any]) -> None:
    """Take a step, with what computes gradients again for an optimizer that looks at them twice.

    Args:
        optimizer: With the gradients of the parameters in place.
        again: Leaves the gradients anew, where the optimizer has moved the parameters for a look,
            and gives the loss.
    """
    if needs_closure(optimizer):
        optimizer.step(partial(_anew, optimizer, again))
    else:
        optimizer.step()


def needs_closure(optimizer: Optimizer) -> bool:
    """Say whether an optimizer computes gradients again in a step, as SAM and torch's LBFGS do.

    Args:
        optimizer: Also a wrapped one.
    """
    if getattr(optimizer, "needs_closure", False) or _asks_for_one(type(optimizer).step):
        return True
    inner = getattr(optimizer, "optimizer", None)
    return isinstance(inner, Optimizer) and needs_closure(inner)


@cache
def _asks_for_one(step: Callable[..., Any]) -> bool:
    closure = inspect.signature(step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _anew(optimizer: Optimizer, again: Callable[[], Any]) -> Any:
    optimizer.zero_grad()
    return again()


def clip_norm(optimizer: Optimizer, most: float) -> Tensor:
    """Make all gradients of an optimizer together at most so long; give how long they were.

    Args:
        optimizer: With the gradients of the parameters in place.
        most: The largest norm.
    """
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    return nn.utils.clip_grad_norm_(trained, most)


_ONE = torch.ones(())


def _engine() -> Any:
    """Give the call that `loss.backward()` ends in, or None where torch has it no more.

    It is not part of torch's promises, so it is tried once on a problem of known answer.
    """
    weight = torch.ones((), requires_grad=True)
    try:
        run: Any = torch.autograd.Variable._execution_engine.run_backward
        run((weight * 3,), (_ONE,), False, False, (), allow_unreachable=True, accumulate_grad=True)
    except (AttributeError, TypeError, RuntimeError):
        return None
    return run if weight.grad is not None and weight.grad.item() == 3 else None


_RUN: Any = _engine()


def backward(loss: Tensor) -> None:
    """Add the gradients of a loss to its parameters, as `loss.backward()` does.

    That method checks and prepares much that a plain loss on the processor does not need; for a
    small model this takes as long as the forward pass. Such a loss goes straight to the engine
    that the method calls, anything else through the method.

    Args:
        loss: One number.
    """
    plain = type(loss) is Tensor and loss.ndim == 0 and loss.dtype == torch.float32
    if plain and loss.device.type == "cpu" and _RUN is not None:
        _RUN((loss,), (_ONE,), False, False, (), allow_unreachable=True, accumulate_grad=True)
    else:
        loss.backward()  # type: ignore[no-untyped-call]
