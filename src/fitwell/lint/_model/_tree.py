"""A file as a tree whose nodes know their parents, their scope and their order."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator
from typing import TypeVar, cast, final, overload

Node = TypeVar("Node", bound=ast.AST)
Other = TypeVar("Other", bound=ast.AST)
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
SCOPES = (ast.Module, *FUNCTIONS, ast.ClassDef)
_INNER = (*FUNCTIONS, ast.ClassDef)
_MARKS = frozenset(
    kind
    for family in (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
    for kind in family.__subclasses__()
)


@final
class Tree:
    """A parsed file.

    Args:
        root: The file.
    """

    def __init__(self, root: ast.Module) -> None:
        self.root = root
        self._order: list[ast.AST] = []
        self._kinds: dict[type[ast.AST], list[ast.AST]] = {}
        self._parent: dict[ast.AST, ast.AST] = {}
        self._place: dict[ast.AST, int] = {root: 0}
        self._scopes: list[Scope] = []
        self._ends: list[int] = []
        self._read()
        self._call_places = [self._place[call] for call in self._kinds.get(ast.Call, ())]

    def _read(self) -> None:
        """Put all nodes in their order; most of the time of a file goes here."""
        order, kinds, parents, scopes = self._order, self._kinds, self._parent, self._scopes
        above: list[int] = []  # place of the parent
        todo: list[tuple[ast.AST, int, Scope]] = [(self.root, 0, self.root)]
        while todo:
            node, parent, scope = todo.pop()
            place = len(order)
            order.append(node)
            above.append(parent)
            scopes.append(scope)
            kind = type(node)
            if kind in kinds:
                kinds[kind].append(node)
            else:
                kinds[kind] = [node]
            if isinstance(node, SCOPES):
                scope = node
            first = len(todo)
            for value in vars(node).values():
                if isinstance(value, ast.AST):
                    if type(value) not in _MARKS:
                        parents[value] = node
                        todo.append((value, place, scope))
                elif isinstance(value, list):
                    for one in value:
                        if isinstance(one, ast.AST) and type(one) not in _MARKS:
                            parents[one] = node
                            todo.append((one, place, scope))
            if len(todo) - first > 1:
                todo[first:] = todo[first:][::-1]
        self._place = {node: place for place, node in enumerate(order)}
        ends = self._ends = list(range(1, len(order) + 1))
        for place in range(len(order) - 1, 0, -1):
            parent = above[place]
            if ends[parent] < ends[place]:
                ends[parent] = ends[place]

    @overload
    def each(self, kind: type[Node], /) -> Iterator[Node]: ...

    @overload
    def each(self, kind: type[Node], other: type[Other], /) -> Iterator[Node | Other]: ...

    @overload
    def each(self, *kinds: type[Node]) -> Iterator[Node]: ...

    def each(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        """Give the nodes of some kinds, kind by kind, each in the order of the text.

        Args:
            kinds: Such as `ast.Call`, named exactly: no base classes.
        """
        for kind in kinds:
            yield from self._kinds.get(kind, [])

    def place(self, node: ast.AST) -> int:
        """Give the place of a node in the order of the text: a node comes before what it holds.

        Args:
            node: Of this file.
        """
        return self._place[node]

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Give the node around a node.

        Args:
            node: Of this file.
        """
        return self._parent.get(node)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Give the nodes around a node, from the inside out.

        Args:
            node: Of this file.
        """
        parent = self._parent.get(node)
        while parent is not None:
            yield parent
            parent = self._parent.get(parent)

    @overload
    def inside(self, node: ast.AST, kind: type[Node], /) -> Node | None: ...

    @overload
    def inside(
        self, node: ast.AST, kind: type[Node], other: type[Other], /
    ) -> Node | Other | None: ...

    @overload
    def inside(self, node: ast.AST, *kinds: type[Node]) -> Node | None: ...

    def inside(self, node: ast.AST, *kinds: type[ast.AST]) -> ast.AST | None:
        """Give the nearest node around a node that is of one of some kinds.

        Args:
            node: Of this file.
            kinds: Such as `ast.For`.
        """
        return next((one for one in self.above(node) if isinstance(one, kinds)), None)

    def scope(self, node: ast.AST) -> Scope:
        """Give the function, class or file that a node stands in; of a function: around it.

        Args:
            node: Of this file.
        """
        return self._scopes[self._place[node]]

    def function(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """Give the function that a node stands in, if there is one.

        Args:
            node: Of this file.
        """
        return self.inside(node, ast.FunctionDef, ast.AsyncFunctionDef)

    def statement(self, node: ast.AST) -> ast.stmt:
        """Give the statement that a node is part of.

        Args:
            node: An expression or a statement.
        """
        while not isinstance(node, ast.stmt):
            node = self._parent[node]
        return node

    def own(self, node: ast.AST) -> Iterator[ast.AST]:
        """Give all nodes below a node in their order, but not those of functions and classes in it.

        Args:
            node: A scope, or any part of one.
        """
        place = self._place[node] + 1
        end = self._ends[place - 1]
        while place < end:
            one = self._order[place]
            yield one
            place = self._ends[place] if isinstance(one, _INNER) else place + 1

    def own_calls(self, node: ast.AST) -> Iterator[ast.Call]:
        """Give the calls below a node in their order, but not those of functions and classes in it.

        Args:
            node: A scope, or any part of one.
        """
        place = self._place[node]
        scope = node if isinstance(node, SCOPES) else self._scopes[place]
        found = cast("list[ast.Call]", self._kinds.get(ast.Call, []))
        first = bisect_left(self._call_places, place + 1)
        last = bisect_left(self._call_places, self._ends[place])
        for call, at in zip(found[first:last], self._call_places[first:last], strict=True):
            if self._scopes[at] is scope:
                yield call

    def holds(self, outer: ast.AST, node: ast.AST) -> bool:
        """Say whether a node stands inside of another, or is it.

        Args:
            outer: Of this file.
            node: Of this file.
        """
        place = self._place[outer]
        return place <= self._place[node] < self._ends[place]

    def conditional(self, node: ast.AST, within: ast.AST) -> bool:
        """Say whether a node runs only sometimes when what is around it runs.

        Args:
            node: Of this file.
            within: A node around it.
        """
        child = node
        for parent in self.above(node):
            if parent is within:
                return False
            if isinstance(parent, ast.If) and child is not parent.test:
                return True
            if isinstance(parent, (ast.ExceptHandler, ast.IfExp)):
                return True
            child = parent
        return False


def method(call: ast.AST) -> str:
    """Give the name of the method that is called; empty for a function.

    Args:
        call: A call, or anything else.
    """
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        return call.func.attr
    return ""


def owner(call: ast.Call) -> ast.expr | None:
    """Give what a method is called on; None for a function.

    Args:
        call: The call.
    """
    return call.func.value if isinstance(call.func, ast.Attribute) else None


def argument(call: ast.Call, name: str, place: int | None = None) -> ast.expr | None:
    """Give an argument of a call by name, or by its place.

    Args:
        call: The call.
        name: Of the parameter.
        place: Among the positional ones; None for keywords alone.
    """
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if place is not None and place < len(call.args):
        plain = not any(isinstance(arg, ast.Starred) for arg in call.args[: place + 1])
        return call.args[place] if plain else None
    return None


def has_stars(call: ast.Call) -> bool:
    """Say whether arguments are given that are not seen, as by ``**settings``.

    Args:
        call: The call.
    """
    return any(isinstance(arg, ast.Starred) for arg in call.args) or any(
        keyword.arg is None for keyword in call.keywords
    )


def constant(node: ast.AST | None) -> object:
    """Give the value of a literal; None for anything else.

    Args:
        node: An expression.
    """
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = constant(node.operand)
        return -value if isinstance(value, (int, float)) else None
    return node.value if isinstance(node, ast.Constant) else None


def key(node: ast.AST | None) -> str:
    """Give the text of a name or a chain of attributes, such as ``self.model``; empty otherwise.

    Args:
        node: An expression.
    """
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = key(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
