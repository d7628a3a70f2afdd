"""Files with a known content: found on this machine, or fetched from their original address.

A file is taken only if its size and SHA-256 are the recorded ones, so a changed or damaged copy
never becomes data. Downloads go on where they broke off, and a file that stands under its final
name is whole.
"""

from __future__ import annotations

import contextlib
import errno
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import final

from ..core.errors import DataError
from ..core.files import cache_dir, local_data_dir, sha256, sync, write_text

Progress = Callable[[str, int, int], None]

_CHUNK = 2**18
_TRY_AGAIN = {408, 416, 425, 429, 500, 502, 503, 504}
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


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
        with _alone(folder / f".{file.name}.lock"):
            if target.is_file():
                return verify(target, file)
            _complete(file, part, attempts, pause, timeout, progress)
            sync(part)
            part.replace(target)
    except OSError as err:
        raise DataError(
            f"{folder}: cannot be written ({err.strerror}). Free or unlock it."
        ) from err
    return verify(target, file)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time into the block, where the system has file locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _complete(
    file: RemoteFile,
    part: Path,
    attempts: int,
    pause: float,
    timeout: float,
    progress: Progress | None,
) -> None:
    """Connect until `part` holds the recorded content."""
    reason = "no attempt was made"
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        resumed = _size(part) > 0
        try:
            _receive(file, part, timeout, progress)
        except urllib.error.HTTPError as err:
            reason = f"HTTP status {err.code}"
            err.close()
            if err.code not in _TRY_AGAIN:
                break
            if err.code == 416:  # the part is longer than what the server has
                part.unlink(missing_ok=True)
            continue
        except (OSError, HTTPException) as err:
            if isinstance(err, OSError) and err.errno in _DISK:
                raise
            reason = str(getattr(err, "reason", err)) or type(err).__name__
            continue
        if _size(part) < file.bytes:
            reason = f"the connection broke after {_size(part):,} of {file.bytes:,} bytes"
            continue
        found = sha256(part)
        if found == file.sha256:
            return
        part.unlink()
        if not resumed:  # what was fetched in one piece is really another file
            raise DataError(
                f"{file.url}: must have the SHA-256 {file.sha256}; got {found}."
                f" The file at this address has changed; {_elsewhere(file, part.parent)}."
            )
        reason = "the pieces did not fit together"
    raise DataError(
        f"{file.url}: could not be fetched ({reason}); {_elsewhere(file, part.parent)}."
    )


def _elsewhere(file: RemoteFile, folder: Path) -> str:
    return (
        f"get the original elsewhere and save it as {folder / file.name}, or set FITWELL_DATA to a"
        f" folder that holds {folder.name}/{file.name}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _receive(file: RemoteFile, part: Path, timeout: float, progress: Progress | None) -> None:
    """Ask once for what is missing of `part`, and append what comes."""
    have = _size(part)
    if have > file.bytes:
        part.unlink()
        have = 0
    if have == file.bytes:
        return
    request = urllib.request.Request(file.url, headers={"User-Agent": "fitwell"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        have = have if _continues(response, have) else 0
        with part.open("ab" if have else "wb") as out:
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(file.name, have, file.bytes)
                if have > file.bytes:  # not our file; the SHA-256 will say so
                    return


def _continues(response: HTTPResponse, have: int) -> bool:
    if response.status != 206:
        return False
    sent = response.headers.get("Content-Range", "")
    if not sent.startswith(f"bytes {have}-"):
        raise OSError(f"the server sent {sent!r} when asked for bytes {have}-")
    return True
