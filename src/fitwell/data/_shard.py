"""The part of the examples that one of several processes takes.

N examples.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..core.errors import UsageError


class Shard(NamedTuple):
    """Which share of every batch is one process's own.

    Of a full batch of R·B examples, process r has the rows r·B ... (r+1)·B - 1; of a last one of
    n < R·B examples ⌈n·r/R⌉ ... ⌈n·(r+1)/R⌉ - 1. So each example is in exactly one share. If that
    left one example to a process, for which batch normalization fails, fewer processes share the
    batch (if B is 3 or more). For a process without a share, two examples stand in that do not
    count, so that it has something to do while the others work.

    Args:
        rank: Number of the process, r, from 0.
        size: How many there are, R.
    """

    rank: int = 0
    size: int = 1

    def check(self) -> None:
        """Refuse a process that is not one of its world.

        Raises:
            UsageError: The rank or the size is out of range.
        """
        if not 0 <= self.rank < self.size:
            raise UsageError(
                f"Batches: `shard` must be (rank, size) with 0 <= rank < size; got {tuple(self)}."
            )

    def rows(self, count: int, batch_size: int) -> slice:
        """Give the own rows of a batch.

        Args:
            count: Examples of the batch, of all processes.
            batch_size: Of one process, B.
        """
        if count == self.size * batch_size:
            return slice(self.rank * batch_size, (self.rank + 1) * batch_size)
        size = min(self.size, max(count // 2, -(-count // batch_size)))
        return slice(*(-(-count * min(part, size) // size) for part in (self.rank, self.rank + 1)))

    def own(self, order: Tensor, batch_size: int, *, drop_last: bool = False) -> Tensor:
        """Take the own part of an order: `batch_size` places of each batch, fewer of the last.

        Args:
            order: (N,) of all processes.
            batch_size: Of one process.
            drop_last: Leave out a short last batch.
        """
        whole = self.size * batch_size
        full, left = divmod(len(order), whole)
        head = order[: full * whole].view(full, self.size, batch_size)[:, self.rank].reshape(-1)
        if drop_last or left == 0:
            return head
        rest = order[full * whole :]
        mine = rest[self.rows(left, batch_size)]
        return torch.cat([head, mine if len(mine) else rest[:2]])

    def before(self, place: int, count: int, batch_size: int) -> int:
        """Count the own examples before a place in the order of all.

        Args:
            place: The place.
            count: Number of examples, N.
            batch_size: Of one process.
        """
        full, inside = divmod(place, self.size * batch_size)
        left = min(count - full * self.size * batch_size, self.size * batch_size)
        rows = self.rows(left, batch_size)
        mine: int = min(max(inside - rows.start, 0), rows.stop - rows.start)
        return full * batch_size + mine
