"""The files of a project, and where in them a name is defined."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from ._file import File

Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEPTH = 8


@final
@dataclass(frozen=True)
class Definition:
    """A class, a function or a value that a name stands for.

    Args:
        file: Where it is defined.
        node: The definition; of a value, the expression.
    """

    file: File
    node: ast.AST


@final
@dataclass(frozen=True)
class CallSite:
    """A call of something that the project defines.

    Args:
        file: Where it is called.
        call: The call.
    """

    file: File
    call: ast.Call


@final
class Project:
    """Files that import from each other.

    Args:
        files: All of them.
        near: For each file itself, those that it imports and those that import it.
    """

    def __init__(
        self, files: Iterable[File] = (), near: Mapping[File, Iterable[File]] | None = None
    ) -> None:
        self._by_stem: dict[str, list[File]] = {}
        self.files: list[File] = []
        self._near = near or {}
        self._found: dict[tuple[str, str], Definition | None] = {}
        self._sites: dict[ast.AST, list[CallSite]] = {}
        self.answers: dict[object, object] = {}  # of functions that are asked once
        self.cycles = 0  # names that led back to themselves, so far
        for file in files:
            self.add(file)

    def add(self, file: File) -> None:
        """Take in a file.

        Args:
            file: Read, not yet asked anything.
        """
        self.files.append(file)
        path = PurePath(file.path)
        stem = path.parent.name if path.name == "__init__.py" else path.stem
        self._by_stem.setdefault(stem, []).append(file)
        file.project = self

    def near(self, file: File) -> list[File]:
        """Give a file, those that it imports and those that import it.

        Args:
            file: Of the project.
        """
        return list(self._near.get(file, (file,)))

    def find(self, file: File, name: str, depth: int = 0) -> Definition | None:
        """Give what a dotted name stands for in a file, if the project defines it.

        Args:
            file: Where the name is used.
            name: As `Names.dotted` gives it: ``Net`` or ``models.net.Net``.
            depth: How many files were asked before.
        """
        if not name or depth > _DEPTH:
            return None
        cached = (file.path, name)
        if cached not in self._found:
            self._found[cached] = None  # for names that lead back to themselves
            self._found[cached] = self._search(file, name, depth)
        return self._found[cached]

    def _search(self, file: File, name: str, depth: int) -> Definition | None:
        first, _, rest = name.partition(".")
        own = file.top.get(first)
        if own is not None:
            return _member(Definition(file, own), rest)
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            module = self._module(file, parts[:cut])
            if module is not None and module is not file:
                inside = ".".join(parts[cut:])
                if parts[cut] in module.top:
                    return _member(
                        Definition(module, module.top[parts[cut]]), inside.partition(".")[2]
                    )
                there = module.names.imported(parts[cut])
                tail = inside.partition(".")[2]
                return self.find(module, f"{there}.{tail}".strip("."), depth + 1) if there else None
        return None

    def _module(self, file: File, parts: list[str]) -> File | None:
        """Give the file that a dotted module is, the nearest one of those that fit."""
        fitting = [
            one
            for one in self._by_stem.get(parts[-1], ())
            if one.module_parts[-len(parts) :] == tuple(parts) and _in_reach(file, one, len(parts))
        ]
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        here = file.module_parts
        return max(fitting, key=lambda one: _shared(here, one.module_parts))

    def sites(self, definition: ast.AST) -> list[CallSite]:
        """Give the calls of a function or class of the project.

        Args:
            definition: The function or the class.
        """
        return self._sites.get(definition, [])

    def link(self) -> None:
        """Find who calls what, once all files are there."""
        methods = set()
        for file in self.files:
            for node in file.classes:
                methods |= {one.name for one in node.body if isinstance(one, Function)}
        later: list[CallSite] = []
        for file in self.files:
            for call in file.tree.each(ast.Call):
                found = file.called_by_name(call)
                if found is not None:
                    self._sites.setdefault(found.node, []).append(CallSite(file, call))
                elif isinstance(call.func, ast.Attribute) and call.func.attr in methods:
                    later.append(CallSite(file, call))
        for site in later:  # methods of what a name holds: that needs to know the calls by name
            found = site.file.called(site.call)
            if found is not None:
                self._sites.setdefault(found.node, []).append(site)
        for file in self.files:
            file.forget()


def programs(files: Sequence[File]) -> Iterator[Project]:
    """Sort files into programs: those that import from each other, whatever lies beside them.

    Args:
        files: All that were read.
    """
    index = Project(files)
    leader = {file: file for file in files}

    def of(file: File) -> File:
        while leader[file] is not file:
            leader[file] = leader[leader[file]]
            file = leader[file]
        return file

    near: dict[File, set[File]] = {file: {file} for file in files}
    for file in files:
        for name in file.names.modules:
            parts = name.split(".")
            for cut in range(len(parts), 0, -1):
                module = index._module(file, parts[:cut])
                if module is not None:
                    leader[of(module)] = of(file)
                    near[file].add(module)
                    near[module].add(file)
                    break
    groups: dict[File, list[File]] = {}
    for file in files:
        groups.setdefault(of(file), []).append(file)
    for group in groups.values():
        yield Project(group, near)


def _in_reach(file: File, module: File, parts: int) -> bool:
    """Say whether a file can import a module by a name of so many parts.

    A name of one part is that of a file beside it, in a folder above, or in a folder of sources.
    """
    root = module.module_parts[:-parts]
    beside = file.module_parts[: len(root)] == root
    return parts > 1 or beside or root[-1:] in (("src",), ("lib",))


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Give how many folders two paths have in common from the top."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _member(found: Definition, rest: str) -> Definition | None:
    """Give a method or a nested class of what was found."""
    for part in filter(None, rest.split(".")):
        if not isinstance(found.node, ast.ClassDef):
            return None
        inner = (
            one
            for one in found.node.body
            if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            and one.name == part
        )
        node = next(inner, None)
        if node is None:
            return None
        found = Definition(found.file, node)
    return found
