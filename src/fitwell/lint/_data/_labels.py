"""Whether a target holds class indices, as far as the program tells."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from .._model._tree import key, method, owner
from .._tensors._dims import tensor

if TYPE_CHECKING:
    from .._model._file import File

_CHANGES: Final = frozenset(
    {
        "float", "double", "half", "long", "int", "to", "type", "cuda", "cpu", "view", "reshape",
        "squeeze", "unsqueeze", "flatten", "type_as", "clone", "detach", "bfloat16", "numpy",
        "bool",
    }
)  # fmt: skip
_DEPTH: Final = 8


def stripped(file: File, node: ast.AST | None, depth: int = 0) -> ast.AST | None:
    """Give a value as it was before its element type, device or shape were changed.

    Args:
        file: Where the expression stands.
        node: The expression.
        depth: How far it was followed.
    """
    if depth > _DEPTH:
        return node
    if isinstance(node, ast.Call) and method(node) in _CHANGES and owner(node) is not None:
        return stripped(file, owner(node), depth + 1)
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        value = bindings[0].value if len(bindings) == 1 and bindings[0].how == "whole" else None
        if isinstance(value, ast.Call) and method(value) in _CHANGES:
            return stripped(file, value, depth + 1)
    return node


def are_indices(file: File, node: ast.AST | None) -> bool:
    """Say whether a target certainly holds one class index per sample, whatever its element type.

    Args:
        file: Where the expression stands.
        node: The target.
    """
    inner = stripped(file, node)
    before = tensor(file, inner)
    if before.is_integer and before.ndim == 1 and not before.hot:
        return True
    return bool(key(inner)) and _compared(file, key(inner), inner)


def _compared(file: File, name: str, near: ast.AST | None) -> bool:
    """Say whether a value is compared with the classes that a model chose."""
    home = file.tree.scope(near) if near is not None else None
    for node in file.tree.each(ast.Compare):
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            if _match(file, name, home, (node.left, node.comparators[0])):
                return True
    for call in file.method_calls("eq"):
        sides = (call.func.value, call.args[0]) if _plain(call) else None  # type: ignore[attr-defined]
        if sides is not None and _match(file, name, home, sides):
            return True
    return False


def _plain(call: ast.Call) -> bool:
    return len(call.args) == 1 and isinstance(call.func, ast.Attribute)


def _match(file: File, name: str, home: ast.AST | None, sides: tuple[ast.expr, ast.expr]) -> bool:
    for side, other in (sides, sides[::-1]):
        inner = stripped(file, side)
        if key(inner) == name and inner is not None and file.tree.scope(inner) is home:
            if file.flow.is_last(other, "argmax"):
                return True
    return False
