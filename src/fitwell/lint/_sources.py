"""The programs under some paths: Python files and notebooks, found and read."""

from __future__ import annotations

import ast
import fnmatch
import io
import json
import os
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from ..core.errors import UsageError

_SKIPPED: Final = frozenset(
    {
        "__pycache__", "node_modules", "site-packages", "build", "dist", "venv", "env", "_build",
        "__pypackages__", "wandb", "mlruns", "lightning_logs",
    }
)  # fmt: skip
"""Folders that hold no programs of the user's; those that begin with a dot neither."""
_SUFFIXES: Final = (".py", ".pyw", ".ipynb")
_CELL_MAGIC: Final = re.compile(r"\s*%%(\w+)")
_PYTHON_CELLS: Final = frozenset({"time", "timeit", "capture", "prun", "memit", "mprun"})
_MAGIC: Final = re.compile(r"(\s*)([%!?].*|[\w.]+\?{1,2}\s*)$")
_ASSIGNED_MAGIC: Final = re.compile(r"(\s*[\w, .]+=\s*)[%!].*$")


@final
@dataclass(frozen=True)
class Source:
    """The text of a program.

    Args:
        path: As it was found.
        text: Python; of a notebook all its code cells, one after the other.
        starts: Of a notebook, for each code cell its number and the line where it begins.
        fault: Why it cannot be read; empty if it can.
    """

    path: str
    text: str
    starts: tuple[tuple[int, int], ...] = ()
    fault: str = ""

    def cell(self, line: int) -> tuple[int | None, int]:
        """Give the cell and the line in it where a line of the text stands; of a file no cell.

        Args:
            line: From 1.
        """
        found: tuple[int | None, int] = (None, line)
        for number, start in self.starts:
            if start <= line:
                found = (number, line - start + 1)
        return found

    def lines(self, cell: int | None = None) -> list[str]:
        """Give the lines of the file, or of a cell.

        Args:
            cell: Its number.
        """
        lines = self.text.split("\n")
        ends = [start - 1 for _, start in self.starts[1:]] + [len(lines)]
        for (number, start), end in zip(self.starts, ends, strict=False):
            if number == cell:
                return lines[start - 1 : end]
        return lines


def find(paths: Sequence[str | Path], exclude: Sequence[str] = ()) -> Iterator[Path]:
    """Give the Python files and notebooks that are, or lie under, some paths, each once.

    Args:
        paths: Files and folders. In folders, hidden ones, virtual environments and the like are
            passed over; a file that is named is always read.
        exclude: Patterns such as ``legacy/*`` of paths or names to pass over in folders.

    Raises:
        UsageError: A path is not there, or is a file of another kind.
    """
    seen: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(_under(path, exclude))
        elif not path.exists():
            raise UsageError(
                f"lint: `paths` must exist; got {str(path)!r}. Name a file or a folder."
            )
        elif path.suffix not in _SUFFIXES:
            raise UsageError(
                f"lint: `paths` must be Python files (.py), notebooks (.ipynb) or folders; got"
                f" {str(path)!r}."
            )
        else:
            files = [path]
        for file in files:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _under(folder: Path, exclude: Sequence[str]) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        here = Path(where)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED
            and not (here / name / "pyvenv.cfg").exists()
            and not _matches(here / name, folder, exclude)
        ]
        for name in names:
            if name.endswith(_SUFFIXES) and not _matches(here / name, folder, exclude):
                yield here / name


def _matches(path: Path, folder: Path, patterns: Sequence[str]) -> bool:
    texts = (path.name, path.as_posix(), path.relative_to(folder).as_posix())
    return any(fnmatch.fnmatch(text, pattern.rstrip("/")) for text in texts for pattern in patterns)


def read(path: Path) -> Source:
    """Read a program; what cannot be read has its fault named.

    Args:
        path: A Python file or a notebook.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        return Source(str(path), "", fault=f"cannot be read: {err.strerror or err}")
    if path.suffix == ".ipynb":
        return from_notebook(str(path), data)
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding_of(data), newline=None).read()
    except (SyntaxError, UnicodeDecodeError, LookupError) as err:
        return Source(str(path), "", fault=f"is not text: {err}")
    return Source(str(path), text)


def encoding_of(data: bytes) -> str:
    """Give the encoding that a Python file says it has; UTF-8 if it says nothing.

    Args:
        data: Its bytes.

    Raises:
        SyntaxError: There is no such encoding.
    """
    return tokenize.detect_encoding(io.BytesIO(data).readline)[0]


def from_notebook(path: str, data: bytes) -> Source:
    """Put the code cells of a notebook into one text; magic lines do nothing in it.

    A cell that is not Python is passed over, as the kernel of a notebook would go on after it.

    Args:
        path: Of the notebook.
        data: Its bytes.
    """
    try:
        notebook = json.loads(data)
        cells = list(_code_cells(notebook))
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        return Source(path, "", fault=f"is not a notebook: {err}")
    lines: list[str] = []
    starts: list[tuple[int, int]] = []
    for number, text in cells:
        plain = _without_magic(text)
        try:
            ast.parse(plain)
        except (SyntaxError, ValueError, RecursionError):
            continue
        starts.append((number, len(lines) + 1))
        lines += plain.split("\n")
    return Source(path, "\n".join(lines) + "\n", tuple(starts))


def _code_cells(notebook: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Give the code cells with their numbers among all cells, from 1."""
    cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] == "code":
            text = cell.get("source", cell.get("input", ""))
            yield number, text if isinstance(text, str) else "".join(text)


def _without_magic(text: str) -> str:
    lines = text.split("\n")
    first = _CELL_MAGIC.match(lines[0])
    if first is not None:
        if first[1] not in _PYTHON_CELLS:
            return ""
        lines[0] = "pass"
    for i, line in enumerate(lines):
        magic = _MAGIC.match(line)
        assigned = _ASSIGNED_MAGIC.match(line)
        if magic is not None and not _goes_on(lines, i):
            lines[i] = f"{magic[1]}pass"
        elif assigned is not None:
            lines[i] = f"{assigned[1]}None"
    return "\n".join(lines)


def _goes_on(lines: Sequence[str], place: int) -> bool:
    """Say whether a line that begins with ``%`` belongs to the expression of the line before."""
    before = lines[place - 1].rstrip() if place else ""
    return before.endswith(("(", ",", "\\", "[", "{"))
