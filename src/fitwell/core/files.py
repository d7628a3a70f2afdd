"""Files that are never half-written, and folders fitwell uses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target` that replaces it only if the block succeeds.

    Args:
        target: The file to write; its folder is made if it is missing.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk.

    Args:
        path: The file or folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(target: str | Path, text: str) -> None:
    """Write a text file in one piece or not at all.

    Args:
        target: The file.
        text: Its whole content.
    """
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: str | Path, value: Mapping[str, Any]) -> None:
    """Write an object as indented JSON in one piece or not at all; NaN becomes null.

    Args:
        target: The file.
        value: The object.
    """
    write_text(target, json.dumps(finite(value), indent=2, ensure_ascii=False) + "\n")


def finite(value: Any) -> Any:
    """Replace numbers that JSON has no word for (NaN, infinities) by None, all the way down.

    Args:
        value: Anything made of dicts, lists, tuples and scalars.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def sha256(path: str | Path) -> str:
    """Give the SHA-256 of a file as hexadecimal digits.

    Args:
        path: The file.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """Give the folder for downloads and decoded images, ``$FITWELL_CACHE`` or in ``~/.cache``."""
    if "FITWELL_CACHE" in os.environ:
        return Path(os.environ["FITWELL_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fitwell"


def local_data_dir() -> Path | None:
    """Give the folder of data sets that are already on this machine, ``$FITWELL_DATA``, or None."""
    value = os.environ.get("FITWELL_DATA")
    return Path(value) if value else None
