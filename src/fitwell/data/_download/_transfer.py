"""One file over HTTP: asked for again when it breaks off, gone on with where it broke off."""

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

from ...core.errors import DataError
from ...core.files import sha256, write_text

Progress = Callable[[str, int, int], None]
OpenAt = Callable[[int, float], HTTPResponse]
"""Opens the content from a byte on; the number is seconds to wait for an answer."""

_CHUNK = 2**18
_TRY_AGAIN = {408, 416, 425, 429, 500, 502, 503, 504}
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class Refused(Exception):
    """The server answers, but not with the file.

    Args:
        reason: What it answers.
        lasting: Whether asking again is useless.
    """

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


@final
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be fetched, as far as it is known before.

    Args:
        name: Name of the file, for progress.
        address: Where it comes from, for messages.
        way_out: What to do when it cannot be had, for messages.
        sha256: SHA-256 of the content; empty if not known.
        bytes: Size of the content; 0 if not known.
    """

    name: str
    address: str
    way_out: str
    sha256: str = ""
    bytes: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try.

    Args:
        attempts: How often to connect; a lasting refusal is not tried again.
        pause: Seconds before the second attempt; doubled for each further one.
        timeout: Seconds without any data after which a connection counts as broken.
    """

    attempts: int = 5
    pause: float = 1.0
    timeout: float = 30.0


def open_url(url: str) -> OpenAt:
    """Give what opens an address from a byte on.

    Args:
        url: The address.
    """

    def open_at(start: int, timeout: float) -> HTTPResponse:
        response: HTTPResponse = urllib.request.urlopen(request(url, start), timeout=timeout)
        return response

    return open_at


def request(url: str, start: int) -> urllib.request.Request:
    """Build the request for the content of an address from a byte on.

    Args:
        url: The address.
        start: First byte.
    """
    asked = urllib.request.Request(url, headers={"User-Agent": "fitwell"})
    if start:
        asked.add_header("Range", f"bytes={start}-")
    return asked


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time into the block, where the system has file locks.

    Args:
        path: The file that is locked.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def complete(
    wanted: Wanted,
    part: Path,
    open_at: OpenAt,
    patience: Patience,
    progress: Progress | None = None,
) -> None:
    """Connect until `part` holds the content that is wanted.

    Args:
        wanted: What is known of it.
        part: Where it goes; what an earlier attempt left there is gone on with.
        open_at: Opens the content.
        patience: How long to try.
        progress: Called with the name, the bytes that are here and the bytes of the whole.

    Raises:
        DataError: It cannot be had, or is another one.
        OSError: The disk does not take it.
    """
    reason = "no attempt was made"
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause * 2 ** (attempt - 1))
        resumed = size_of(part) > 0
        try:
            whole = _receive(wanted, part, open_at, patience.timeout, progress)
        except urllib.error.HTTPError as err:
            reason = f"HTTP status {err.code}"
            err.close()
            if err.code not in _TRY_AGAIN:
                break
            if err.code == 416:  # the part is longer than what the server has
                part.unlink(missing_ok=True)
            continue
        except Refused as err:
            reason = str(err)
            if err.lasting:
                break
            continue
        except (OSError, HTTPException) as err:
            if isinstance(err, OSError) and err.errno in _DISK:
                raise
            reason = str(getattr(err, "reason", err)) or type(err).__name__
            continue
        if whole and size_of(part) < whole:
            reason = f"the connection broke after {size_of(part):,} of {whole:,} bytes"
            continue
        problem = _difference(wanted, part)
        _note(part).unlink(missing_ok=True)
        if problem is None:
            return
        part.unlink()
        if not resumed:  # what was fetched in one piece is really another file
            raise DataError(
                f"{wanted.address}: {problem} The file at this address has changed;"
                f" {wanted.way_out}."
            )
        reason = "the pieces did not fit together"
    raise DataError(f"{wanted.address}: could not be fetched ({reason}); {wanted.way_out}.")


def _difference(wanted: Wanted, part: Path) -> str | None:
    if wanted.sha256 and (found := sha256(part)) != wanted.sha256:
        return f"must have the SHA-256 {wanted.sha256}; got {found}."
    if wanted.bytes and size_of(part) != wanted.bytes:
        return f"must have {wanted.bytes:,} bytes; got {size_of(part):,}."
    return None


def size_of(path: Path) -> int:
    """Give the size of a file, 0 if it is not there.

    Args:
        path: The file.
    """
    return path.stat().st_size if path.is_file() else 0


def _receive(
    wanted: Wanted, part: Path, open_at: OpenAt, timeout: float, progress: Progress | None
) -> int:
    """Ask once for what is missing of `part`, append what comes, and give the size of the whole."""
    have, whole = size_of(part), wanted.bytes
    if whole and have > whole:
        part.unlink()
        have = 0
    if whole and have == whole:
        return whole
    with open_at(have, timeout) as response:
        have = have if _continues(response, have) else 0
        whole = whole or _whole(response, have)
        _same_version(wanted, part, response, have)
        with part.open("ab" if have else "wb") as out:
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(wanted.name, have, whole or have)
                if whole and have > whole:  # not our file; the check will say so
                    break
    return whole


def _continues(response: HTTPResponse, have: int) -> bool:
    if response.status != 206:
        return False
    sent = response.headers.get("Content-Range", "")
    if not sent.startswith(f"bytes {have}-"):
        raise OSError(f"the server sent {sent!r} when asked for bytes {have}-")
    return True


def _whole(response: HTTPResponse, have: int) -> int:
    """Give the size of the whole as the server says it, or 0."""
    if have:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        return int(total) if total.isdigit() else 0
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else 0


def _same_version(wanted: Wanted, part: Path, response: HTTPResponse, have: int) -> None:
    """Refuse to join pieces of two versions of a file whose SHA-256 is not known."""
    if wanted.sha256:
        return
    headers = response.headers
    stamps = [headers.get("ETag", ""), headers.get("Last-Modified", "")]
    version = [wanted.address, *stamps, _whole(response, have)]
    note = _note(part)
    if not have:
        write_text(note, json.dumps(version))
        return
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if before != version:
        part.unlink()
        raise OSError("the file has changed since the download began")


def _note(part: Path) -> Path:
    return part.with_name(f".{part.name}.json")
