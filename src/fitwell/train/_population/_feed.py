"""The batches of all members of a stack, gathered at once where they come from memory.

Axes: K members, B batch of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ...data import Batches
from .._objective import batch_length
from ._fold import Fold, own_noise
from ._member import Member

_TOGETHER_BYTES = 512 * 2**20
"""Examples of all members up to this size are laid into one tensor, for one gather per step."""


@final
@dataclass(frozen=True)
class Joined:
    """Batches of equal shape, as one.

    Args:
        inputs: As the fold has them, (K · B, ...).
        targets: Likewise, (K · B, ...).
        size: B.
    """

    inputs: Tensor
    targets: Tensor
    size: int


@final
class Feed:
    """Gives the steps of epoch after epoch.

    Args:
        members: Of a stack, with equally many batches.
        fold: How it joins them.
    """

    def __init__(self, members: Sequence[Member], fold: Fold) -> None:
        self._sources: list[Any] = [member.train for member in members]
        self._noise = [member.noise for member in members]
        self._fold = fold
        self._plain = all(is_plain(source) for source in self._sources) and _alike(self._sources)
        self._inputs = self._targets = _Together.of([], fold)
        if self._plain:
            examples = [source.examples for source in self._sources]
            self._inputs = _Together.of([each.inputs for each in examples], fold, images=True)
            self._targets = _Together.of([each.targets for each in examples], fold)

    def __iter__(self) -> Iterator[Joined | Sequence[Any]]:
        if self._plain:
            yield from self._gathered()
            return
        if all(isinstance(source, Batches) for source in self._sources):  # draw of their own
            for batches in zip(*self._sources, strict=True):
                yield joined(batches, self._fold)
            return
        iterators = [self._drawing(k, iter, source) for k, source in enumerate(self._sources)]
        for _ in range(len(self._sources[0])):
            parts = [self._drawing(k, next, iterator) for k, iterator in enumerate(iterators)]
            yield joined(parts, self._fold)
        for k, iterator in enumerate(iterators):  # some draw once more at their end
            self._drawing(k, list, iterator)

    def _drawing(self, k: int, act: Callable[[Any], Any], source: Any) -> Any:
        """Let a loader draw from its member's noise, as it does from torch's in a trainer."""
        with own_noise(self._noise[k]):
            return act(source)

    def _gathered(self) -> Iterator[Joined | Sequence[Any]]:
        orders = [source.next_order().to(source.device) for source in self._sources]
        size, steps = self._sources[0].batch_size, len(self._sources[0])
        common = min(len(order) for order in orders) // size  # batches that are whole for all
        whole = torch.stack([order[: common * size] for order in orders])
        inputs, targets = self._inputs.places(whole, size), self._targets.places(whole, size)
        for x, y in zip(inputs, targets, strict=True):
            yield Joined(self._inputs.rows(x), self._targets.rows(y), size)
        if common < steps:
            examples = [source.examples for source in self._sources]
            pairs = zip(examples, [order[common * size :] for order in orders], strict=True)
            yield joined(
                [(_unit(e.inputs[rows]), e.targets[rows]) for e, rows in pairs], self._fold
            )


@final
class _Together:
    """Tensors of the members, laid into one if it is not too large; shared ones once."""

    def __init__(
        self,
        tensors: Sequence[Tensor],
        base: Tensor | None,
        starts: Tensor,
        fold: Fold,
        images: bool,
    ) -> None:
        self._tensors, self._base, self._starts, self._fold = tensors, base, starts, fold
        self._images = images  # bytes become floats

    @classmethod
    def of(cls, tensors: Sequence[Tensor], fold: Fold, images: bool = False) -> _Together:
        unique = {id(tensor): tensor for tensor in tensors}
        first, start = {}, 0
        for key, tensor in unique.items():
            first[key] = start
            start += len(tensor)
        base = None
        size = sum(tensor.numel() for tensor in unique.values())
        if unique and 8 * size <= _TOGETHER_BYTES:
            parts = [_unit(tensor) if images else tensor for tensor in unique.values()]
            base = torch.cat(parts) if len(parts) > 1 else parts[0]
        return cls(tensors, base, torch.tensor([first[id(t)] for t in tensors]), fold, images)

    def places(self, orders: Tensor, size: int) -> Sequence[Tensor]:
        """Give where the examples of each step are.

        Args:
            orders: Places of each member's examples, (K, steps · B).
            size: B.
        """
        steps = orders.view(len(orders), -1, size).transpose(0, 1)  # (steps, K, B)
        if self._base is None:
            return steps.unbind()
        steps = steps + self._starts.to(orders.device).view(-1, 1)
        return (steps.transpose(1, 2) if self._fold.inner else steps).flatten(1).unbind()

    def rows(self, places: Tensor) -> Tensor:
        """Give the examples of a step, joined.

        Args:
            places: One of `places`.
        """
        if self._base is not None:
            return self._base.index_select(0, places)
        pairs = zip(self._tensors, places.unbind(), strict=True)
        parts = [tensor.index_select(0, rows) for tensor, rows in pairs]
        return self._fold.join([_unit(part) if self._images else part for part in parts])


def joined(batches: Sequence[Any], fold: Fold) -> Joined | Sequence[Any]:
    """Join batches if they are alike.

    Args:
        batches: One for each member.
        fold: How they are joined.
    """
    if any(batch[0].shape != batches[0][0].shape for batch in batches):
        return batches
    if any(batch[1].shape != batches[0][1].shape for batch in batches):
        return batches
    targets = fold.join([batch[1] for batch in batches])
    return Joined(fold.join([batch[0] for batch in batches]), targets, batch_length(batches[0]))


def is_plain(source: Any) -> bool:
    """Say whether batches are slices of a tensor in some order and nothing else.

    Args:
        source: Batches, or anything else that gives some.
    """
    if not isinstance(source, Batches):
        return False
    examples = source.examples
    held = isinstance(examples.inputs, Tensor) and examples.targets is not None
    here = held and examples.inputs.device == source.device
    return here and source.augment is None and source.shard.size == 1


def first_rows(source: Any) -> tuple[Tensor, Tensor]:
    """Give a batch without beginning an epoch, of a plain source.

    Args:
        source: The batches.
    """
    examples, size = source.examples, source.batch_size
    return _unit(examples.inputs[:size]), examples.targets[:size]


def _alike(sources: Sequence[Batches]) -> bool:
    sizes = {(source.batch_size, source.drop_last, len(source)) for source in sources}
    kinds = {(s.examples.inputs.shape[1:], s.examples.inputs.dtype) for s in sources}
    return len(sizes) == 1 and len(kinds) == 1


def _unit(inputs: Tensor) -> Tensor:
    """Give bytes as floats in [0, 1], as batches do."""
    return inputs.to(torch.float32).div_(255) if inputs.dtype == torch.uint8 else inputs
