"""Reading files of run folders that somebody else may have made: plain files only, no links."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from ..core.files import finite

LARGEST_OBJECT: Final = 64 * 2**20
_READ_AT_ONCE: Final = 8 * 2**20


def read_object(file: Path) -> Mapping[str, Any]:
    """Read a JSON object, NaN as null; empty if there is no such file.

    Args:
        file: The file.

    Raises:
        OSError: It cannot be read, or is not a plain file.
        ValueError: It does not hold a JSON object.
    """
    try:
        data = read_bytes(file, limit=LARGEST_OBJECT)
    except FileNotFoundError:
        return {}
    if len(data) == LARGEST_OBJECT:
        raise ValueError("too large")
    try:
        value = finite(json.loads(data))
    except RecursionError as err:
        raise ValueError("too deep") from err
    if not isinstance(value, Mapping):
        raise ValueError(f"holds {type(value).__name__}, not an object")
    return value


def read_bytes(file: Path, *, start: int = 0, limit: int) -> bytes:
    """Read a part of a plain file; links and pipes are refused.

    Args:
        file: The file.
        start: First byte.
        limit: Most bytes.

    Raises:
        OSError: It cannot be read, or is not a plain file.
    """
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as opened:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{file.name} is not a plain file")
        opened.seek(start)
        return opened.read(limit)


@final
@dataclass(kw_only=True)
class Tail:
    """What was read of a file that grows by lines; a line counts once its end is written.

    Args:
        file: The file.
        end: Bytes that were read.
    """

    file: Path
    end: int = 0
    _last: bytes = field(default=b"", repr=False)

    def read(self) -> tuple[bool, list[bytes]]:
        """Give the lines since the last call, and whether they begin the file anew.

        A run that is resumed takes back what came after its checkpoint: the file is then shorter,
        or what stood before `end` is no longer there.

        Raises:
            OSError: The file cannot be read, or is not a plain file.
        """
        try:
            size = os.lstat(self.file).st_size
            data = self._read(self.end - len(self._last)) if size >= self.end else b""
        except FileNotFoundError:
            size, data = 0, b""
        anew = size < self.end or not data.startswith(self._last)
        if anew:
            self.end, self._last = 0, b""
            data = self._read(0) if size else b""
        *lines, _ = data[len(self._last) :].split(b"\n")  # the last one is still being written
        if lines:
            self.end += sum(map(len, lines)) + len(lines)
            self._last = lines[-1] + b"\n"
        return anew, lines

    def _read(self, start: int) -> bytes:
        parts = []
        while part := read_bytes(self.file, start=start, limit=_READ_AT_ONCE):
            parts.append(part)
            start += len(part)
        return b"".join(parts)


def objects(lines: list[bytes]) -> Iterator[Mapping[str, Any]]:
    """Give the JSON objects among some lines; what is damaged is left out.

    Args:
        lines: Lines without their ends.
    """
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, Mapping):
            yield value
