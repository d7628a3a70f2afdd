"""SGD for several processes that change the same weights without waiting for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ..core.errors import UsageError
from ._checks import check_settings
from ._light import Light, plain


@final
class HogwildSGD(Light):
    """Descend the gradient in memory that several processes share, without locks.

    For sparse problems, where processes seldom touch the same weights. A step is one addition in
    place per parameter, and nothing is kept between steps, so that processes can only meet in
    single numbers: now and then a change is lost. Has no momentum and no weight decay, which
    would touch all weights in every step. For dense gradients use training in several processes
    that waits: `fitwell train --workers`.

        θ = θ - lr · g          only where g is not zero, if g is sparse

    Each process makes its own optimizer over the shared parameters.

    Args:
        params: Parameters or groups of them, in shared memory.
        lr: Step size.

    Raises:
        UsageError: `lr` is out of range, or a parameter or its gradient is not where it should be.

    Source: recht2011hogwild, algorithm 1.
    Differs: each process steps with its own gradients of whole batches, not of one weight.
    Reduces to: `SGD` without momentum, in one process.
    Checked against: `torch.optim.SGD`, bit for bit; the loss that one process reaches.

    Example:
        model.share_memory()
        torch.multiprocessing.spawn(train, (model,), nprocs=4)      # train(rank, model)
    """

    def __init__(self, params: ParamsT, lr: float = 0.01) -> None:
        check_settings("HogwildSGD", {"lr": lr})
        super().__init__(params, {"lr": lr})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with a rate of their own.

        Args:
            param_group: Parameters under ``params``, and their settings.

        Raises:
            UsageError: A parameter is not in shared memory, or its gradient is.
        """
        plain(super().add_param_group)(param_group)
        try:
            for p in self.param_groups[-1]["params"]:
                _check(p)
        except UsageError:
            self.param_groups.pop()
            raise

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
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad, alpha=-group["lr"])
        return loss


def _check(p: Tensor) -> None:
    shape = tuple(p.shape)
    if not p.is_shared():  # type: ignore[no-untyped-call]
        raise UsageError(
            f"HogwildSGD: `params` must be in shared memory; got one of shape {shape} that is not."
            " Call model.share_memory() before the processes start."
        )
    g: Any = p.grad
    if g is not None and g.layout == torch.strided and g.device.type == "cpu" and g.is_shared():
        raise UsageError(
            f"HogwildSGD: gradients must belong to one process; got a shared one of shape {shape}."
            " Call zero_grad() before model.share_memory()."
        )
