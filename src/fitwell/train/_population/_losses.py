"""The loss of every member from the outputs of all.

Axes: K members, B batch of each, N = K · B examples of all, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ... import losses
from ._fold import Fold

PerMember = Callable[[Tensor, Tensor], Tensor]
"""Joined outputs (N, ...) and targets (N, ...) in, mean losses (K,) out."""


def per_member(members: Sequence[Callable[[Tensor, Tensor], Tensor]], fold: Fold) -> PerMember:
    """Give the losses of all members as one function.

    Args:
        members: The loss of each, a mean over its batch.
        fold: How the examples lie.
    """
    general = _Mapped(members, fold) if _all_equal(members) else _InTurn(members, fold)
    if all(_is_plain_cross_entropy(loss) for loss in members):
        smoothing = [loss.label_smoothing for loss in members]  # type: ignore[attr-defined]
        return _CrossEntropies(smoothing, fold, general)
    return general


def _all_equal(members: Sequence[Any]) -> bool:
    return all(loss == members[0] for loss in members)


def _is_plain_cross_entropy(loss: Any) -> bool:
    if type(loss) is not losses.CrossEntropy:
        return False
    return not loss.weights and loss.smoothing == "uniform" and loss.ignore_index < 0


class _CrossEntropies:
    """Cross entropy with a label smoothing for each member."""

    def __init__(self, smoothing: Sequence[float], fold: Fold, general: PerMember) -> None:
        self._fold, self._general = fold, general
        self._smoothing = torch.tensor(smoothing) if any(smoothing) else None

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.ndim != 2 or (not targets.is_floating_point() and bool((targets < 0).any())):
            return self._general(outputs, targets)  # places after the classes, or rows to ignore
        outputs = outputs.float() if outputs.dtype.itemsize < 4 else outputs
        share = None
        if self._smoothing is not None:
            size = len(outputs) // self._fold.size
            shares = self._smoothing.to(outputs).view(-1, 1).expand(-1, size)
            share = self._fold.close(shares)
        apply: Callable[..., Tensor] = _LogLoss.apply
        return self._fold.open(apply(outputs, targets, share)).mean(1)


class _LogLoss(torch.autograd.Function):
    """Cross entropy of each example, with classes along rows in memory.

    torch's softmax over the last axis takes one short row after the other, which for ten classes
    is five times as slow as a softmax over the first.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        logs = outputs.t().contiguous().log_softmax(0)
        if targets.is_floating_point():
            loss = -(targets.t() * logs).sum(0)
        else:
            loss = -logs.gather(0, targets.unsqueeze(0)).squeeze(0)
        if share is not None:
            loss = torch.lerp(loss, -logs.mean(0), share)
        ctx.save_for_backward(logs, targets, share)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logs, targets, share = ctx.saved_tensors
        grad = logs.exp()
        one = torch.ones_like(grad[:1]) if share is None else (1 - share).unsqueeze(0)
        if targets.is_floating_point():
            grad -= targets.t() * one
        else:
            grad.scatter_add_(0, targets.unsqueeze(0), -one)
        if share is not None:
            grad -= share / len(grad)
        return grad.mul_(grads[0]).t(), None, None


class _Mapped:
    """The same loss for all members, mapped over them where torch can."""

    def __init__(self, members: Sequence[Callable[[Tensor, Tensor], Tensor]], fold: Fold) -> None:
        self._fold, self._in_turn = fold, _InTurn(members, fold)
        self._mapped: PerMember | None = torch.func.vmap(members[0])

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self._mapped is not None:
            try:
                return self._mapped(self._fold.open(outputs), self._fold.open(targets))
            except RuntimeError:  # it looks at values, which a mapped function cannot
                self._mapped = None
        return self._in_turn(outputs, targets)


class _InTurn:
    """A loss after the other."""

    def __init__(self, members: Sequence[Callable[[Tensor, Tensor], Tensor]], fold: Fold) -> None:
        self._losses, self._fold = list(members), fold

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        opened = self._fold.open(outputs).unbind(), self._fold.open(targets).unbind()
        return torch.stack([loss(o, t) for loss, o, t in zip(self._losses, *opened, strict=True)])
