"""Room for decoded images: entries that nobody uses go, the longest unused first.

<cache>/images/in-use/<entry>.<host>.<process>   empty; the process may open the entry again
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

DISK_SHARE = 4  # a quarter of the disk may be taken
_STALE_SECONDS = 86_400.0
# Whether a process of another machine still runs cannot be seen from here.
_FOREIGN_SECONDS = 7 * 86_400.0


def mark_used(folder: Path, key: str) -> None:
    """Say that this process uses an entry, from now until it ends.

    Args:
        folder: The cache.
        key: Name of the entry.
    """
    # A cache that cannot be written to is not made smaller by us either.
    with contextlib.suppress(OSError):
        marks = folder / "in-use"
        marks.mkdir(exist_ok=True)
        (marks / f"{key}.{socket.gethostname()}.{os.getpid()}").touch()
        os.utime(folder / "decoded" / key)


def make_room(folder: Path, max_bytes: int | None) -> None:
    """Remove what killed processes left behind, and entries until the rest is small enough.

    Entries that a process uses stay, whatever their size.

    Args:
        folder: The cache.
        max_bytes: What entries may take; None is a quarter of the disk.
    """
    if max_bytes is None:
        max_bytes = shutil.disk_usage(folder).total // DISK_SHARE
    found: list[tuple[float, int, Path]] = []
    for entry in (folder / "decoded").iterdir():
        with contextlib.suppress(OSError):  # another process removes it at this moment
            age = time.time() - entry.stat().st_mtime
            if not entry.name.startswith("tmp-"):
                size = sum(file.stat().st_size for file in entry.iterdir())
                found.append((-age, size, entry))
            elif age > _STALE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
    total = sum(size for _, size, _ in found)
    for _, size, entry in sorted(found):
        if total <= max_bytes:
            return
        if _remove(folder, entry):
            total -= size


def _remove(folder: Path, entry: Path) -> bool:
    """Remove an entry unless a process uses it; one that comes in between gets it back."""
    if _is_used(folder, entry.name):
        return False
    aside = entry.with_name(f"tmp-old-{entry.name}")
    with contextlib.suppress(OSError):
        entry.rename(aside)
        if _is_used(folder, entry.name):
            aside.rename(entry)
            return False
    shutil.rmtree(aside, ignore_errors=True)
    return not entry.exists()


def _is_used(folder: Path, key: str) -> bool:
    used = False
    for mark in (folder / "in-use").glob(f"{key}.*"):
        host, _, process = mark.name.removeprefix(f"{key}.").rpartition(".")
        with contextlib.suppress(OSError, ValueError):
            if host == socket.gethostname() and os.name == "posix":
                alive = _runs(int(process))
            else:
                alive = time.time() - mark.stat().st_mtime < _FOREIGN_SECONDS
            if not alive:
                mark.unlink()
            used = used or alive
    return used


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
