"""The file that decoded images are kept in: a .npy file of bytes, mapped to memory.

M images, C channels, H W height width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, final

import numpy as np
import torch
from torch import Tensor

from .._stream import DiskRows, Inputs, memory_budget
from ._decode import Channels

HEAD_BYTES = 128  # of every .npy file of four axes; checked when it is written


@final
@dataclass(frozen=True)
class Form:
    """What images are brought to.

    Args:
        image_size: Height and width.
        channels: Gray or RGB.
    """

    image_size: tuple[int, int]
    channels: Channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, (C, H, W)."""
        return (1 if self.channels == "gray" else 3, *self.image_size)


@final
@dataclass(frozen=True)
class Entry:
    """A complete entry of the cache.

    Args:
        pixels: (M, C, H, W) uint8 of the files that are good.
        problems: What is wrong and what to do, by position of the bad files.
    """

    pixels: DiskRows
    problems: Mapping[int, tuple[str, str]]

    @cached_property
    def mapped(self) -> Tensor:
        """The pixels as a map of the file; writing to it leaves the file alone."""
        file, shape = self.pixels.path, self.pixels.shape
        return torch.from_numpy(np.memmap(file, np.uint8, mode="c", offset=HEAD_BYTES, shape=shape))


def find_pixels(path: Path, shape: tuple[int, ...]) -> DiskRows:
    """Give the pixels of a complete file, of which nothing is read yet.

    Args:
        path: A .npy file of bytes.
        shape: Its shape.
    """
    return DiskRows(path, shape[0], shape[1:], torch.uint8, HEAD_BYTES)


def take_rows(entry: Entry, rows: Sequence[int]) -> Inputs:
    """Give some rows of an entry: as a map of the file if they follow each other, else in memory.

    More than a quarter of the memory that this process may use stays on disk. Writing to a tensor
    leaves the file alone.

    Args:
        entry: The entry.
        rows: Which, ascending.
    """
    pixels = entry.pixels.take(rows)
    if pixels.nbytes > memory_budget():
        return pixels
    if not pixels.nbytes or rows[-1] - rows[0] + 1 > len(rows):
        return pixels[:]
    return entry.mapped[rows[0] : rows[-1] + 1]


def write_head(out: IO[bytes], shape: tuple[int, ...]) -> None:
    """Write the head of a .npy file of bytes.

    Args:
        out: The file.
        shape: Shape of what follows, four axes.
    """
    start = out.tell()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    if out.tell() - start != HEAD_BYTES:
        raise OSError(f"the head of the .npy file takes {out.tell() - start} bytes")
