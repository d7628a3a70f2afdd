"""What optimizers that wrap another have in common: they show its groups and state as their own.

So schedules, gradient scalers and checkpoints need not know that there are two. What a wrapper
keeps itself stands in the state of the wrapped optimizer, under the wrapper's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from ..core.errors import UsageError
from ._light import Light


class Wrapper(Light):
    """Base of the optimizers that wrap another; forwards all but the step.

    Args:
        optimizer: The wrapped one.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise UsageError(
                f"{name}: `optimizer` must be an optimizer to wrap; got {optimizer!r}."
                f" Write {name}(AdamW(model.parameters()))."
            )
        if _wraps(optimizer, type(self)):
            raise UsageError(
                f"{name}: `optimizer` must not contain another {name}; got"
                f" {type(optimizer).__name__}. Wrap the optimizer within it once."
            )
        self.optimizer = optimizer
        self.defaults = dict(optimizer.defaults)
        super().__setstate__({})  # tables of hooks, as when an optimizer is unpickled

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of the wrapped optimizer."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.optimizer.param_groups = groups

    @property
    def state(self) -> Any:
        """The state of the wrapped optimizer, with the wrapper's own under its name."""
        return self.optimizer.state

    @state.setter
    def state(self, state: Any) -> None:
        self.optimizer.state = state

    @property
    def needs_closure(self) -> bool:
        """Whether a step has to compute gradients again."""
        return bool(getattr(self.optimizer, "needs_closure", False))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_optimizer_")}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters to the wrapped optimizer.

        Args:
            param_group: Parameters under ``params``, and their settings.
        """
        self.optimizer.add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients.

        Args:
            set_to_none: False fills them with zeros instead.
        """
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Give the state of both, in the form of the wrapped optimizer."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state of both back.

        Args:
            state_dict: What `state_dict` gave.
        """
        self.optimizer.load_state_dict(state_dict)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Evaluates the model again and gives the loss.
        """
        raise NotImplementedError

    def parameters(self) -> list[torch.Tensor]:
        """Give all parameters, in the order of the groups."""
        return [p for group in self.param_groups for p in group["params"]]


def _wraps(optimizer: Optimizer, kind: type[Wrapper]) -> bool:
    while isinstance(optimizer, Wrapper):
        if isinstance(optimizer, kind):
            return True
        optimizer = optimizer.optimizer
    return False
