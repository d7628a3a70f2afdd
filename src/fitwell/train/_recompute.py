"""Activation checkpointing: blocks keep their inputs only, and compute the rest again backward."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.errors import UsageError

_CONTAINERS = (nn.Sequential, nn.ModuleList)


def recompute_activations(model: nn.Module) -> nn.Module:
    """Make a model need less memory in training and more time, by activation checkpointing.

    Of each block only the input is kept for the backward pass, which computes the rest again: one
    more forward pass per step. Blocks are the composite entries of a `Sequential` or `ModuleList`,
    such as residual blocks or the layers of a transformer; a flat `Sequential` of n layers with
    weights is cut into about √n pieces. Weights, names, losses and gradients stay what they are;
    dropout repeats its draws, and running statistics are updated once.

    Not covered: randomness other than torch's global generators. Buffers of a block, such as
    running statistics, are copied in each pass. A block that overwrites its input makes the
    backward pass fail. Without gradients nothing changes.

    Args:
        model: Changed in place: its blocks get a `forward` of their own.

    Returns:
        The model.

    Raises:
        UsageError: It has fewer than two blocks.

    Source: chen2016training.
    Differs: blocks are those of the model; only flat ones are cut into about √n pieces.
    Reduces to: the model itself, when gradients are off.
    Checked against: the model without it, bit for bit, over steps with dropout and batch norm.
    """
    if _is_recomputed(model):
        return model
    blocks = _blocks(model)
    if _count(blocks) < 2:
        raise UsageError(
            "recompute_activations: `model` must have at least two blocks, entries of a Sequential"
            f" or ModuleList with layers inside; got {type(model).__name__} without. Put its"
            " repeated part into a Sequential, or leave the option out."
        )
    for block in blocks:
        block.module.forward = block  # an attribute of the instance comes before the class's method
    return model


def can_recompute(model: nn.Module) -> bool:
    """Say whether `recompute_activations` would change a model.

    Args:
        model: The model.
    """
    return not _is_recomputed(model) and _count(_blocks(model)) >= 2


def _is_recomputed(model: nn.Module) -> bool:
    return any(isinstance(part.__dict__.get("forward"), _Recomputed) for part in model.modules())


@final
@dataclass(frozen=True, eq=False)
class _Recomputed:
    """The `forward` of a block.

    Args:
        module: The block.
        pieces: What is computed one after the other, each of them twice: the block itself, or
            the entries of a flat `Sequential`.
        plain: How many entries before the pieces are computed once.
    """

    module: nn.Module
    pieces: tuple[tuple[nn.Module, ...], ...]
    plain: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return type(self.module).forward(self.module, *args, **kwargs)
        if self.pieces == ((self.module,),):
            own = type(self.module).forward
            return _run_twice(own, self.module, self.pieces[0], *args, **kwargs)
        (x,) = args
        for layer in list(self.module.children())[: self.plain]:
            x = layer(x)
        for piece in self.pieces:
            x = _run_twice(_chain, piece, piece, x)
        return x


def _chain(layers: Sequence[nn.Module], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def _run_twice(
    function: Any, first: Any, modules: Sequence[nn.Module], *args: Any, **kwargs: Any
) -> Any:
    if torch.compiler.is_compiling():  # the compiler takes care of buffers by itself
        return checkpoint(function, first, *args, use_reentrant=False, **kwargs)
    before = _Before(modules)
    return checkpoint(
        function,
        first,
        *args,
        use_reentrant=False,
        context_fn=lambda: (_Nothing(), before),
        **kwargs,
    )


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class _Before:
    """Let modules compute with copies of the buffers they had, and leave those they have alone.

    It may be entered again, for a second backward pass.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._saved: list[tuple[nn.Module, str, Tensor]] = [
            (part, name, buffer.detach().clone())
            for module in modules
            for part in module.modules()
            for name, buffer in part._buffers.items()
            if buffer is not None
        ]
        self._now: list[Tensor | None] = []

    def __enter__(self) -> None:
        self._now = [part._buffers[name] for part, name, _ in self._saved]
        for part, name, buffer in self._saved:
            part._buffers[name] = buffer.clone()

    def __exit__(self, *error: object) -> None:
        for (part, name, _), buffer in zip(self._saved, self._now, strict=True):
            part._buffers[name] = buffer


def _blocks(module: nn.Module) -> list[_Recomputed]:
    """Find the blocks of a model, none inside another."""
    children = list(module.children())
    inner = {child: _blocks(child) for child in children}
    below = [block for child in children for block in inner[child]]
    if isinstance(module, _CONTAINERS):
        own = [child for child in children if _is_block(child, module, inner[child])]
        # Two entries may be an encoder and a decoder, whose own blocks are better; three are a
        # pattern.
        if len(own) > 2 or (len(own) == 2 and sum(len(inner[child]) for child in own) < 4):
            whole = {child: [_Recomputed(child, ((child,),))] for child in own}
            return [block for child in children for block in whole.get(child, inner[child])]
        if isinstance(module, nn.Sequential) and _count(below) < 2:
            return _flat(module, children)
    return below


def _is_block(module: nn.Module, container: nn.Module, inner: Sequence[_Recomputed]) -> bool:
    """Say whether an entry of a container has weights, several operations, and no better blocks."""
    if next(module.parameters(), None) is None:
        return False
    if isinstance(module, _CONTAINERS) and _count(inner) >= 2:
        return False
    if next(module.children(), None) is not None:
        return True
    own_layer = not type(module).__module__.startswith("torch.nn")
    return own_layer and isinstance(container, nn.ModuleList)


def _count(blocks: Sequence[_Recomputed]) -> int:
    return sum(len(block.pieces) for block in blocks)


def _flat(module: nn.Sequential, layers: Sequence[nn.Module]) -> list[_Recomputed]:
    """Cut a `Sequential` of single layers before layers with weights."""
    plain = 0  # an entry that changes its input in place cannot be computed from it again
    while plain < len(layers) and getattr(layers[plain], "inplace", False):
        plain += 1
    starts = [
        place
        for place, layer in enumerate(layers)
        if place >= plain and any(p.ndim > 1 for p in layer.parameters())
    ]
    if not starts or len(layers) - plain < 2:
        return []
    count = max(1, round(math.sqrt(len(starts))))
    cuts = [plain, *(starts[len(starts) * k // count] for k in range(1, count)), len(layers)]
    pieces = tuple(tuple(layers[a:b]) for a, b in itertools.pairwise(cuts))
    return [_Recomputed(module, pieces, plain)]
