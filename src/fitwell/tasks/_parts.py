"""The parts of a training that are chosen by name: optimizer and device."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..core.errors import UsageError
from ..core.spec import Spec, lookup, parse
from ..optim import (
    OPTIMIZERS,
    WRAPPERS,
    Muon,
    Optimizer,
    decay_groups,
    layer_groups,
    muon_groups,
    optimizer,
)

_DEFAULT = "AdamW"
"""What a wrapper wraps if it names no optimizer."""


def optimizer_spec(text: str | Spec, lr: float | None = None) -> Spec:
    """Read an optimizer's printed form, with its known name and, if given, another rate.

    Args:
        text: Such as ``"AdamW(lr=0.001)"`` or ``"Lookahead(optimizer=AdamW(lr=0.001), k=5)"``.
        lr: Rate in place of its own; that of the innermost optimizer.

    Raises:
        UnknownName: No optimizer of that name.
        UsageError: The text is no spec.
    """
    spec = parse(text)
    name, _ = lookup(spec.name, {**OPTIMIZERS, **WRAPPERS}, owner="train", what="optimizer")
    spec = Spec(name, spec.args, spec.kwargs)
    if name in WRAPPERS:
        named = {"optimizer": _DEFAULT} | _named(spec, WRAPPERS[name])
        return Spec(
            name, (), named | {"optimizer": optimizer_spec(_inner(name, named["optimizer"]), lr)}
        )
    if spec.args:
        spec = Spec(name, (), _named(spec, OPTIMIZERS[name], skipped=1))
    return spec if lr is None else spec.but(lr=lr)


def _named(spec: Spec, method: Callable[..., Any], skipped: int = 0) -> dict[str, Any]:
    """Give all arguments by name; `skipped` ones at the front are not the user's."""
    names = list(inspect.signature(method).parameters)[skipped:]
    if len(spec.args) > len(names):
        raise UsageError(
            f"train: `optimizer` {spec.name} must have at most {len(names)} arguments; got {spec}."
        )
    return {**dict(zip(names, spec.args, strict=False)), **spec.kwargs}


def _inner(name: str, value: Any) -> str | Spec:
    if isinstance(value, (str, Spec)):
        return value
    raise UsageError(
        f"train: `optimizer` of {name} must be an optimizer; got {value!r}."
        f" Write {name}(optimizer=AdamW(lr=0.001))."
    )


def innermost(text: str | Spec) -> Spec:
    """Give the optimizer inside of all wrappers, with the defaults of what is not named.

    Args:
        text: The printed form.

    Raises:
        UnknownName: No optimizer of that name.
    """
    spec = optimizer_spec(text)
    while spec.name in WRAPPERS:
        spec = spec.kwargs["optimizer"]
    known = inspect.signature(OPTIMIZERS[spec.name]).parameters.values()
    usual = {one.name: one.default for one in known if one.default is not one.empty}
    return Spec(spec.name, spec.args, {**usual, **spec.kwargs})


def rate_of(text: str | Spec) -> float:
    """Give the learning rate that an optimizer's printed form stands for.

    Args:
        text: The printed form.

    Raises:
        UnknownName: No optimizer of that name.
    """
    return float(innermost(text).kwargs["lr"])


def make_optimizer(
    text: str | Spec, model: nn.Module, layer_decay: float | None = None
) -> Optimizer:
    """Build an optimizer; weight decay acts on matrices and filters, not on vectors.

    Args:
        text: Its printed form.
        model: Whose parameters.
        layer_decay: Rate of each layer over that of the layer after it; None for one rate.

    Raises:
        UnknownName: No optimizer or argument of that name.
        UsageError: The model has nothing to train.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError("train: `model` must have parameters to train; got none.")
    spec = optimizer_spec(text)
    built = optimizer(spec, parameters, owner="train")
    decay = float(built.defaults.get("weight_decay", 0.0))
    given: Any
    if layer_decay is not None and isinstance(_innermost(built), Muon):
        raise UsageError(
            f"train: `layer_decay` must be left out with Muon; got {layer_decay}. Its rates go by"
            " kinds of parameters, not by layers."
        )
    if layer_decay is not None:
        given = layer_groups(model, rate_of(spec), layer_decay, weight_decay=decay)
    elif isinstance(_innermost(built), Muon):
        given = muon_groups(model, decay)
    elif decay > 0:
        given = decay_groups(model, decay)
    else:
        return built
    return optimizer(spec, given, owner="train")


def _innermost(built: Optimizer) -> Optimizer:
    while isinstance(inner := getattr(built, "optimizer", None), Optimizer):
        built = inner
    return built


def pick_device(name: str) -> str:
    """Resolve ``auto`` to the fastest device there is, and check that any other is there.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ...

    Raises:
        UsageError: torch has no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as err:
        reason = str(err).splitlines()[0]
        raise UsageError(
            f"train: `device` must be one that torch can use here; got {name!r} ({reason})."
            " Use --device cpu."
        ) from err
    return name
