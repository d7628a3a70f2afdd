"""Rows of an array in a file, read when they are asked for: data that does not fit in memory.

How they become batches is in `_read_ahead`.

M rows of the file, N rows chosen of them.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...core.errors import DataError

Places = npt.NDArray[np.int64]

# What is asked of the disk at once: long against a seek, short against memory.
PIECE_BYTES = 4 * 2**20
# Rows that are not wanted are read as well, and thrown away, if they take no more than this.
_GAP_BYTES = 2**16
# How many such pieces the system is told of before they are read.
_AHEAD = 8


@final
@dataclass(frozen=True, eq=False)
class DiskRows:
    """Rows of an array in a file, in the place of a tensor that would not fit in memory.

    Indexing reads the rows and gives a tensor; `take` chooses rows and reads nothing. `Examples`
    hold such rows as they hold a tensor, and `Batches` read them ahead. The file must not change
    while they are in use.

    Args:
        path: The file.
        count: Rows in the file.
        row_shape: Shape of one row.
        dtype: Of the values, in this machine's byte order.
        offset: Bytes in front of the first row.
        places: (N,) which rows of the file these are, in their order; None is all. Ascending
            places are read fast.
        stamp: Size and time of change of the file; None takes them now.

    Raises:
        DataError: The file is not there, is too short, or has changed since.
    """

    path: Path
    count: int
    row_shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int = 0
    places: Tensor | None = None
    stamp: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.stamp is not None:  # `open` looks again
            return
        try:
            found = os.stat(self.path)
        except OSError as err:
            raise DataError(f"{self.path}: cannot be read ({err.strerror}). Restore it.") from err
        if found.st_size < self.offset + self.count * self.row_bytes:
            raise DataError(
                f"{self.path}: must hold {self.count} rows of {self.row_bytes} bytes; got"
                f" {found.st_size} bytes in all. Write it again."
            )
        object.__setattr__(self, "stamp", (found.st_size, found.st_mtime_ns))

    @classmethod
    def of(cls, array: npt.NDArray[Any] | Tensor) -> DiskRows | None:
        """Give the rows of a file that an array or tensor is a map of; None if it is no such map.

        Known are `numpy.memmap`, also through ``np.load(..., mmap_mode="r")`` and views, and
        ``torch.from_file(..., shared=True)``, if they lie in memory as in the file.

        Args:
            array: (N, ...).
        """
        if isinstance(array, Tensor):
            name = array.untyped_storage().filename
            if name is None or not array.is_contiguous() or array.ndim == 0:
                return None
            start = int(array.storage_offset()) * array.itemsize
            return cls(Path(name), len(array), tuple(array.shape[1:]), array.dtype, start)
        root = array
        while isinstance(root.base, np.ndarray):
            root = root.base
        plain = array.dtype.isnative and array.dtype.kind in "buif" and array.ndim > 0
        if not isinstance(root, np.memmap) or not plain or not array.flags.c_contiguous:
            return None
        if root.filename is None or root.mode == "c":  # its changes are not in the file
            return None
        start = root.offset + array.ctypes.data - root.ctypes.data
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        return cls(Path(root.filename), len(array), array.shape[1:], dtype, start)

    def __len__(self) -> int:
        return self.count if self.places is None else len(self.places)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor that all rows would make."""
        return (len(self), *self.row_shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 1 + len(self.row_shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * self.row_bytes

    @property
    def device(self) -> torch.device:
        """Where tensors that are read lie."""
        return torch.device("cpu")

    def is_floating_point(self) -> bool:
        """Whether the values are floats."""
        return self.dtype.is_floating_point

    def take(self, indices: Tensor | Sequence[int]) -> DiskRows:
        """Choose some of the rows, without reading them.

        Args:
            indices: (N,) positions among these rows.

        Raises:
            IndexError: There is no such row.
        """
        index = torch.as_tensor(indices, dtype=torch.int64)
        index = torch.where(index < 0, index + len(self), index)
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self):
            raise IndexError(
                f"DiskRows: `indices` must be positions of {len(self)} rows; got"
                f" {int(index.min())} to {int(index.max())}."
            )
        return replace(self, places=index if self.places is None else self.places[index])

    def __getitem__(self, key: Any) -> Tensor:
        if isinstance(key, tuple):
            if isinstance(key[0], (int, np.integer)):
                return self[key[0]][key[1:]]
            rest = (slice(None), *key[1:])
            chosen = self._chosen(key[0])
            step = max(1, PIECE_BYTES // max(1, self.row_bytes))
            starts = range(0, max(1, len(chosen)), step)
            return torch.cat([chosen[start : start + step][rest] for start in starts])
        if isinstance(key, (int, np.integer)):
            return self.take([int(key)])[:][0]
        chosen = self._chosen(key)
        places = chosen.file_places()
        found = torch.empty(chosen.shape, dtype=self.dtype)
        order = None if bool((places[1:] >= places[:-1]).all()) else np.argsort(places)
        with self.open() as file:
            self.fill(file, places if order is None else places[order], found)
        return found if order is None else found[torch.from_numpy(np.argsort(order))]

    def _chosen(self, key: Any) -> DiskRows:
        if isinstance(key, slice):
            return self.take(torch.from_numpy(np.arange(len(self))[key].copy()))
        index = torch.as_tensor(key)
        return self.take(index.nonzero().squeeze(1) if index.dtype == torch.bool else index)

    def file_places(self) -> Places:
        """Give which rows of the file these are, in their order."""
        return np.arange(self.count) if self.places is None else self.places.numpy()

    def open(self) -> FileIO:
        """Open the file for `fill`.

        Raises:
            DataError: It is gone or has changed.
        """
        try:
            file = FileIO(self.path)
        except OSError as err:
            raise DataError(f"{self.path}: cannot be read ({err.strerror}). Restore it.") from err
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != self.stamp:
            file.close()
            raise DataError(f"{self.path}: has changed while it was in use. Start again.")
        _advise(file, 0, 0, "POSIX_FADV_RANDOM")  # else the system reads more than it is told
        return file

    def fill(
        self,
        file: FileIO,
        places: Places,
        out: Tensor,
        *,
        forget: bool = False,
        stopped: Callable[[], bool] = bool,
    ) -> None:
        """Read rows of the file into a tensor; the system is told of the next pieces ahead.

        Args:
            file: What `open` gave.
            places: (N,) rows of the file, ascending.
            out: (N, ...) where they go; contiguous.
            forget: Let the system drop from its cache what was read.
            stopped: Asked before each piece; True ends the reading.

        Raises:
            DataError: The file is shorter than it was.
        """
        size = self.row_bytes
        if size == 0 or len(places) == 0:
            return
        bytes_out = out.reshape(-1).view(torch.uint8).numpy().reshape(len(places), size)
        spans = _spans(places, size)
        told = 0
        for number, (start, stop) in enumerate(spans):
            if stopped():
                return
            while told < min(number + 1 + _AHEAD, len(spans)):
                begin, length = _extent(places, *spans[told])
                _advise(file, self.offset + begin * size, length * size, "POSIX_FADV_WILLNEED")
                told += 1
            first, rows = _extent(places, start, stop)
            if rows == stop - start:
                _read(file, self.offset + first * size, bytes_out[start:stop])
            else:
                scratch = np.empty((rows, size), np.uint8)
                _read(file, self.offset + first * size, scratch)
                chosen = places[start:stop] - first
                np.take(scratch, chosen, axis=0, out=bytes_out[start:stop], mode="clip")
            if forget:
                _advise(file, self.offset + first * size, rows * size, "POSIX_FADV_DONTNEED")


Inputs = Tensor | DiskRows


def _spans(places: Places, size: int) -> list[tuple[int, int]]:
    """Cut ascending places into stretches of the file that are each read at once, without twins."""
    steps = np.diff(places)
    gaps = (steps == 0) | ((steps - 1) * size > _GAP_BYTES)
    edges = np.diff(places * size // PIECE_BYTES) != 0
    cuts = (np.flatnonzero(gaps | edges) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(places)], strict=True))


def _extent(places: Places, start: int, stop: int) -> tuple[int, int]:
    """Give the first row of a stretch and how many rows of the file it covers."""
    first = int(places[start])
    return first, int(places[stop - 1]) - first + 1


def _read(file: FileIO, offset: int, out: npt.NDArray[np.uint8]) -> None:
    view = out.reshape(-1).data
    file.seek(offset)
    while view:
        count = file.readinto(view)
        if not count:
            raise DataError(f"{file.name!s}: has become shorter while it was read. Restore it.")
        view = view[count:]


def _advise(file: FileIO, offset: int, length: int, advice: str) -> None:
    """Tell the system what will be needed; whole pages, since it keeps those it is told half of."""
    if hasattr(os, "posix_fadvise"):
        page = 4096
        start = offset // page * page
        stop = -(-(offset + length) // page) * page
        with contextlib.suppress(OSError):
            os.posix_fadvise(file.fileno(), start, stop - start, getattr(os, advice))
