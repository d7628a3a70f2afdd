"""What a training step leaves behind: graphs of autograd, and bytes of tensors."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from ...train._memory import LiveBytes
from .._measure import mean_interval
from .._result import Interval

_WARM: Final = 3
_READINGS: Final = 4
_EVERY: Final = 3


@final
@dataclass(frozen=True)
class Kept:
    """What one step leaves behind, with 95% intervals.

    Args:
        graphs: Graphs, in graphs of one step.
        memory: Bytes of tensors.
        step_memory: Bytes of tensors that a forward pass makes.
    """

    graphs: tuple[float, Interval]
    memory: tuple[float, Interval]
    step_memory: float


def what_is_kept(
    forward: Callable[[Any], Tensor],
    finish: Callable[[Any, Tensor], None],
    batches: Iterator[Any],
    device: torch.device,
) -> Kept:
    """Take some steps and look at what is there after each few of them.

    Args:
        forward: Gives the loss of a batch.
        finish: Goes back through a batch's loss, and takes the step.
        batches: Batches that are in memory already.
        device: Of the model.
    """
    counter = LiveBytes()
    on_gpu = device.type == "cuda"

    def size() -> int:
        return torch.cuda.memory_allocated(device) if on_gpu else counter.now

    sizes, nodes, made, own = [], [], 0, 1
    with _only_new_objects(), contextlib.nullcontext() if on_gpu else counter:
        for number in range(_WARM + _EVERY * (_READINGS - 1) + 1):
            batch, before = next(batches), size()
            value = forward(batch)
            made, own = max(made, size() - before), max(count_nodes([value]), 1)
            finish(batch, value)
            del value, batch
            if number >= _WARM and (number - _WARM) % _EVERY == 0:
                gc.collect()
                sizes.append(size())
                nodes.append(count_nodes(_alive()))
    grown = [[(b - a) / _EVERY for a, b in itertools.pairwise(values)] for values in (sizes, nodes)]
    kept, (low, high) = mean_interval(grown[1])
    return Kept(
        graphs=(kept / own, (low / own, high / own)),
        memory=mean_interval(grown[0]),
        step_memory=float(made),
    )


def count_nodes(tensors: Iterable[Tensor]) -> int:
    """Count the operations in the graphs behind some tensors, each once; parameters are none.

    Args:
        tensors: With or without a graph.
    """
    seen = {tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None}
    open_ones: list[Any] = list(seen)
    while open_ones:
        for node, _ in open_ones.pop().next_functions:
            if node is not None and node.next_functions and node not in seen:
                seen.add(node)
                open_ones.append(node)
    return len(seen)


@contextlib.contextmanager
def _only_new_objects() -> Iterator[None]:
    """Keep the collector away from all that is there, which would take it most of a second."""
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


def _alive() -> Iterator[Tensor]:
    """Give the tensors that Python knows of; classes are asked, not objects, which may pretend."""
    for thing in gc.get_objects():
        if issubclass(type(thing), Tensor):
            yield thing
