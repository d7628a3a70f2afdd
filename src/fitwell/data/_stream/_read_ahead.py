"""Rows on disk as batches, in any order, while a thread reads what comes next.

N rows, B batch.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ._memory import memory_budget
from ._rows import PIECE_BYTES, DiskRows, Inputs, Places


def read_ahead(
    rows: DiskRows,
    order: Tensor,
    batch_size: int,
    *,
    bounds: Sequence[int],
    start: int = 0,
    forget: bool = False,
) -> Generator[Tensor]:
    """Give rows batch by batch, while a thread reads what comes next.

    What lies between two bounds is read in the order of the file. Two such parts are in memory at
    a time. The thread ends with the generator, also when that is closed early or an error occurs.

    Args:
        rows: What to read.
        order: (N,) positions of the rows, in the order they are wanted.
        batch_size: Rows per batch; the last one may be shorter.
        bounds: Ascending positions in the order, from 0 to N.
        start: Position in the order to begin at; nothing before it is read.
        forget: Let the system drop from its cache what was read.

    Raises:
        DataError: The file has changed.
    """
    parts = [(max(a, start), b) for a, b in pairwise(bounds) if b > start]
    longest = max((b - a for a, b in parts), default=0)
    buffers = [torch.empty((longest, *rows.row_shape), dtype=rows.dtype) for _ in parts[:2]]
    stop = threading.Event()
    whole = rows.file_places()
    wanted = order.numpy()

    def read(number: int) -> tuple[Tensor, Tensor]:
        # NumPy alone: torch would start a second set of its threads in here.
        first, last = parts[number]
        places: Places = whole[wanted[first:last]]
        by_place = np.argsort(places)
        back = np.empty_like(by_place)
        back[by_place] = np.arange(len(by_place))
        buffer = buffers[number % 2][: len(places)]
        rows.fill(file, places[by_place], buffer, forget=forget, stopped=stop.is_set)
        return buffer, torch.from_numpy(back)

    def windows() -> Iterator[tuple[Tensor, Tensor]]:
        ahead = pool.submit(read, 0)
        for number in range(1, len(parts) + 1):
            found = ahead.result()
            if number < len(parts):
                ahead = pool.submit(read, number)
            yield found

    if not parts:
        return
    with rows.open() as file, ThreadPoolExecutor(1, "fitwell read ahead") as pool:
        try:
            yield from _batches(windows(), len(order) - start, batch_size)
        finally:
            stop.set()


def _batches(
    windows: Iterable[tuple[Tensor, Tensor]], left: int, batch_size: int
) -> Iterator[Tensor]:
    """Copy rows out of windows, whose memory is used again, into batches that may span them."""
    batch, have = torch.empty(0), 0
    for window, places in windows:
        done = 0
        while done < len(places):
            if have == 0:
                batch = window.new_empty((min(batch_size, left), *window.shape[1:]))
            count = min(len(batch) - have, len(places) - done)
            some = places[done : done + count]
            torch.index_select(window, 0, some, out=batch[have : have + count])
            done, have = done + count, have + count
            if have == len(batch):
                yield batch
                left, have = left - have, 0


def chunks(inputs: Inputs, rows: int) -> Iterator[Tensor]:
    """Give inputs from first to last, some at a time; from disk, a few megabytes at a time.

    Args:
        inputs: (N, ...).
        rows: How many at a time at most.
    """
    if isinstance(inputs, Tensor):
        yield from torch.split(inputs, rows)
        return
    few = max(1, min(rows, PIECE_BYTES // max(1, inputs.row_bytes)))
    bounds = [*range(0, len(inputs), few), len(inputs)]
    forget = outgrows(inputs, memory_budget())
    yield from read_ahead(inputs, torch.arange(len(inputs)), few, bounds=bounds, forget=forget)


def outgrows(rows: DiskRows, memory: int) -> bool:
    """Say whether the file is too large to be kept in the system's cache from pass to pass.

    Args:
        rows: Of the file.
        memory: Bytes that the inputs may take in memory.
    """
    return rows.count * rows.row_bytes > 2 * memory
