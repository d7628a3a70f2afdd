"""Hooks that are there for one step, and that copies of a model do not inherit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch


def silent_hook() -> Callable[..., None]:
    """Give a hook that does nothing: what a copied or unpickled model has in place of ours."""
    return _nothing


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


@final
class Hooks:
    """The hooks of one look: they time themselves, and never raise.

    Args:
        clock: Seconds.
        notes: Takes in what could not be seen.
    """

    def __init__(self, clock: Callable[[], float], notes: Callable[[str], None]) -> None:
        self.clock = clock
        self.notes = notes
        self.seconds = 0.0
        self.now = 0.0  # when the last hook began, without what hooks took
        self._handles: list[Any] = []
        self._fleeting: list[Any] = []

    def made(self, call: Callable[..., None], *, grad: bool | None = None) -> Hook:
        """Make a hook of a function.

        Args:
            call: Gets what the hook gets, without gradients.
            grad: Of a module: silent unless gradients are on, or off; None for neither. Passes
                without gradients do not train.
        """
        return Hook(self, call, grad)

    def keep(self, handle: Any, *, fleeting: bool = False) -> None:
        """Remember what to remove.

        Args:
            handle: What registering a hook gave.
            fleeting: It goes at the next pass without gradients.
        """
        (self._fleeting if fleeting else self._handles).append(handle)

    @property
    def any_fleeting(self) -> bool:
        """Whether there are hooks that go at the next pass without gradients."""
        return bool(self._fleeting)

    def remove_fleeting(self, *args: Any) -> None:
        """Take away the hooks that go at a pass without gradients.

        Args:
            args: What a hook gets.
        """
        for handle in self._fleeting:
            handle.remove()
        self._fleeting.clear()

    def remove(self) -> None:
        """Take away every hook."""
        self.remove_fleeting()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


@final
class Hook:
    """A hook; see `Hooks`.

    Args:
        owner: Adds up the time.
        call: What it does.
        grad: Silent unless gradients are on, or off; None for neither.
    """

    def __init__(self, owner: Hooks, call: Callable[..., None], grad: bool | None) -> None:
        self._owner = owner
        self._call = call
        self._grad = grad

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if torch.compiler.is_compiling():  # a compiled model is left whole
            return
        if self._grad is not None and self._grad != torch.is_grad_enabled():
            return
        owner = self._owner
        began = owner.clock()
        owner.now = began - owner.seconds
        try:
            with torch.no_grad():
                self._call(*args, **kwargs)
        except Exception as err:  # watching must never end a training
            owner.notes(f"something was not seen: {type(err).__name__}: {err}")
        owner.seconds += owner.clock() - began

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> tuple[Any, ...]:
        return silent_hook, ()
