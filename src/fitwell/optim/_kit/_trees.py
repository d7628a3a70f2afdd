"""Transforms without an optimizer: pure functions on trees of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ...core.errors import UsageError
from ._base import State, Transform, over, split_all


def init(transform: Transform, params: Any) -> State:
    """Make the state with which `update` begins.

    Args:
        transform: What `update` will apply.
        params: A tensor, or lists, tuples and dicts of tensors.

    Example:
        state = init(chain, params)
        params, state = update(chain, grads, state, params)
    """
    leaves, _ = tree_flatten(params)
    _check_leaves(leaves, "params", "init")
    rest = split_all(transform)[1]
    return {"step": 0, "tensors": [rest.init(x.detach(), i) for i, x in enumerate(leaves)]}


@torch.no_grad()
def update(transform: Transform, grads: Any, state: State, params: Any) -> tuple[Any, State]:
    """Take one step and give new parameters and a new state; nothing given is changed.

    Not differentiable: directions are computed without recording.

    Args:
        transform: Turns gradients into what is taken off the parameters.
        grads: Gradients, in the structure of `params`.
        state: From `init` or from the step before.
        params: A tensor, or lists, tuples and dicts of tensors.

    Raises:
        UsageError: `grads` has another structure than `params`.
    """
    leaves, structure = tree_flatten(params)
    given, other = tree_flatten(grads)
    if structure != other:
        raise UsageError(
            f"update: `grads` must have the structure of `params`, {structure}; got {other}."
        )
    _check_leaves(given, "grads", "update")
    step = state["step"] + 1
    head, rest = split_all(transform)
    copies = [g.detach().clone() for g in given]
    if head is not None and copies:
        factor = head.factor(copies)
        copies = [g.mul_(over(factor.to(g.device), g)) for g in copies]
    new, tensors = [], []
    for x, g, old in zip(leaves, copies, state["tensors"], strict=True):
        kept = {k: v.clone() if isinstance(v, Tensor) else v for k, v in old.items()}
        new.append(x.detach() - rest.apply(g, kept, x.detach(), step))
        tensors.append(kept)
    return tree_unflatten(new, structure), {"step": step, "tensors": tensors}


def _check_leaves(leaves: Sequence[Any], argument: str, owner: str) -> None:
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            got = f"{leaf.dtype} tensor" if isinstance(leaf, Tensor) else repr(leaf)
            raise UsageError(
                f"{owner}: `{argument}` must be real floating-point tensors; got {got}."
            )
