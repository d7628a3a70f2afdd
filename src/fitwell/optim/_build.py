"""Optimizers from their printed form."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ..core.errors import UsageError
from ..core.spec import Spec, build, lookup, parse


def optimizer(text: str | Spec, params: ParamsT, *, owner: str = "optimizer") -> Optimizer:
    """Build an optimizer from its printed form, one around another as well.

    Such as ``"AdamW(lr=0.001)"`` or ``"Lookahead(optimizer=AdamW(lr=0.001), k=5)"``.

    Args:
        text: The printed form.
        params: Parameters or groups of them, for the innermost one.
        owner: Who asks, for messages.

    Raises:
        UnknownName: No optimizer, part or argument of that name.
        UsageError: The text is no spec, a value does not fit, or a wrapper has nothing to wrap.
    """
    from . import OPTIMIZERS, WRAPPERS

    spec, known = parse(text), {**OPTIMIZERS, **WRAPPERS}
    name, _ = lookup(spec.name, known, owner=owner, what="optimizer")
    more: dict[str, Any] = {"params": params}
    if name in WRAPPERS:
        inner = spec.args[0] if spec.args else spec.kwargs.get("optimizer")
        if not isinstance(inner, Spec):
            raise UsageError(
                f"{owner}: `optimizer` of {name} must be an optimizer; got {inner!r}."
                f" Write {name}(optimizer=AdamW(lr=0.001))."
            )
        kept = {key: value for key, value in spec.kwargs.items() if key != "optimizer"}
        spec = Spec(spec.name, spec.args[1:], kept)
        more = {"optimizer": optimizer(inner, params, owner=owner)}
    built: Optimizer = build(spec, known, owner=owner, what="optimizer", **more)
    return built
