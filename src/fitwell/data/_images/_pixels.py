"""The file that decoded images are kept in: a .npy file of bytes, mapped to memory.

M images, C channels, H W height width.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, final

import numpy as np
import torch
from torch import Tensor

from ...core.files import atomic_path
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
        pixels: (M, C, H, W) uint8 of the files that are good; a private memory map.
        problems: What is wrong and what to do, by position of the bad files.
        folder: Where the entry lies.
    """

    pixels: Tensor
    problems: Mapping[int, tuple[str, str]]
    folder: Path


def map_pixels(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Map the pixels of a complete file to memory; writing to the tensor leaves the file alone.

    Args:
        path: A .npy file of bytes.
        shape: Its shape.
    """
    if 0 in shape:
        return torch.empty(shape, dtype=torch.uint8)
    return torch.from_numpy(np.memmap(path, np.uint8, mode="c", offset=HEAD_BYTES, shape=shape))


def copy_rows(entry: Entry, rows: Sequence[int]) -> Tensor:
    """Give some rows of an entry: as a view if they follow each other, else in memory.

    More than a quarter of this machine's memory is written to a file beside the entry and mapped.

    Args:
        entry: The entry.
        rows: Which, ascending.
    """
    if not rows or rows[-1] - rows[0] + 1 == len(rows):
        return entry.pixels[rows[0] : rows[-1] + 1] if rows else entry.pixels[:0]
    shape = (len(rows), *entry.pixels.shape[1:])
    index = torch.as_tensor(rows, dtype=torch.int64)
    if int(np.prod(shape)) <= _memory() // 4:
        return entry.pixels.index_select(0, index)
    name = hashlib.sha256(index.numpy().tobytes()).hexdigest()[:16]
    path = entry.folder / f"rows-{name}.npy"
    if not path.exists():
        with atomic_path(path) as place, place.open("wb") as out:
            write_head(out, shape)
            for start in range(0, len(rows), 1024):
                some = entry.pixels.index_select(0, index[start : start + 1024])
                out.write(some.numpy().tobytes())
    return map_pixels(path, shape)


def _memory() -> int:
    """Bytes of memory of this machine; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**33


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
