"""Batches from tensors: one permutation an epoch, one gather, no per-example Python.

Inputs on disk are read ahead in an order that reads the file in long stretches, see `_stream`.

B batch, N examples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UsageError
from ._examples import Examples
from ._shard import Shard
from ._stream import PIECE_BYTES, DiskRows, Window, memory_budget, outgrows, read_ahead

# Up to this size an epoch is permuted in one gather and batches are views of the result: for small
# examples 1.2x faster than a gather per batch (records/engine.jsonl); beyond it the copy costs
# memory.
_PERMUTE_BYTES = 64 * 2**20


class Batch(NamedTuple):
    """Some examples, ready for the model.

    Images arrive as floats in [0, 1]; everything else as it is stored.

    Args:
        inputs: (B, ...).
        targets: (B,), or None when they are not known; (B, K) where classes were mixed.
    """

    inputs: Tensor
    targets: Tensor | None


class Share(Batch):
    """The part of a batch that one of several processes has.

    Its attribute ``whole`` is the number of examples of the batch in all processes, ``own`` that of
    this one; 0 if its only example stands in for none.

    Args:
        inputs: (B, ...).
        targets: (B,), or None when they are not known.
    """

    whole: int
    own: int


Augment = Callable[[Tensor, torch.Generator], Tensor]
Mix = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


@final
class Batches:
    """Iterate over examples batch by batch, in a new seeded order each epoch if asked.

    Iterating again gives the next epoch. The order is the one that
    ``DataLoader(shuffle=True, generator=torch.Generator().manual_seed(seed))`` gives. Its state can
    be saved in the middle of an epoch and goes on there without reading what was passed over.

    Inputs on disk (`DiskRows`) larger than `memory` are read ahead and shuffled in windows. Blocks
    of rows that lie together (up to 1 MiB, at least 32 to a window) are put in random order; the
    result is cut into windows (up to half of `memory` and 512 MiB), and each is shuffled by row.
    Each example comes once an epoch and may come anywhere in it, but those of one block come within
    one window or two that follow each other: what lies together in the file stays closer than by
    chance. A saved state keeps its way of shuffling where there is more or less memory. Batches and
    the order (a few numbers an example) come on top of `memory`; a file larger than twice `memory`
    is dropped from the system's cache as it is read.

    Args:
        examples: What to iterate over.
        batch_size: Examples per batch; the last one of an epoch may be shorter.
        shuffle: Give a new order each epoch; otherwise the order of the examples.
        seed: Seed of order and augmentation.
        drop_last: Leave out a short last batch.
        augment: Changes a whole batch of inputs, drawing from the generator it is given; one that
            has ``mixes`` set changes targets with them, see `Mixup`.
        device: Where batches are wanted; data that fits should already be there.
        shard: Rank and number of the processes that iterate over the same examples together, each
            over its share, `batch_size` of each batch, with augmentation of its own. A `Share`
            knows how large the whole batch is.
        memory: Bytes that inputs on disk may take in memory; None is a quarter of the memory that
            this process may use.

    Raises:
        UsageError: The batch size is not positive, there is nothing to iterate over, the memory
            does not hold two examples, the rank is not below the number of processes, or examples
            without targets are to be mixed.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        augment: Augment | None = None,
        device: torch.device | str = "cpu",
        shard: tuple[int, int] = (0, 1),
        memory: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"Batches: `batch_size` must be at least 1; got {batch_size}.")
        self.examples = examples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.augment = augment
        self.device = torch.empty(0, device=device).device  # with its number, such as cuda:0
        self.drop_last = drop_last
        self.shard = Shard(*shard)
        self.shard.check()
        if len(self) == 0:
            raise UsageError(
                f"Batches: `examples` must fill at least one batch; got {len(examples)} examples,"
                f" batch_size={batch_size}, drop_last={drop_last}."
            )
        self._mixes = bool(getattr(augment, "mixes", False))
        if self._mixes and examples.targets is None:
            raise UsageError(
                f"Batches: `augment` must not mix examples without targets; got {augment}."
                " Leave the mixing out."
            )
        self._memory = memory
        self._window = self._choose_window()
        self._order = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator(self.device).manual_seed(seed)
        self._epoch_start = self._order.get_state()
        self._draw = 0
        self._position = 0
        self._resume_at = 0

    def __len__(self) -> int:
        count, whole = len(self.examples), self.batch_size * self.shard.size
        return count // whole if self.drop_last else -(-count // whole)

    def _choose_window(self) -> Window | None:
        inputs = self.examples.inputs
        if not isinstance(inputs, DiskRows):
            return None
        memory = self._room()
        if memory < 2 * inputs.row_bytes:
            raise UsageError(
                f"Batches: `memory` must hold at least two examples of {inputs.row_bytes} bytes;"
                f" got {memory}. Use some hundred megabytes."
            )
        return Window.within(memory, inputs.row_bytes) if inputs.nbytes > memory else None

    def _room(self) -> int:
        return memory_budget() if self._memory is None else self._memory

    def __iter__(self) -> Iterator[Batch]:
        skip, self._resume_at = self._resume_at, 0
        self._position = 0
        if skip:
            self._order.set_state(self._epoch_start)
        else:
            self._epoch_start = self._order.get_state()
        self._draw = self._draw_of_epoch()
        order = self._permutation() if self.shuffle else None
        if self.shard.size > 1:
            order = torch.arange(len(self.examples)) if order is None else order
            order = self.shard.own(order, self.batch_size, drop_last=self.drop_last)
        on_disk = isinstance(self.examples.inputs, DiskRows)
        gathered = (self._read if on_disk else self._gather)(order, skip)
        with contextlib.closing(gathered):
            for number, (inputs, targets) in enumerate(gathered, start=skip + 1):
                self._position = number if number < len(self) else 0
                if self._position == 0:
                    self._epoch_start = self._order.get_state()
                placed = None if targets is None else self._placed(targets)
                if self.shard.size == 1:
                    yield Batch(*self._prepare(inputs, placed))
                else:
                    yield self._share(number, inputs, placed)

    def next_order(self) -> Tensor:
        """Begin an epoch and give its order, for who gathers the examples of several at once.

        The epoch counts as iterated: the next one, or an iteration, goes on after it.
        """
        order = self._permutation() if self.shuffle else torch.arange(len(self.examples))
        self._epoch_start = self._order.get_state()
        return order

    def _share(self, number: int, inputs: Tensor, targets: Tensor | None) -> Share:
        """Give a process's part of a batch, with draws that depend on its place alone."""
        self._noise.manual_seed(self._draw + 1_000_003 * number + 7_919 * self.shard.rank)
        share = Share(*self._prepare(inputs, targets))
        full = self.batch_size * self.shard.size
        share.whole = min(full, len(self.examples) - (number - 1) * full)
        rows = self.shard.rows(share.whole, self.batch_size)
        share.own = rows.stop - rows.start
        return share

    def _draw_of_epoch(self) -> int:
        """Draw a number for the noise of an epoch, without changing the orders to come."""
        if self.shard.size == 1 or self.augment is None:
            return 0
        peek = self._order.clone_state() if self.shuffle else self._order
        return int(torch.randint(2**40, (), generator=peek))

    def _permutation(self) -> Tensor:
        if self._window is not None:
            return self._window.order(len(self.examples), self._order)
        # A DataLoader draws a seed for its workers before the permutation, and its sampler a second
        # permutation that it does not use; the order is only the same if we draw them too.
        torch.empty((), dtype=torch.int64).random_(generator=self._order)
        order = torch.randperm(len(self.examples), generator=self._order)
        torch.randperm(len(self.examples), generator=self._order)
        return order

    def _read(self, order: Tensor | None, skip: int) -> Generator[tuple[Tensor, Tensor | None]]:
        """Give batches of inputs on disk."""
        inputs, targets = cast(DiskRows, self.examples.inputs), self.examples.targets
        count, size, memory = len(inputs), self.batch_size, self._room()
        if self._window is None or not self.shuffle:
            few = max(1, min(2 * PIECE_BYTES, memory // 2) // max(1, inputs.row_bytes))
            bounds = [*range(0, count, few), count]
        else:
            bounds = self._window.bounds(count)
        order = torch.arange(count) if order is None else order
        if self.shard.size > 1:
            bounds = sorted({self.shard.before(place, count, size) for place in bounds})
        wanted = min(len(self) * size, len(order))
        bounds = [bound for bound in bounds if bound < wanted] + [wanted]
        moved = None if targets is None else targets.index_select(0, order)
        rows = read_ahead(
            inputs,
            order[:wanted],
            size,
            bounds=bounds,
            start=skip * size,
            forget=outgrows(inputs, memory),
        )
        with contextlib.closing(rows):
            for start, batch in zip(range(skip * size, wanted, size), rows, strict=True):
                yield batch, None if moved is None else moved[start : start + size]

    def _gather(self, order: Tensor | None, skip: int) -> Generator[tuple[Tensor, Tensor | None]]:
        """Give batches of inputs in memory."""
        inputs, targets = cast(Tensor, self.examples.inputs), self.examples.targets
        size = self.batch_size
        ends = range(skip * size, len(self) * size, size)
        if order is None:
            for start in ends:
                stop = start + size
                yield inputs[start:stop], None if targets is None else targets[start:stop]
            return
        order = order.to(inputs.device)
        moved = None if targets is None else targets.index_select(0, order)
        if inputs.nbytes <= _PERMUTE_BYTES:
            shuffled = inputs.index_select(0, order)
            parts = torch.split(shuffled, size)
            labels = (None,) * len(parts) if moved is None else torch.split(moved, size)
            yield from zip(parts[skip : len(self)], labels[skip : len(self)], strict=True)
            return
        for start in ends:
            rows = inputs.index_select(0, order[start : start + size])
            yield rows, None if moved is None else moved[start : start + size]

    def _prepare(self, inputs: Tensor, targets: Tensor | None) -> tuple[Tensor, Tensor | None]:
        inputs = self._placed(inputs)
        if inputs.dtype == torch.uint8:
            inputs = inputs.to(torch.float32).div_(255)
        if self.augment is None:
            return inputs, targets
        inputs = self.augment(inputs, self._noise)
        if not self._mixes or targets is None:
            return inputs, targets
        if not targets.is_floating_point():
            targets = F.one_hot(targets, self.examples.schema.num_classes).to(inputs.dtype)
        mix: Mix = self.augment.mix  # type: ignore[attr-defined]
        return mix(inputs, targets, self._noise)

    def _placed(self, tensor: Tensor) -> Tensor:
        """Move a batch of data that does not live on the device."""
        if tensor.device == self.device:
            return tensor
        if self.device.type == "cuda":  # from pinned memory the copy need not be waited for
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def state_dict(self) -> dict[str, Any]:
        """Give the position in the epoch and the states of the generators."""
        return {
            "position": self._position,
            "epoch_start": self._epoch_start,
            "order": self._order.get_state(),
            "noise": self._noise.get_state(),
            "window": None if self._window is None else tuple(self._window),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved position.

        Args:
            state: What `state_dict` gave.
        """
        self._position = self._resume_at = int(state["position"])
        self._epoch_start = state["epoch_start"]
        self._order.set_state(state["order"])
        self._noise.set_state(state["noise"])
        window = state.get("window")
        self._window = None if window is None else Window(*window)
