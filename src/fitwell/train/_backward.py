"""`loss.backward()` with less Python around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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
