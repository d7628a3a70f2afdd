"""How fast a disk reads and writes: large files in order and at random, and many small files."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from .errors import DataError

BLOCK, PAGE, SMALL, MOST_FILES = 2**20, 4096, 4096, 1000


@final
@dataclass(frozen=True, kw_only=True)
class DiskSpeed:
    """What was measured in a folder; bytes and files per second.

    Args:
        folder: Where.
        system: Kind of file system; empty if not known.
        free: Bytes left.
        write: Writing a large file in order, until it is on the disk.
        read: Reading it in order.
        random_write: Writing pages of 4 KiB of it at random places, until they are on the disk.
        random_read: Reading such pages.
        small_write: Small files written.
        small_read: Small files opened and read.
    """

    folder: Path
    system: str
    free: int
    write: float
    read: float
    random_write: float
    random_read: float
    small_write: float
    small_read: float


def measure_disk(folder: Path, *, seconds: float = 0.5, max_bytes: int = 2**27) -> DiskSpeed:
    """Measure how fast the disk under a folder is; leaves nothing behind.

    The system is asked to forget the file before it is read. File systems that cannot do so, and
    drives with a cache of their own, are measured with their cache.

    Args:
        folder: A folder there.
        seconds: Longest time of each of the six measurements.
        max_bytes: Size of the large file at most.

    Raises:
        DataError: The folder is not there, or nothing can be written in it.
    """
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryDirectory(prefix=".fitwell-speed-", dir=folder) as name:
            large, small = Path(name, "large"), Path(name, "small")
            size = max(BLOCK, min(max_bytes, free // 4) // BLOCK * BLOCK)
            written, write = _write(large, size, seconds)
            draw = random.Random(0)
            pages = [PAGE * draw.randrange(written // PAGE) for _ in range(50_000)]
            random_write = _random_write(large, pages, seconds)
            read = _read(large, seconds)
            random_read = _random_read(large, pages, seconds)
            small.mkdir()
            count, small_write = _write_small(small, seconds)
            small_read = _read_small(small, count, seconds)
    except OSError as err:
        raise DataError(
            f"data speed: {folder} must be a folder that can be written ({err.strerror})."
        ) from err
    return DiskSpeed(
        folder=folder,
        system=file_system(folder),
        free=free,
        write=write,
        read=read,
        random_write=random_write,
        random_read=random_read,
        small_write=small_write,
        small_read=small_read,
    )


def _rate(amount: float, begun: float) -> float:
    return amount / max(time.perf_counter() - begun, 1e-9)


def _until(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


def _write(path: Path, size: int, seconds: float) -> tuple[int, float]:
    block, count, going = os.urandom(BLOCK), 0, _until(seconds)
    begun = time.perf_counter()
    with path.open("wb") as file:
        while count < size and (going() or not count):
            count += file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return count, _rate(count, begun)


def _read(path: Path, seconds: float) -> float:
    with _uncached(path) as handle:
        going, count = _until(seconds), 0
        begun = time.perf_counter()
        while going() and (block := os.read(handle, BLOCK)):
            count += len(block)
        return _rate(count, begun)


def _random_write(path: Path, pages: list[int], seconds: float) -> float:
    page, count, going = os.urandom(PAGE), 0, _until(seconds)
    begun = time.perf_counter()
    with path.open("r+b", buffering=0) as file:
        for place in pages:
            file.seek(place)
            count += file.write(page) or 0
            if not going():
                break
        os.fsync(file.fileno())
    return _rate(count, begun)


def _random_read(path: Path, pages: list[int], seconds: float) -> float:
    with _uncached(path) as handle:
        going, count = _until(seconds), 0
        begun = time.perf_counter()
        for place in pages:
            os.lseek(handle, place, os.SEEK_SET)
            count += len(os.read(handle, PAGE))
            if not going():
                break
        return _rate(count, begun)


def _write_small(folder: Path, seconds: float) -> tuple[int, float]:
    content, count, going = os.urandom(SMALL), 0, _until(seconds)
    begun = time.perf_counter()
    while count < MOST_FILES and (going() or not count):
        (folder / str(count)).write_bytes(content)
        count += 1
    return count, _rate(count, begun)


def _read_small(folder: Path, files: int, seconds: float) -> float:
    forgotten, going = 0, _until(seconds)
    while forgotten < files and (going() or not forgotten):
        with _uncached(folder / str(forgotten)):
            forgotten += 1
    count, going = 0, _until(seconds)
    begun = time.perf_counter()
    while count < forgotten and (going() or not count):
        (folder / str(count)).read_bytes()
        count += 1
    return _rate(count, begun)


@contextlib.contextmanager
def _uncached(path: Path) -> Iterator[int]:
    """Open a file that the system has been asked to forget."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.fsync(handle)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        yield handle
    finally:
        os.close(handle)


def file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Name the kind of file system that a folder lies on, such as ``ext4``; empty if not known.

    Args:
        folder: The folder.
        mounts: The system's table of mounts.
    """
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    where = folder.resolve()
    places = [(len(Path(row[1]).parts), row[2]) for row in rows if where.is_relative_to(row[1])]
    return max(places, default=(0, ""), key=lambda place: place[0])[1]
