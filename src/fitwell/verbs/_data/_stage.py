"""`fitwell data stage` and `data speed`: data onto a fast local disk, and how fast disks are."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from ...core.archives import stem
from ...core.disk_speed import DiskSpeed, measure_disk
from ...core.errors import UsageError
from ...core.files import cache_dir
from ...core.staging import Staged
from ...core.staging import stage as bring
from ...core.text import aligned


def stage(source: Path, /, *, to: Path | None = None, sha256: str | None = None) -> Staged:
    """Bring an archive or a folder to a local disk, unpacked, and say how fast both sides were.

    For data on a mounted cloud drive or a shared file system, which answer each small file with a
    wait: put one archive there, stage it, and train on what this prints. What is there and
    unchanged is not read again; a copy that was cut off is gone on with. From an archive only
    regular files are taken, and a name that leads out of the folder ends it.

    Args:
        source: A folder, a zip or tar archive, or any single file.
        to: Where it goes; by default a folder of the same name in the cache.
        sha256: SHA-256 that an archive or file must have.

    Raises:
        DataError: There is no such source, not enough room, or the archive is damaged.
        UsageError: A sha256 is given for a folder.
    """
    if sha256 is not None and source.is_dir():
        raise UsageError(
            f"data stage: `sha256` must be left out for a folder; got it for {str(source)!r}."
        )
    folder = _place(source) if to is None else to
    show = _progress if sys.stderr.isatty() else None
    return bring(source, folder, digest=sha256 or "", progress=show)


def _place(source: Path) -> Path:
    """Give a folder in the cache; two sources of one name get two."""
    digest = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:8]
    return cache_dir() / "staged" / f"{stem(source)}-{digest}"


def _progress(name: str, have: int, whole: int) -> None:
    share = have / max(whole, 1)
    line = f"\r{name}  {have / 2**20:,.1f} of {whole / 2**20:,.1f} MiB  {share:4.0%}"
    print(line, end="\n" if have >= whole else "", file=sys.stderr, flush=True)


@final
@dataclass(frozen=True)
class DiskSpeeds:
    """What was measured of each folder.

    Args:
        disks: One entry per folder.
    """

    disks: tuple[DiskSpeed, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give all as plain data; bytes and files per second."""
        return {"disks": [{**asdict(disk), "folder": str(disk.folder)} for disk in self.disks]}

    def __str__(self) -> str:
        header = ["folder", "system", "free", *(f"{k} {w}" for k in _KINDS for w in _WAYS)]
        rows = [
            [
                disk.folder,
                disk.system or None,
                f"{disk.free / 1e9:,.1f} GB",
                *(f"{speed / 1e6:,.1f}" for speed in (disk.write, disk.read)),
                *(f"{speed / 1e6:,.1f}" for speed in (disk.random_write, disk.random_read)),
                *(f"{speed:,.0f}" for speed in (disk.small_write, disk.small_read)),
            ]
            for disk in self.disks
        ]
        note = "In order and random (4 KiB): MB/s. Small (4 KiB): files/s."
        return f"{aligned(header, rows)}\n{note}"


_KINDS, _WAYS = ("order", "random", "small"), ("write", "read")


def speed(*folders: Path, seconds: float = 0.5, max_bytes: int = 2**27) -> DiskSpeeds:
    """Measure how fast disks write and read: in order, at random, and many small files.

    Writes a temporary file into each folder and removes it. Compare a mounted drive with a local
    disk, then train from the faster one.

    Args:
        folders: A folder on each disk; the current one and the cache if none is given.
        seconds: Longest time of each of the six measurements of a folder.
        max_bytes: Bytes written to each disk at most.

    Raises:
        DataError: A folder is not there, or nothing can be written in it.
        UsageError: `seconds` or `max_bytes` is not positive.
    """
    if not seconds > 0 or max_bytes < 1:
        raise UsageError(
            "data speed: `seconds` and `max_bytes` must be positive; got"
            f" seconds={seconds}, max_bytes={max_bytes}."
        )
    chosen = list(folders)
    if not chosen:
        cache_dir().mkdir(parents=True, exist_ok=True)
        chosen = [Path.cwd(), cache_dir()]
    return DiskSpeeds(
        tuple(measure_disk(folder, seconds=seconds, max_bytes=max_bytes) for folder in chosen)
    )
