"""Records: measured results as JSON lines, written by programs and never by hand."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import DataError
from .files import finite, sync
from .machine import machine as machine

_WATCHED = ("torch", "numpy", "sklearn", "lightning", "skorch", "keras", "transformers")


def append_record(
    file: str | Path,
    *,
    what: str,
    method: str,
    result: Mapping[str, Any],
    seeds: Sequence[int],
    seconds: float,
    **more: Any,
) -> dict[str, Any]:
    """Write one measured result at the end of a record file, and give what was written.

    Machine, versions, commit and date are added. The line is flushed to the disk before the
    function returns; two processes may append to one file.

    Args:
        file: The record file; made with its folder if it is missing.
        what: What was measured, such as ``"fashion_mnist test accuracy"``.
        method: The method's printed form, enough to repeat the measurement.
        result: Numbers by name.
        seeds: Every seed that went into the result.
        seconds: Wall time of the measurement.
        more: Anything else that belongs to the result.
    """
    record = {
        "what": what,
        "method": method,
        "result": dict(result),
        "seeds": list(seeds),
        "seconds": seconds,
        **more,
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    line = json.dumps(finite(record), ensure_ascii=False) + "\n"
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:  # one write in append mode keeps lines of two writers apart
        out.write(line.encode())
    sync(file)
    written: dict[str, Any] = json.loads(line)
    return written


def read_records(file: str | Path) -> tuple[dict[str, Any], ...]:
    """Read all records of a file, oldest first.

    Args:
        file: The record file.

    Raises:
        DataError: A line is not a JSON object.
    """
    records = []
    lines = Path(file).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as err:
            raise DataError(f"records: {file} line {number}: not JSON ({err.msg}).") from err
        if not isinstance(record, dict):
            raise DataError(f"records: {file} line {number}: must be an object; got {line[:40]!r}.")
        records.append(record)
    return tuple(records)


def versions() -> dict[str, str]:
    """Give the versions of Python, fitwell and those libraries that are already imported."""
    from .. import __version__

    found = {"python": platform.python_version(), "fitwell": __version__}
    for name in _WATCHED:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    return found


def commit() -> str | None:
    """Give the commit of the checkout this package runs from, ``+`` if it was changed, or None."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}{'+' if changed else ''}"


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
