"""Which names hold tensors of a batch, and which calls ask a model."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from .._data._batches import loop_of
from .._data._origins import is_model_call
from .._model._loops import LOOPS
from .._model._tree import constant, key
from ._array_sources import path_to

if TYPE_CHECKING:
    from .._model._bindings import Binding
    from .._model._file import File
    from .._model._loops import Loop

_RECORDS: Final = ("torch_geometric", "dgl", "transformers", "torchtext", "monai", "ignite")
"""Libraries whose loaders give objects that are no tensors, though they have ``to``."""
_MOVES: Final = frozenset(
    {"to", "cuda", "float", "long", "double", "cpu", "view", "reshape", "flatten", "unsqueeze"}
)
_TENSOR_PARTS: Final = frozenset(
    {"shape", "size", "dtype", "device", "ndim", "dim", "numel", "data", "requires_grad"}
)
_OBJECT: Final = re.compile(r"graph|data|batch|encod|token|input_ids|meta|info|path|name|^g$|mask$")
_DEPTH: Final = 6


def loop_around(file: File, node: ast.AST) -> Loop | None:
    """Give the innermost loop over batches that a node stands in.

    Args:
        file: The file.
        node: An expression or a statement.
    """
    for above in file.tree.above(node):
        if isinstance(above, LOOPS):
            found = loop_of(file, above)
            if found is not None:
                return found
    return None


def batch_of(file: File, node: ast.AST | None, depth: int = 0) -> Loop | None:
    """Give the loop that a name takes a part of its batch from: ``x`` of ``for x, y in loader``.

    What was moved or cast since is followed.

    Args:
        file: The file.
        node: The name.
        depth: How far it was followed.
    """
    if depth > _DEPTH or node is None:
        return None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return batch_of(file, node.func.value, depth + 1) if node.func.attr in _MOVES else None
    if not isinstance(node, ast.Name):
        return None
    reaching = file.values.bindings.reaching(node)
    if len(reaching.bindings) != 1 or reaching.rest != "nothing":
        return None
    return _bound(file, reaching.bindings[0], node.id, depth)


def _bound(file: File, binding: Binding, name: str, depth: int) -> Loop | None:
    statement = binding.statement
    if isinstance(statement, (ast.For, ast.AsyncFor)):
        path = path_to(statement.target, name)
        counted = isinstance(statement.iter, ast.Call) and "enumerate(" in ast.unparse(
            statement.iter
        )
        if counted:
            path = path[1:] if path and path[0] == 1 else None
        return loop_of(file, statement) if path else None
    if binding.value is None or binding.how == "each":
        return None
    if binding.how == "item":  # x, y = batch
        if not isinstance(binding.value, ast.Name):
            return None
        inner = file.values.bindings.reaching(binding.value).bindings
        source = inner[0].statement if len(inner) == 1 else None
        return loop_of(file, source) if source is not None else None
    return batch_of(file, binding.value, depth + 1)


def is_batch_tensor(file: File, node: ast.AST | None) -> bool:
    """Say whether a name holds a part of a batch that is used as only a tensor is.

    Args:
        file: The file.
        node: The name.
    """
    if not isinstance(node, ast.Name) or any(file.names.knows(one) for one in _RECORDS):
        return False
    loop = batch_of(file, node)
    if loop is None or _OBJECT.search(node.id.lower()):
        return False
    for one in ast.walk(loop.node):
        if isinstance(one, ast.Attribute) and key(one.value) == node.id:
            parent = file.tree.parent(one)
            called = isinstance(parent, ast.Call) and parent.func is one
            if not called and one.attr not in _TENSOR_PARTS:
                return False
        if isinstance(one, ast.Subscript) and key(one.value) == node.id:
            if isinstance(constant(one.slice), str):
                return False
        if isinstance(one, ast.keyword) and one.arg is None and key(one.value) == node.id:
            return False
        if isinstance(one, (ast.For, ast.AsyncFor, ast.comprehension)) and key(one.iter) == node.id:
            return False
    return True


def is_tensor(file: File, node: ast.AST | None) -> bool:
    """Say whether an expression is certainly a tensor: made as one, or a part of a batch.

    Args:
        file: The file.
        node: The expression.
    """
    found = file.arrays.of(node)
    if found is not None:
        return found.library == "torch"
    if is_batch_tensor(file, node):
        return True
    return (
        isinstance(node, ast.Call) and is_model_call(file, node) and bool(loop_around(file, node))
    )
