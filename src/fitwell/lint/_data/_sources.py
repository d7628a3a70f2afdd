"""Where a value comes from: the expressions that make it, across names, functions and files."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from .._model._project import Function
from .._model._tree import constant, key, method
from .._model._values import arguments_of, returns

if TYPE_CHECKING:
    from .._model._file import File

_DEPTH: Final = 10


@final
@dataclass(frozen=True)
class Source:
    """An expression that makes a value.

    Args:
        file: Where it stands.
        node: The expression: no name, unless it is one that is not followed.
    """

    file: File
    node: ast.expr


@final
@dataclass
class Sources:
    """The expressions that a value may come from.

    Args:
        found: Each one once, in the order of the text.
        complete: Whether there are surely no others.
        through: Calls of functions of the project that were followed on the way.
    """

    found: list[Source] = field(default_factory=list)
    complete: bool = True
    through: list[Source] = field(default_factory=list)
    _seen: set[tuple[ast.AST, int | str | None]] = field(default_factory=set)

    @property
    def only(self) -> Source | None:
        """The expression, if there is just one."""
        return self.found[0] if self.complete and len(self.found) == 1 else None

    def calls(self) -> Iterator[ast.Call]:
        """Give the calls among them, and those that lead to them."""
        for one in [*self.found, *self.through]:
            if isinstance(one.node, ast.Call):
                yield one.node

    def add(self, file: File, node: ast.expr | None, item: int | str | None, depth: int) -> None:
        """Follow an expression.

        Args:
            file: Where it stands.
            node: The expression.
            item: Which item of it is asked for.
            depth: How many were followed before.
        """
        if node is None or depth > _DEPTH:
            self.complete = False
            return
        if (node, item) in self._seen:
            return
        self._seen.add((node, item))
        if isinstance(node, ast.IfExp):
            self.add(file, node.body, item, depth + 1)
            self.add(file, node.orelse, item, depth + 1)
        elif isinstance(node, (ast.Name, ast.Attribute)) and key(node):
            self._name(file, node, item, depth)
        elif isinstance(node, ast.Subscript) and item is None:
            self._item_of(file, node, depth)
        elif isinstance(node, ast.Call):
            self._call(file, node, item, depth)
        elif item is not None:
            self._part(file, node, item, depth)
        elif isinstance(node, (ast.NamedExpr, ast.Await)):
            self.add(file, node.value, None, depth + 1)
        else:
            self.found.append(Source(file, node))

    def _name(self, file: File, node: ast.expr, item: int | str | None, depth: int) -> None:
        reaching = file.values.bindings.reaching(node)
        for binding in reaching.bindings:
            both = item is not None and binding.index is not None
            if binding.value is None or binding.how == "each" or both:
                self.complete = False
                continue
            self.add(file, binding.value, binding.index if item is None else item, depth + 1)
        if reaching.rest == "parameter":
            given = list(arguments_of(file, reaching.scope, key(node)))
            self.complete = self.complete and bool(given)
            for there, value in given:
                self.add(there, value, item, depth + 1)
        elif reaching.rest == "outside":
            definition = file.find(file.dotted(node))
            if definition is not None and isinstance(definition.node, ast.expr):
                self.add(definition.file, definition.node, item, depth + 1)
            else:
                self.complete = False

    def _item_of(self, file: File, node: ast.Subscript, depth: int) -> None:
        index = constant(node.slice)
        if isinstance(index, (int, str)):
            self.add(file, node.value, index, depth + 1)
        else:
            self.found.append(Source(file, node))

    def _part(self, file: File, node: ast.expr, item: int | str, depth: int) -> None:
        """Take an item out of a tuple, a list or a dictionary that is written out."""
        inner: ast.expr | None = None
        if isinstance(node, (ast.Tuple, ast.List)) and isinstance(item, int):
            plain = not any(isinstance(one, ast.Starred) for one in node.elts)
            inner = node.elts[item] if plain and -len(node.elts) <= item < len(node.elts) else None
        elif isinstance(node, ast.Dict):
            values = zip(node.keys, node.values, strict=True)
            inner = next((value for name, value in values if constant(name) == item), None)
        self.add(file, inner, None, depth + 1)

    def _call(self, file: File, call: ast.Call, item: int | str | None, depth: int) -> None:
        if method(call) == "prepare" and call.args:  # accelerate
            place = 0 if len(call.args) == 1 and item is None else item
            if isinstance(place, int) and place < len(call.args):
                self.add(file, call.args[place], None, depth + 1)
                return
        definition = file.called(call)
        if definition is not None and isinstance(definition.node, Function):
            self.through.append(Source(file, call))
            values = list(returns(definition))
            self.complete = self.complete and bool(values)
            for value in values:
                self.add(definition.file, value, item, depth + 1)
        elif item is None:
            self.found.append(Source(file, call))
        elif file.dotted(call.func) == "dict" and isinstance(item, str):
            named = {one.arg: one.value for one in call.keywords if one.arg}
            self.add(file, named.get(item), None, depth + 1)
        else:
            self.complete = False


def sources(file: File, node: ast.expr | None) -> Sources:
    """Give the expressions that an expression may come from.

    Args:
        file: Where it stands.
        node: The expression.
    """
    found = Sources()
    found.add(file, node, None, 0)
    return found


def changed_later(file: File, names: Iterable[str]) -> bool:
    """Say whether a list or dictionary of some name is added to somewhere in a file.

    Args:
        file: The file.
        names: Texts of names.
    """
    wanted = set(names)
    changing = ("append", "insert", "extend", "update", "setdefault", "pop", "remove")
    for call in file.method_calls(*changing):
        if isinstance(call.func, ast.Attribute) and key(call.func.value) in wanted:
            return True
    for node in file.tree.each(ast.Assign, ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Subscript) and key(target.value) in wanted:
                return True
    return False
