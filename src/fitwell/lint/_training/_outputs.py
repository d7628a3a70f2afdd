"""What a model gives for a whole batch, and where that is compared with labels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .._model._loops import Loop
from .._model._tree import key, method
from ._passes import batch_loops, model_of

if TYPE_CHECKING:
    from .._model._file import File

_KEPT = frozenset({"cpu", "detach", "float", "to", "data", "cuda"})
_RESHAPED = frozenset({"squeeze", "view", "flatten", "reshape", "ravel", "view_as"})


def output_of(
    file: File, node: ast.expr | None, *, reshaped: bool = False, depth: int = 0
) -> ast.Call | None:
    """Give the call of a model whose output, shape and all, an expression certainly is.

    Args:
        file: The file.
        node: The expression.
        reshaped: Whether it may have another shape.
        depth: How many names were followed.
    """
    if depth > 6 or node is None:
        return None
    if isinstance(node, ast.Call):
        if model_of(file, node) is not None:
            return node
        kept = method(node) in _KEPT or (reshaped and method(node) in _RESHAPED)
        if kept and isinstance(node.func, ast.Attribute):
            return output_of(file, node.func.value, reshaped=reshaped, depth=depth + 1)
        return None
    if isinstance(node, ast.Attribute) and node.attr in ("data", "logits"):
        return output_of(file, node.value, reshaped=reshaped, depth=depth + 1)
    if isinstance(node, ast.Name):
        reaching = file.values.bindings.reaching(node)
        if reaching.rest != "nothing" or len(reaching.bindings) != 1:
            return None
        binding = reaching.bindings[0]
        if binding.how == "whole":
            return output_of(file, binding.value, reshaped=reshaped, depth=depth + 1)
    return None


def loop_around(file: File, node: ast.AST) -> Loop | None:
    """Give the innermost loop over batches around a node.

    Args:
        file: The file.
        node: Of this file.
    """
    around = [one for one in batch_loops(file) if file.tree.holds(one.node, node)]
    return max(around, key=lambda one: file.tree.place(one.node), default=None)


def comparisons(file: File) -> Iterator[tuple[ast.expr, ast.expr, ast.AST]]:
    """Give the sides of all comparisons of tensors for being equal, and their places.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Compare):
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            yield node.left, node.comparators[0], node
    for call in file.method_calls("eq"):
        if isinstance(call.func, ast.Attribute) and key(call.func) != "torch.eq" and call.args:
            yield call.func.value, call.args[0], call
    for call in file.calls("torch.eq"):
        if len(call.args) == 2:
            yield call.args[0], call.args[1], call


def is_label(file: File, loop: Loop, node: ast.expr) -> bool:
    """Say whether an expression is the last part of a batch: the labels, perhaps moved or reshaped.

    Args:
        file: The file.
        loop: The loop.
        node: The expression.
    """
    for _ in range(6):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif isinstance(node, ast.Subscript):
            node = node.value
    name = key(node)
    if len(loop.batch) >= 2 and name == loop.batch[-1]:
        return True
    last = name.rpartition(".")[2].lower()
    return last in ("y", "yb", "y_true", "y_batch") or "label" in last or "target" in last


def source(file: File, node: ast.expr, depth: int = 0) -> ast.expr:
    """Give the expression that a name certainly holds, or the expression itself.

    Args:
        file: The file.
        node: The expression.
        depth: How many names were followed.
    """
    if not isinstance(node, ast.Name) or depth > 6:
        return node
    reaching = file.values.bindings.reaching(node)
    if reaching.rest != "nothing" or len(reaching.bindings) != 1:
        return node
    binding = reaching.bindings[0]
    if binding.value is None or binding.how == "each":
        return node
    if binding.how == "item" and not isinstance(binding.value, ast.Call):
        return node
    return source(file, binding.value, depth + 1) if binding.how == "whole" else binding.value
