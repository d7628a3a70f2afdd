"""The catalogue of public names: read from the families' ``__init__.py`` lines, never imported.

A name is published by one line ``from ._file import Name as Name`` in its family's package; there
is no other register. Cards come from the source text (`core.cards`).
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from .cards import Card, read_card
from .errors import UnknownName, unknown_name
from .references import RE_EXPORTS

PACKAGE = Path(__file__).parent.parent
INTERNAL = frozenset({"core", "cli", "ui", "verbs"})
"""Packages that publish no methods."""

EntryKind = Literal["class", "function", "value", "import"]


@final
@dataclass(frozen=True, kw_only=True)
class Entry:
    """One public name of a family.

    Args:
        family: Package it is published in.
        name: The name itself.
        kind: What it is; `import` is re-exported from another library as it is.
        file: File that defines it, or the family's ``__init__.py`` for a re-export.
        line: Line of the definition, counted from 1.
        signature: How it is called, as in the source; empty unless it can be called.
        parameters: Names of the arguments, without `self`.
        card: What its docstring says.
    """

    family: str
    name: str
    kind: EntryKind
    file: Path
    line: int
    signature: str = ""
    parameters: tuple[str, ...] = ()
    card: Card = field(default_factory=Card)

    @property
    def path(self) -> str:
        """Family and name, such as ``optim.AdamW``."""
        return f"{self.family}.{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Give the entry as plain data, ready for JSON."""
        return {
            "name": self.path,
            "kind": self.kind,
            "file": str(self.file),
            "line": self.line,
            "signature": self.signature,
            **self.card.to_dict(),
        }


def families(package: Path = PACKAGE) -> tuple[str, ...]:
    """Give the names of the families, sorted.

    Args:
        package: Folder of the package.
    """
    found = (path.parent.name for path in package.glob("*/__init__.py"))
    return tuple(sorted(name for name in found if name not in INTERNAL))


def entries(family: str | None = None, package: Path = PACKAGE) -> tuple[Entry, ...]:
    """Give the public names of one family or of all, sorted by family and name.

    Args:
        family: Name of the family; None for all of them.
        package: Folder of the package.

    Raises:
        UnknownName: There is no family of that name.
    """
    known = families(package)
    if family is not None and family not in known:
        raise unknown_name("catalog", "family", family, known)
    chosen = known if family is None else (family,)
    return tuple(entry for name in chosen for entry in _family(name, package))


def methods(family: str | None = None, package: Path = PACKAGE) -> tuple[Entry, ...]:
    """Give the entries that are methods: those whose card names a source.

    Args:
        family: Name of the family; None for all of them.
        package: Folder of the package.

    Raises:
        UnknownName: There is no family of that name.
    """
    return tuple(entry for entry in entries(family, package) if entry.card.source)


def find(
    name: str, *, family: str | None = None, owner: str = "catalog", package: Path = PACKAGE
) -> Entry:
    """Find an entry by ``optim.AdamW``, ``fitwell.optim.AdamW`` or ``adamw``.

    Case, dashes and underscores do not matter. A bare name that several families have goes to the
    one that writes it exactly so, else it is refused.

    Args:
        name: The name as the user wrote it.
        family: Family to look in; None for all of them.
        owner: Who looks, for messages.
        package: Folder of the package.

    Raises:
        UnknownName: No entry has that name, or several have.
    """
    known = entries(family, package)
    wanted = name.removeprefix("fitwell.")
    exact = [entry for entry in known if wanted in (entry.path, entry.name)]
    folded = [e for e in known if _fold(wanted) in (_fold(e.path), _fold(e.name))]
    for hits in (exact, folded):
        if len(hits) == 1:
            return hits[0]
        if hits:
            names = ", ".join(hit.path for hit in hits)
            raise UnknownName(f"{owner}: {name!r} is in several families; use one of: {names}.")
    raise unknown_name(owner, "method", name, _spellings(known, wanted))


def _spellings(known: Iterable[Entry], wanted: str) -> list[str]:
    return [entry.path if "." in wanted else entry.name for entry in known]


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


@functools.cache
def _family(family: str, package: Path) -> tuple[Entry, ...]:
    found = []
    init = package / family / "__init__.py"
    for node in _parse(init).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if alias.asname == alias.name and not alias.name.startswith("_"):
                found.append(_entry(family, alias.name, node, init))
    return tuple(sorted(found, key=lambda entry: entry.name))


def _entry(family: str, name: str, line: ast.ImportFrom, init: Path) -> Entry:
    file = _target(line, init)
    seen = set[Path]()
    while file is not None and file not in seen:
        seen.add(file)
        for node in _parse(file).body:
            if name in _defined(node):
                return _described(family, name, node, file)
        onward = (n for n in _parse(file).body if isinstance(n, ast.ImportFrom))
        file = next((_target(n, file) for n in onward if name in _imported(n)), None)
    card = Card(
        summary=f"The `{name}` of `{line.module}`, passed on as it is.",
        source=RE_EXPORTS.get(f"{family}.{name}", ""),
    )
    return Entry(family=family, name=name, kind="import", file=init, line=line.lineno, card=card)


def _described(family: str, name: str, node: ast.stmt, file: Path) -> Entry:
    kind: EntryKind = "value"
    signature, parameters, card = "", tuple[str, ...](), Card()
    if isinstance(node, ast.FunctionDef):
        kind = "function"
        card = read_card(ast.get_docstring(node))
        signature, parameters = _signature(name, node.args, node.returns, skip=0)
    elif isinstance(node, ast.ClassDef):
        kind = "class"
        card = read_card(ast.get_docstring(node))
        signature, parameters = _constructor(name, node, file)
    return Entry(
        family=family,
        name=name,
        kind=kind,
        file=file,
        line=node.lineno,
        signature=signature,
        parameters=parameters,
        card=card,
    )


def _constructor(name: str, node: ast.ClassDef, file: Path) -> tuple[str, tuple[str, ...]]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _signature(name, item.args, None, skip=1)
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        bases = {ast.unparse(base) for base in node.bases}
        for other in _parse(file).body:
            if isinstance(other, ast.ClassDef) and other.name in bases:
                return _constructor(name, other, file)
        return f"{name}()", ()
    fields = [
        item
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
        and "init=False" not in ast.unparse(item)
    ]
    names = tuple(ast.unparse(item.target) for item in fields)
    keyword_only = any("kw_only=True" in ast.unparse(d) for d in node.decorator_list)
    parts = [("*" if keyword_only else "")] if keyword_only and fields else []
    parts += [ast.unparse(item) for item in fields]
    return f"{name}({', '.join(parts)})", names


def _signature(
    name: str, args: ast.arguments, returns: ast.expr | None, *, skip: int
) -> tuple[str, tuple[str, ...]]:
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs][skip:]
    names = [arg.arg for arg in every]
    names += [arg.arg for arg in (args.vararg, args.kwarg) if arg is not None]
    text = ast.unparse(args)
    if skip:
        text = text.partition(", ")[2]
    arrow = f" -> {ast.unparse(returns)}" if returns is not None else ""
    return f"{name}({text}){arrow}", tuple(names)


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def _imported(node: ast.ImportFrom) -> set[str]:
    return {alias.asname or alias.name for alias in node.names}


def _target(node: ast.ImportFrom, file: Path) -> Path | None:
    """Give the file that a relative import reads, or None when it is not ours."""
    if node.level == 0:
        return None
    folder = file.parent
    for _ in range(node.level - 1):
        folder = folder.parent
    for part in (node.module or "").split("."):
        folder = folder / part if part else folder
    for candidate in (folder.with_suffix(".py"), folder / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
