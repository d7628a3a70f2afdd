"""Watch a loop of the user's own for calls in the wrong order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from ..core.errors import UsageError


@contextlib.contextmanager
def check_order(optimizer: Optimizer, *, accumulate: int = 1) -> Iterator[None]:
    """Raise at the first call of a training loop that comes in the wrong order.

    For a hand-written loop while it is being debugged; `Trainer` needs no watching. Finds a missing
    ``zero_grad`` (gradients of the last step are still there), a ``step`` without a ``backward``
    before it, and more ``backward`` calls than the step takes.

    Args:
        optimizer: Of the loop; the parameters it has are watched.
        accumulate: Backward passes per step.

    Raises:
        UsageError: A call came in the wrong order; the message says which and what to do.

    Source: paszke2019pytorch.
    Checked against: loops with each mistake, and without.
    """
    watched = [p for g in optimizer.param_groups for p in g["params"] if p.requires_grad]
    state = _Order(accumulate)
    seen: set[int] = set()

    def after_gradient(parameter: Tensor) -> None:
        # One backward pass visits each parameter once; a second visit is a second pass.
        if not seen or id(parameter) in seen:
            seen.clear()
            state.backward()
        seen.add(id(parameter))

    def replaced(name: str, notice: Callable[[], None]) -> None:
        original = getattr(optimizer, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            notice()
            seen.clear()
            return original(*args, **kwargs)

        setattr(optimizer, name, call)

    handles = [p.register_post_accumulate_grad_hook(after_gradient) for p in watched]
    replaced("step", state.step)
    replaced("zero_grad", state.zero_grad)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name in ("step", "zero_grad"):
            optimizer.__dict__.pop(name, None)


class _Order:
    """Counts backward passes since the gradients were cleared and since the last step."""

    def __init__(self, accumulate: int) -> None:
        self._accumulate = accumulate
        self._since_step = 0
        self._stale = False
        self._cleared = False

    def backward(self) -> None:
        if self._stale:
            raise UsageError(
                "check_order: `backward` was called while the gradients of the last step were"
                " still there, so they add up. Call optimizer.zero_grad() after each step."
            )
        self._since_step += 1
        if self._since_step > self._accumulate:
            raise UsageError(
                f"check_order: `backward` was called {self._since_step} times before a step;"
                f" {self._accumulate} is right. Call it once per batch, or say accumulate="
                f"{self._since_step}."
            )

    def step(self) -> None:
        if self._since_step == 0 and self._cleared:
            raise UsageError(
                "check_order: `zero_grad` was called between `backward` and `step`, so there is no"
                " gradient. Call it after the step."
            )
        if self._since_step == 0:
            raise UsageError(
                "check_order: `step` was called before `backward`, so there is no new gradient."
                " Call loss.backward() first."
            )
        self._since_step, self._stale, self._cleared = 0, True, False

    def zero_grad(self) -> None:
        self._cleared = self._since_step > 0
        self._since_step, self._stale = 0, False
