"""Which assignments a name may hold at a place: simple flow inside of one scope."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal, final

from ._tree import FUNCTIONS, Tree, key

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
Block = tuple[ast.AST, str]


@final
@dataclass(frozen=True, eq=False)
class Binding:
    """A place where a name is given a value.

    Args:
        statement: The place.
        value: The expression; None where it is not one, as for a name of ``except``.
        index: Which item of the value it is, where several names are assigned at once.
        how: `whole` value, an `item` of it, or what a loop takes from it, one by one: `each`.
        block: Where it runs: what is around it, and which part of that.
    """

    statement: ast.AST
    value: ast.expr | None
    index: int | None
    how: Literal["whole", "item", "each"]
    block: Block


@final
@dataclass(frozen=True)
class Reaching:
    """What a name may hold at a place.

    Args:
        bindings: Assignments that may be the last ones before the place.
        rest: What else: a `parameter` of the function around, something from `outside` of the file
            (imported, or built in), or `nothing`.
        scope: Where the name belongs to.
    """

    bindings: tuple[Binding, ...]
    rest: Literal["parameter", "outside", "nothing"]
    scope: ast.AST


@final
class Bindings:
    """The assignments of a file.

    Args:
        tree: The file.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._of: dict[tuple[ast.AST, str], list[Binding]] = {}
        self._blocks: dict[ast.AST, Block] = {}
        self._reaching: dict[ast.AST, Reaching] = {}
        for node in tree.each(ast.Assign):
            for target in node.targets:
                self._target(target, node.value, node, "whole", self.block(node))
        for one in (*tree.each(ast.AnnAssign, ast.AugAssign), *tree.each(ast.NamedExpr)):
            if one.value is not None:
                block = self.block(tree.statement(one))
                self._target(one.target, one.value, one, "whole", block)
        for loop in tree.each(ast.For, ast.AsyncFor):
            self._target(loop.target, loop.iter, loop, "each", (loop, "body"))
        for part in tree.each(ast.comprehension):
            self._target(part.target, part.iter, part, "each", (part, "ifs"))
        for context in tree.each(ast.With, ast.AsyncWith):
            for item in context.items:
                if item.optional_vars is not None:
                    block = self.block(context)
                    self._target(item.optional_vars, item.context_expr, context, "whole", block)
        for found in self._of.values():
            found.sort(key=lambda binding: tree.place(binding.statement))

    def _target(
        self,
        target: ast.expr,
        value: ast.expr | None,
        node: ast.AST,
        how: Literal["whole", "item", "each"],
        block: Block,
        index: int | None = None,
    ) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            for i, one in enumerate(target.elts):
                if how == "whole" and isinstance(value, (ast.Tuple, ast.List)):
                    same = len(value.elts) == len(target.elts)
                    self._target(one, value.elts[i] if same else None, node, "whole", block)
                elif isinstance(one, ast.Starred):
                    self._target(one.value, None, node, "whole", block)
                elif index is None:
                    self._target(one, value, node, "each" if how == "each" else "item", block, i)
                else:
                    self._target(one, None, node, "whole", block)
            return
        name = key(target)
        if name:
            if isinstance(node, ast.AugAssign):
                value = None
            binding = Binding(node, value, index, how, block)
            self._of.setdefault((self._home(node, name), name), []).append(binding)

    def _home(self, node: ast.AST, name: str) -> ast.AST:
        """Give the scope that a name belongs to: of ``self.x`` the class."""
        if name.startswith(("self.", "cls.")):
            return self._tree.inside(node, ast.ClassDef) or self._tree.scope(node)
        return self._tree.scope(node)

    def block(self, node: ast.AST) -> Block:
        """Give the block of statements that a statement stands in.

        Args:
            node: The statement.
        """
        if node not in self._blocks:
            parent = self._tree.parent(node)
            if parent is None:
                return (node, "body")
            for field, value in ast.iter_fields(parent):
                if isinstance(value, list):
                    for one in value:
                        if isinstance(one, ast.AST):
                            self._blocks[one] = (parent, field)
            self._blocks.setdefault(node, (parent, ""))
        return self._blocks[node]

    def _blocks_around(self, node: ast.AST) -> set[Block]:
        found = {self.block(node)}
        for above in self._tree.above(node):
            found.add(self.block(above))
        return found

    def everywhere(self, scope: ast.AST, name: str) -> tuple[Binding, ...]:
        """Give all assignments to a name of a scope.

        Args:
            scope: A function, a class for ``self.name``, or the file.
            name: The name.
        """
        return tuple(self._of.get((scope, name), ()))

    def reaching(self, use: ast.AST) -> Reaching:
        """Give what a name may hold where it is used.

        Args:
            use: A name or an attribute such as ``self.model``.
        """
        if use not in self._reaching:
            self._reaching[use] = self._look(use)
        return self._reaching[use]

    def _look(self, use: ast.AST) -> Reaching:
        name = key(use)
        scope: ast.AST = self._home(use, name)
        if isinstance(scope, ast.ClassDef) and "." in name:
            found = self.everywhere(scope, name)
            return Reaching(found, "nothing" if found else "outside", scope)
        if (scope, name) in self._of:
            bindings, certain = self._before(use, self._of[scope, name])
            if certain:
                return Reaching(tuple(bindings), "nothing", scope)
            if name in parameters(scope):
                return Reaching(tuple(bindings), "parameter", scope)
            if bindings:
                return Reaching(tuple(bindings), "nothing", scope)
        while True:
            if name in parameters(scope):
                return Reaching((), "parameter", scope)
            if scope is self._tree.root:
                return Reaching((), "outside", scope)
            scope = self._tree.scope(scope)
            if not isinstance(scope, ast.ClassDef) and (scope, name) in self._of:
                return Reaching(self.everywhere(scope, name), "nothing", scope)

    def _before(self, use: ast.AST, bindings: list[Binding]) -> tuple[list[Binding], bool]:
        """Give the bindings that may reach a use, and whether one surely comes before it."""
        place = self._tree.place(use)
        around = set(self._tree.above(use)) | {use}
        blocks = self._blocks_around(use)
        found: list[Binding] = []
        last: Binding | None = None
        for binding in reversed(bindings):
            if self._tree.place(binding.statement) >= place or not self._done(binding, use, around):
                continue
            found.append(binding)
            if binding.block in blocks:
                last = binding
                break
        for loop in around:
            if isinstance(loop, _LOOPS) and not (last and self._within(last.statement, loop)):
                for binding in bindings:
                    later = (
                        self._tree.place(binding.statement) >= place or binding.statement in around
                    )
                    if later and self._within(binding.statement, loop) and binding not in found:
                        found.append(binding)
        return found, last is not None

    def _done(self, binding: Binding, use: ast.AST, around: set[ast.AST]) -> bool:
        """Say whether a binding that begins before a use has happened there."""
        node = binding.statement
        if node not in around:
            return not isinstance(node, ast.comprehension)
        if isinstance(node, (ast.For, ast.AsyncFor)):
            return not (node.iter in around or node.target in around)
        if isinstance(node, (ast.With, ast.AsyncWith)):
            return not any(item in around for item in node.items)
        return False

    def _within(self, node: ast.AST, loop: ast.AST) -> bool:
        return self._tree.holds(loop, node)


def parameters(function: ast.AST) -> set[str]:
    """Give the names of a function's parameters; none for anything else.

    Args:
        function: A definition or a lambda.
    """
    arguments: ast.arguments | None = getattr(function, "args", None)
    if not isinstance(function, FUNCTIONS) or arguments is None:
        return set()
    some = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    some += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return {one.arg for one in some}


@final
@dataclass(frozen=True)
class Given:
    """What a call gives a parameter.

    Args:
        value: The expression; None where it is not seen, as for ``**settings``.
        is_default: Whether it stands in the definition and not in the call.
    """

    value: ast.expr | None
    is_default: bool = False


def given(call: ast.Call, function: ast.AST, name: str, *, bound: bool) -> Given:
    """Give the argument that a call gives a parameter, or its default.

    Args:
        call: The call.
        function: What is called.
        name: Of the parameter.
        bound: Whether the first parameter, ``self``, is not among the arguments.
    """
    arguments: ast.arguments = function.args  # type: ignore[attr-defined]
    for keyword in call.keywords:
        if keyword.arg == name:
            return Given(keyword.value)
    hidden = any(keyword.arg is None for keyword in call.keywords)
    hidden = hidden or any(isinstance(argument, ast.Starred) for argument in call.args)
    if hidden:
        return Given(None)
    order = [one.arg for one in [*arguments.posonlyargs, *arguments.args]]
    if name in order:
        place = order.index(name) - bound
        if 0 <= place < len(call.args):
            return Given(call.args[place])
        from_end = len(order) - order.index(name)
        defaults = arguments.defaults
        return Given(defaults[-from_end] if from_end <= len(defaults) else None, is_default=True)
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if one.arg == name:
            return Given(default, is_default=True)
    return Given(None)
