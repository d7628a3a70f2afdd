"""Random orders for data of which only a part is in memory at a time.

N rows or items.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ...core.errors import UsageError

_T = TypeVar("_T")

# Larger windows shuffle no better that matters, but take long until the first batch.
_WINDOW_BYTES = 512 * 2**20
# What lies together in the file is often alike, such as images of one class: long against a seek,
# but short against a window, which mixes at least so many blocks.
_BLOCK_BYTES = 2**20
_BLOCKS = 32


class Window(NamedTuple):
    """What an order that reads a file in long stretches keeps in memory.

    Args:
        block_rows: Rows that lie together in the file and are read together.
        rows: Rows that are shuffled among each other.
    """

    block_rows: int
    rows: int

    @classmethod
    def within(cls, memory: int, row_bytes: int) -> Window:
        """Give the window of which two fit into memory, one in use and one being read.

        Args:
            memory: Bytes of memory.
            row_bytes: Bytes of one row.
        """
        room = min(memory // 2, _WINDOW_BYTES)
        block = min(_BLOCK_BYTES, room // _BLOCKS)
        return cls(max(1, block // row_bytes), max(1, room // row_bytes))

    def order(self, count: int, generator: torch.Generator) -> Tensor:
        """Put rows in an order that is random, yet reads the file in long stretches.

        Blocks of rows that lie together are put in random order; the result is cut into windows of
        equal size, and each is shuffled by row. So a row is as likely to come early as late, but
        the rows of one block come within one window, or two that follow each other where a block is
        cut, in every epoch.

        Args:
            count: Number of rows.
            generator: Drawn from.

        Reduces to: a uniform permutation where one window holds all rows.
        """
        starts = torch.randperm(-(-count // self.block_rows), generator=generator)
        order = (starts[:, None] * self.block_rows + torch.arange(self.block_rows)).flatten()
        order = order[order < count]
        for start, stop in pairwise(self.bounds(count)):
            order[start:stop] = order[start:stop][torch.randperm(stop - start, generator=generator)]
        return order

    def bounds(self, count: int) -> list[int]:
        """Give where windows of equal size begin and end.

        Args:
            count: Number of rows.
        """
        windows = -(-count // self.rows)
        return [count * number // windows for number in range(windows + 1)]


def shuffle_buffer(items: Iterable[_T], buffer_size: int, *, seed: int = 0) -> Iterator[_T]:
    """Shuffle a stream of unknown length: each item is drawn from a buffer of those that came.

    The buffer is filled; then, again and again, one of its items is drawn uniformly and the next
    of the stream takes its place, until both are empty. An item comes out at most `buffer_size - 1`
    places early, so a sorted stream needs a large buffer. `Batches` shuffles examples better.

    Args:
        items: The stream.
        buffer_size: Items in memory.
        seed: Seed of the draws.

    Raises:
        UsageError: The buffer is empty.

    Source: murray2021tfdata, the transformation `shuffle`.
    Reduces to: the stream as it is at `buffer_size=1`; a uniform permutation where the buffer holds
        the whole stream.
    Checked against: the exact distribution, by going through all possible draws.
    """
    if buffer_size < 1:
        raise UsageError(f"shuffle_buffer: `buffer_size` must be at least 1; got {buffer_size}.")
    return _drawn(iter(items), buffer_size, random.Random(seed))


def _drawn(stream: Iterator[_T], size: int, generator: random.Random) -> Iterator[_T]:
    buffer = list(islice(stream, size))
    for item in stream:
        place = generator.randrange(len(buffer))
        drawn, buffer[place] = buffer[place], item
        yield drawn
    generator.shuffle(buffer)
    yield from buffer
