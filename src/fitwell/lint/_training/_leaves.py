"""Tensors that a program makes in order to train them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, Literal

from .._model._tree import argument, constant, has_stars, method, owner
from ._gradmode import factory

if TYPE_CHECKING:
    from .._model._file import File

Leaf = Literal["leaf", "result", "plain", ""]

_MOVES: Final = frozenset({"to", "cuda", "double", "half", "float", "t", "reshape", "view", "T"})


def leaf(file: File, node: ast.AST | None) -> Leaf:
    """Give what an expression makes: a `leaf` that requires gradients, or a `result` of one.

    `plain` requires none; empty is what is not known.

    Args:
        file: The file.
        node: The expression.
    """
    if isinstance(node, ast.Call):
        name = file.dotted(node.func)
        if name == "torch.nn.Parameter":
            return "leaf" if constant(argument(node, "requires_grad", 1)) is not False else "plain"
        if factory(file, node):
            given = argument(node, "requires_grad")
            if has_stars(node) or argument(node, "out") is not None:
                return ""
            if given is not None and not isinstance(constant(given), bool):
                return ""
            return "leaf" if constant(given) else "plain"
        if method(node) == "requires_grad_":
            inner = leaf(file, owner(node))
            return "leaf" if inner in ("plain", "leaf") and not _is_false(node) else ""
        if method(node) in _MOVES:
            inner = leaf(file, owner(node))
            return "result" if inner == "leaf" else inner
        if method(node).endswith("_") and method(node) not in ("detach_", "retain_grad_"):
            return leaf(file, owner(node)) if leaf(file, owner(node)) == "plain" else ""
    if isinstance(node, ast.BinOp):
        sides = {leaf(file, side) or "?" for side in (node.left, node.right) if not _number(side)}
        if sides & {"leaf", "result"}:
            return "result"
        return "plain" if sides == {"plain"} else ""
    return ""


def _number(node: ast.expr) -> bool:
    return isinstance(constant(node), (int, float))


def _is_false(call: ast.Call) -> bool:
    return constant(argument(call, "requires_grad", 0)) is False


def held(file: File, use: ast.expr) -> Leaf:
    """Give what a name certainly holds at a place; what is changed in place stays what it is.

    Args:
        file: The file.
        use: The name, or an attribute of ``self``.
    """
    reaching = file.values.bindings.reaching(use)
    if reaching.rest != "nothing":
        return ""
    found = {
        leaf(file, one.value) if one.how == "whole" else ""
        for one in reaching.bindings
        if not isinstance(one.statement, ast.AugAssign)
    }
    return found.pop() if len(found) == 1 else ""


def has_attribute(file: File, name: str, *attributes: str) -> bool:
    """Say whether one of some attributes of a name is used anywhere in a file.

    Args:
        file: The file.
        name: Such as ``w`` or ``self.w``.
        attributes: Such as ``requires_grad``.
    """
    for use in file.uses(name):
        parent = file.tree.parent(use)
        if isinstance(parent, ast.Attribute) and parent.attr in attributes:
            return True
    return False
