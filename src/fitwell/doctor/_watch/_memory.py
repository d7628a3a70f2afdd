"""What a watch remembers of a model from look to look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

from torch import Tensor, nn

from .._sandbox import uncompiled
from ._batches import Labels

_SHY = (nn.TransformerEncoderLayer,)
"""In evaluation they take a way of their own, with other last bits, unless they find hooks."""


@final
class Memory:
    """What goes from look to look.

    Args:
        model: What is watched.
        optimizers: What steps it.
        loss_fn: If it is a module, targets are read from its arguments.
        notes: Takes in what could not be seen.
        compiled: The model runs compiled, though it does not look so.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Any],
        loss_fn: Any,
        notes: Callable[[str], None],
        *,
        compiled: bool = False,
    ) -> None:
        self.model = model
        self.optimizers = optimizers
        self.loss_fn = loss_fn
        self.notes = notes
        self.labels = Labels()
        self.active: dict[str, Tensor] = {}  # units that were ever active, by module
        self.operations: dict[str, list[str]] = {}
        self.in_eval: dict[str, int] = {}  # looks at which a module was in evaluation mode
        self.inner: nn.Module = uncompiled(model)
        layers = {n: m for n, m in self.inner.named_modules() if not _has_children(m)}
        compiled = compiled or self.inner is not model
        self.leaves = {} if compiled else layers  # hooks would have it compiled again
        self.shy = set(_within(self.inner, _SHY))  # names; hooked in passes that train alone
        named = {} if compiled else dict(self.inner.named_modules())
        self.gates = [  # what runs before them
            module
            for name, module in named.items()
            if name not in self.shy and any(isinstance(part, _SHY) for part in module.modules())
        ]

    def add_active(self, name: str, active: Tensor) -> Tensor:
        """Give the share of units that no look has seen active.

        Args:
            name: Of the module.
            active: Of each unit, at this look.
        """
        known = self.active.get(name)
        if known is None or known.shape != active.shape:
            self.active[name] = active
        else:
            self.active[name] = known | active
        return 1 - self.active[name].float().mean()


def _within(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[str]:
    """Name modules of some kinds, and all that is inside of them."""
    for path, module in model.named_modules():
        if isinstance(module, kinds):
            for name, _ in module.named_modules(prefix=path):
                yield name


def _has_children(module: nn.Module) -> bool:
    own = isinstance(module, nn.MultiheadAttention)  # its parts are not called as modules
    return not own and next(module.children(), None) is not None
