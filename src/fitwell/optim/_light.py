"""What fitwell's optimizers share: torch's Optimizer without the import of the compiler.

torch's own constructors and steps import ``torch._dynamo``, which takes longer than importing
torch, and wrap every step for the profiler. Hooks on the optimizer are called, torch's global ones
for all optimizers are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


def plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method of Optimizer without the wrapper that imports the compiler.

    Args:
        method: The method.
    """
    return getattr(method, "__wrapped__", method)


class Light(Optimizer):
    """An Optimizer that is made and steps without the compiler; to be built on.

    Attributes:
        _found: What was found about the parameters of a group, by its place, until they change.
    """

    _found: dict[int, Any]

    add_param_group = plain(Optimizer.add_param_group)
    load_state_dict = plain(Optimizer.load_state_dict)
    state_dict = plain(Optimizer.state_dict)

    def _patch_step_function(self) -> None:
        # Called by torch when an optimizer is made, loaded or copied; it would wrap `step`.
        self._zero_grad_profile_name = f"Optimizer.zero_grad#{type(self).__name__}.zero_grad"
        self._found = {}

    def register_step_pre_hook(self, hook: Any) -> Any:
        """Call something before each step, at the price of torch's wrapper around it.

        Args:
            hook: ``hook(optimizer, args, kwargs)``.
        """
        super()._patch_step_function()
        return super().register_step_pre_hook(hook)

    def register_step_post_hook(self, hook: Any) -> Any:
        """Call something after each step, at the price of torch's wrapper around it.

        Args:
            hook: ``hook(optimizer, args, kwargs)``.
        """
        super()._patch_step_function()
        return super().register_step_post_hook(hook)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients.

        Args:
            set_to_none: False fills them with zeros instead.
        """
        if not set_to_none:
            plain(Optimizer.zero_grad)(self, set_to_none=False)
            return
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None
