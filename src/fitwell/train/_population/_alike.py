"""What members of a stack must have in common, and what no stack can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ...data import Batches
from .._objective import Supervised
from ._member import Member
from ._rows import ELEMENTWISE, states_of

_HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_post_accumulate_grad_hooks",),
)
_PRIVATE = {
    *("_parameters", "_buffers", "_modules", "training", "_non_persistent_buffers_set"),
    *("_is_full_backward_hook", "_is_hf_initialized"),
}


def signature(member: Member) -> tuple[Any, ...] | None:
    """Give what members of a stack have in common; None for one that cannot be in a stack.

    Args:
        member: The member.
    """
    objective: Any = member.objective
    if type(objective) is not Supervised or getattr(member.optimizer, "needs_closure", False):
        return None
    if not _known_order(member.train) or _is_odd(member.model):
        return None
    groups = _groups(member)
    if groups is None:
        return None
    modules = []
    for name, part in member.model.named_modules():
        settings = settings_of(part)
        if settings is None:
            return None
        modules.append((name, type(part), settings))
    shapes = tuple(
        (name, tuple(p.shape), p.dtype, p.requires_grad, p.device)
        for name, p in member.model.named_parameters()
    )
    data = (getattr(member.train, "batch_size", None), member.steps_per_epoch, member.precision)
    metrics = type(objective.metrics)
    kind = (type(member.optimizer), groups, metrics, member.valid is None)
    return (tuple(modules), shapes, data, kind)


def _known_order(train: Any) -> bool:
    """Say whether a look at the first batch can be undone."""
    return isinstance(train, (Batches, DataLoader, Sequence))


def _is_odd(model: nn.Module) -> bool:
    """Say whether a model has what a stack would not see: hooks, or one tensor in two places."""
    owners = [
        part
        for _, part in model.named_modules(remove_duplicate=False)
        if part._parameters or part._buffers
    ]
    tensors = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    if len({id(part) for part in owners}) < len(owners) or len(set(tensors)) < len(tensors):
        return True
    things: list[Any] = [*model.modules(), *model.parameters()]
    if any(getattr(thing, name, None) for thing in things for name in _HOOKS):
        return True
    return any(p.is_complex() for p in model.parameters())


def _groups(member: Member) -> tuple[Any, ...] | None:
    """Give the names of the parameters of each group; None if an optimizer has others."""
    names = {id(p): name for name, p in member.model.named_parameters()}
    if any(id(p) not in names for g in member.optimizer.param_groups for p in g["params"]):
        return None
    if type(member.optimizer) in ELEMENTWISE and any(len(k) > 1 for k in states_of(member)):
        return None  # some parameters have been stepped more often than others
    return tuple(
        tuple(names[id(p)] for p in group["params"]) for group in member.optimizer.param_groups
    )


def settings_of(part: nn.Module) -> tuple[Any, ...] | None:
    """Give the attributes of a module, but those a member may have of its own; None if unknown.

    Args:
        part: The module.
    """
    kept = []
    for name, value in sorted(vars(part).items()):
        if name in _PRIVATE or name in _HOOKS or name.endswith(("_hooks", "_kwargs", "_called")):
            continue
        if name == "p" and isinstance(part, nn.Dropout):
            continue
        plain = _plain(value)
        if plain is None:
            return None
        kept.append((name, plain))
    return tuple(kept)


def _plain(value: Any) -> Any:
    """Give a value that can be compared with that of another member; None if it cannot."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.dtype)):
        return (type(value).__name__, value)
    if isinstance(value, (tuple, list, set, frozenset, torch.Size)):
        parts = [_plain(part) for part in value]
        return None if any(part is None for part in parts) else (type(value).__name__, tuple(parts))
    if isinstance(value, Mapping):
        pairs = [(str(key), _plain(part)) for key, part in value.items()]
        return None if any(part is None for _, part in pairs) else ("mapping", tuple(pairs))
    if callable(value) and hasattr(value, "__qualname__"):
        return ("function", value.__module__, value.__qualname__, id(value))
    kind: Any = type(value)
    if kind.__hash__ not in (None, object.__hash__):
        return (type(value).__qualname__, value)  # such as a printed form
    return None
