"""The runs of a folder, read again only where a file has changed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

from ..core.runs import RUN_FILE
from ._rows import Seen, points

_WATCHED: Final = (RUN_FILE, "result.json", "metrics.jsonl", "report.html")
"""Files whose time and size say whether a run must be read again, in the order `Seen` knows."""


@final
@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that a page shows and that is not as it was.

    Args:
        kind: `run` is a new or changed row, `gone` a run that is no longer there, `lines` are new
            metrics, `rewound` metrics that were taken back.
        run: Name of the run.
        data: What the page needs, ready for JSON.
    """

    kind: Literal["run", "gone", "lines", "rewound"]
    run: str
    data: dict[str, Any]


@final
class Listing:
    """The runs of a folder by name; a name is never looked up on the disk, only here.

    Args:
        folder: Where runs are kept; they may lie one folder deeper. It may still be missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        self.pending = 0
        self._seen: dict[str, Seen] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()  # held while files are read; looking things up never waits

    def rows(self) -> list[dict[str, Any]]:
        """Give what the list shows, as of the last `refresh`."""
        return list(self._rows.values())

    def row(self, name: str) -> dict[str, Any] | None:
        """Give the row of one run, or None if there is no such run.

        Args:
            name: Name of the run.
        """
        return self._rows.get(name)

    def detail(self, name: str) -> dict[str, Any] | None:
        """Give what the page of one run shows, or None if there is no such run.

        Args:
            name: Name of the run.
        """
        with self._lock:
            seen, row = self._seen.get(name), self._rows.get(name)
            return None if seen is None or row is None else {"row": row, **seen.detail()}

    def path(self, name: str) -> Path | None:
        """Give the folder of a run, or None if there is no such run.

        Args:
            name: Name of the run.
        """
        seen = self._seen.get(name)
        return None if seen is None else seen.folder

    def refresh(self, *, most_seconds: float = 1.0) -> list[Change]:
        """Look what changed, and read it.

        Args:
            most_seconds: When to stop reading, with the newest runs read first; `pending` then says
                how many are left for the next call. At least one is read.
        """
        with self._lock:
            return list(self._refresh(most_seconds))

    def _refresh(self, most_seconds: float) -> Iterator[Change]:
        there = dict(_scan(str(self.folder)))
        for name in self._seen.keys() - there.keys():
            del self._seen[name]
            if self._rows.pop(name, None) is not None:
                yield Change(kind="gone", run=name, data={})
        changed = [
            name
            for name, (_, signature) in there.items()
            if name not in self._seen or self._seen[name].signature != signature
        ]
        changed.sort(key=lambda name: _newest(there[name][1]), reverse=True)
        until = time.monotonic() + most_seconds
        read: dict[str, None] = {}
        for name in changed:
            yield from self._read(name, *there[name])
            read[name] = None
            if time.monotonic() >= until:
                break
        self.pending = len(changed) - len(read)
        running = (name for name, row in self._rows.items() if row["status"] == "running")
        yield from self._changed_rows(dict.fromkeys([*read, *running]))

    def _read(self, name: str, folder: str, signature: tuple[Any, ...]) -> Iterator[Change]:
        if name not in self._seen:
            self._seen[name] = Seen(name=name, folder=Path(folder))
        seen = self._seen[name]
        seen.signature = signature
        rewound, start, lines = seen.read()
        if rewound:
            yield Change(kind="rewound", run=name, data={})
        elif lines:
            data = {"start": start, "end": seen.end, **points(lines)}
            yield Change(kind="lines", run=name, data=data)

    def _changed_rows(self, names: Iterable[str]) -> Iterator[Change]:
        now = time.time()
        for name in names:
            row = self._seen[name].row(now)
            if row != self._rows.get(name):
                self._rows[name] = row
                yield Change(kind="run", run=name, data=row)


def _newest(signature: tuple[Any, ...]) -> int:
    return max((part[0] for part in signature if part), default=0)


def _scan(root: str) -> Iterator[tuple[str, tuple[str, tuple[Any, ...]]]]:
    """Give name, folder and signature of each run; what leads out of the folder is left out."""
    for folder in _folders(root, root):
        signature = _signature(folder)
        if signature[0]:
            yield _name(root, folder), (folder, signature)
            continue
        for inner in _folders(folder, root):
            signature = _signature(inner)
            if signature[0]:
                yield _name(root, inner), (inner, signature)


def _folders(parent: str, root: str) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir() and (not entry.is_symlink() or is_inside(entry.path, root)):
                    yield entry.path


def is_inside(path: str | Path, root: str | Path) -> bool:
    """Say whether a path, with all its links followed, lies below a folder.

    Args:
        path: The path.
        root: The folder, without links in it.
    """
    return Path(root) in Path(os.path.realpath(path)).parents


def _name(root: str, folder: str) -> str:
    """Name a run as it can be written in an address, also where its name is not Unicode."""
    name = folder[len(root) :].lstrip(os.sep)
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _signature(folder: str) -> tuple[Any, ...]:
    """Give times and sizes of the watched files, or of none if it is no run."""
    first = _stamp(f"{folder}{os.sep}{RUN_FILE}")
    if first is None:
        return (None,)
    return (first, *(_stamp(f"{folder}{os.sep}{name}") for name in _WATCHED[1:]))


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        facts = os.lstat(file)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size
