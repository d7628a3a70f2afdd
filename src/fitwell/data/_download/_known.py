"""Files with a known content: found on this machine, or fetched from their original address.

A file is taken only if its size and SHA-256 are the recorded ones, so a changed or damaged copy
never becomes data. Downloads go on where they broke off, and a file that stands under its final
name is whole.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ...core.errors import DataError
from ...core.files import cache_dir, local_data_dir, sha256, sync, write_text
from ._transfer import Patience, Progress, Wanted, alone, complete, open_url


@final
@dataclass(frozen=True)
class RemoteFile:
    """A file by its content, and where its authors keep it.

    Args:
        name: Name of the file on this machine.
        sha256: SHA-256 of the content, as hexadecimal digits.
        bytes: Size of the content.
        url: Address it is fetched from; empty for a file that has no address of its own.
    """

    name: str
    sha256: str
    bytes: int
    url: str = ""


def local_path(file: RemoteFile, folder: str) -> Path | None:
    """Find a file in ``FITWELL_DATA`` or among earlier downloads, without reading it.

    Args:
        file: What to look for.
        folder: Name of the data set's folder in both places.
    """
    given = local_data_dir()
    places = [download_dir(folder)] if given is None else [given / folder, download_dir(folder)]
    return next((place / file.name for place in places if (place / file.name).is_file()), None)


def download_dir(folder: str) -> Path:
    """Give the folder that downloads of a data set go to.

    Args:
        folder: Name of the data set's folder.
    """
    return cache_dir() / "data" / folder


def verify(path: Path, file: RemoteFile) -> Path:
    """Check that a file has the content that was recorded for it, and give its path back.

    The SHA-256 is computed once; afterwards path, size and time of change are enough.

    Args:
        path: Where the file is.
        file: What it should be.

    Raises:
        DataError: The content is another one.
    """
    state = path.stat()
    if state.st_size != file.bytes:
        raise DataError(
            f"{path}: must have {file.bytes:,} bytes; got {state.st_size:,}."
            " Delete it, or put the original file in its place."
        )
    seen = [state.st_size, state.st_mtime_ns, file.sha256]
    notes = cache_dir() / "data" / "verified.json"
    known = _read_notes(notes)
    key = str(path.resolve())
    if known.get(key) == seen:
        return path
    found = sha256(path)
    if found != file.sha256:
        raise DataError(
            f"{path}: must have the SHA-256 {file.sha256}; got {found}."
            " Delete it, or put the original file in its place."
        )
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        write_text(notes, json.dumps({**known, key: seen}, indent=1))
    return path


def _read_notes(path: Path) -> dict[str, object]:
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> Path:
    """Download a file into a folder, going on from what an earlier attempt left.

    Args:
        file: What to download, and from where.
        folder: Where it goes; made if it is missing.
        attempts: How often to connect before giving up; a lasting refusal is not tried again.
        pause: Seconds before the second attempt; doubled for each further one.
        timeout: Seconds without any data after which a connection counts as broken.
        progress: Called with the name, the bytes that are here and the bytes of the whole.

    Raises:
        DataError: The address cannot be reached, what it gives is not the recorded content, or the
            folder cannot be written.
    """
    target = folder / file.name
    part = folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / f".{file.name}.lock"):
            if target.is_file():
                return verify(target, file)
            wanted = Wanted(
                name=file.name,
                address=file.url,
                way_out=_elsewhere(file, folder),
                sha256=file.sha256,
                bytes=file.bytes,
            )
            patience = Patience(attempts=attempts, pause=pause, timeout=timeout)
            complete(wanted, part, open_url(file.url), patience, progress)
            sync(part)
            part.replace(target)
    except OSError as err:
        raise DataError(
            f"{folder}: cannot be written ({err.strerror}). Free or unlock it."
        ) from err
    return verify(target, file)


def _elsewhere(file: RemoteFile, folder: Path) -> str:
    return (
        f"get the original elsewhere and save it as {folder / file.name}, or set FITWELL_DATA to a"
        f" folder that holds {folder.name}/{file.name}"
    )
