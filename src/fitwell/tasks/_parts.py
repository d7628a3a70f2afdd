"""The parts of a training that are chosen by name: optimizer and device."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..core.errors import UsageError
from ..core.spec import Spec, build
from ..optim import OPTIMIZERS, Optimizer, decay_groups


def make_optimizer(spec: str | Spec, model: nn.Module) -> Optimizer:
    """Build an optimizer; weight decay acts on matrices and filters, not on vectors.

    Args:
        spec: Its printed form.
        model: Whose parameters.

    Raises:
        UnknownName: No optimizer or argument of that name.
        UsageError: The model has nothing to train.
    """
    parameters: Any = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError("train: `model` must have parameters to train; got none.")
    optimizer: Optimizer = build(
        spec, OPTIMIZERS, owner="train", what="optimizer", params=parameters
    )
    decay = float(optimizer.defaults.get("weight_decay", 0.0))
    if decay > 0:
        groups = decay_groups(model, decay)
        optimizer = build(spec, OPTIMIZERS, owner="train", what="optimizer", params=groups)
    return optimizer


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
