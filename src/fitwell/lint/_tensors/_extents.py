"""Sizes that calls are given, such as those of `zeros`, `view` and `reshape`."""

from __future__ import annotations

import ast

from .._model._tree import constant, key, method, owner


def sizes(node: ast.AST | None) -> tuple[int | None, int | None]:
    """Give the number of dimensions and the last size that ``(n, 1)`` or ``n`` stands for.

    Args:
        node: The size.
    """
    if isinstance(node, (ast.Tuple, ast.List)):
        if any(isinstance(one, ast.Starred) for one in node.elts) or not node.elts:
            return None, None
        return len(node.elts), whole(node.elts[-1])
    if isinstance(constant(node), int):
        return 1, whole(node)
    return (1, None) if node is not None and is_size(node) else (None, None)


def given_sizes(call: ast.Call) -> tuple[int | None, int | None]:
    """Give the same for what ``view`` or ``reshape`` is given.

    Args:
        call: The call.
    """
    one = call.args[0] if len(call.args) == 1 else None
    return sizes(one if one is not None else ast.Tuple(call.args, ast.Load()))


def shaped_like(call: ast.Call) -> ast.expr | None:
    """Give the tensor whose whole shape ``view`` or ``reshape`` is given.

    Args:
        call: The call.
    """
    one = call.args[0] if len(call.args) == 1 else None
    if isinstance(one, ast.Attribute) and one.attr == "shape":
        return one.value
    if isinstance(one, ast.Call) and method(one) == "size" and not one.args:
        return owner(one)
    return None


def is_size(node: ast.AST) -> bool:
    """Say whether an expression is a length or one of the sizes of a shape.

    Args:
        node: The expression.
    """
    if isinstance(node, ast.Call):
        return key(node.func) == "len" or (method(node) == "size" and bool(node.args))
    return isinstance(node, ast.Subscript) and key(node.value).endswith("shape")


def whole(node: ast.AST | None) -> int | None:
    """Give the whole number that an expression is written as.

    Args:
        node: The expression.
    """
    value = constant(node)
    return value if isinstance(value, int) else None
