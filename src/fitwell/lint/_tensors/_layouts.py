"""The order of the dimensions of a tensor, by the names that it was given them with."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from .._model._tree import constant, key, method, owner

if TYPE_CHECKING:
    from .._model._file import File

Layout = tuple[str, ...]
_KEEPS: Final = frozenset(
    {
        "contiguous", "clone", "float", "half", "to", "cuda", "detach", "softmax", "dropout",
        "relu",
        "masked_fill", "masked_fill_", "tanh", "sigmoid", "gelu", "type_as", "div", "mul",
    }
)  # fmt: skip
_DEPTH: Final = 16


def layout(file: File, node: ast.AST | None, depth: int = 0) -> Layout | None:
    """Give the names of the dimensions of a tensor in their order; None if they are not known.

    Args:
        file: The file.
        node: Such as ``q.view(b, t, heads, size).transpose(1, 2)``.
        depth: How far it was followed.
    """
    if node is None or depth > _DEPTH:
        return None
    if isinstance(node, ast.Name):
        return _named(file, node, depth)
    if isinstance(node, ast.BinOp):
        left = layout(file, node.left, depth + 1)
        if isinstance(node.op, ast.MatMult):
            return _product(left, layout(file, node.right, depth + 1))
        plain = isinstance(node.right, (ast.Constant, ast.Call, ast.BinOp, ast.Attribute))
        return left if plain and isinstance(node.op, (ast.Div, ast.Mult)) else None
    if isinstance(node, ast.Subscript):
        inner = layout(file, node.value, depth + 1)
        first = isinstance(constant(node.slice), int)
        return inner[1:] if inner is not None and first else None
    return _called(file, node, depth) if isinstance(node, ast.Call) else None


def _named(file: File, node: ast.Name, depth: int) -> Layout | None:
    reaching = file.values.bindings.reaching(node)
    if len(reaching.bindings) != 1 or reaching.rest != "nothing":
        return None
    binding = reaching.bindings[0]
    if binding.how == "whole":
        return layout(file, binding.value, depth + 1)
    if binding.how != "item":
        return None
    value = binding.value
    if isinstance(value, ast.Call) and method(value) == "unbind":
        value = owner(value) if [constant(one) for one in value.args] in ([], [0]) else None
    elif isinstance(value, ast.Call):
        return None
    inner = layout(file, value, depth + 1)
    return inner[1:] if inner is not None else None


def _called(file: File, call: ast.Call, depth: int) -> Layout | None:
    name = file.dotted(call.func)
    function = name.startswith("torch.")
    short = name.rpartition(".")[2] if function else method(call)
    on = call.args[0] if function and call.args else owner(call)
    args = call.args[1:] if function else call.args
    if len(args) == 1 and isinstance(args[0], (ast.Tuple, ast.List)):
        args = args[0].elts
    if short in ("view", "reshape"):
        return sizes_of(args)
    layers = file.values.of(call.func)
    if layers and all(one.short in ("Dropout", "Softmax", "Identity") for one in layers):
        return layout(file, call.args[0], depth + 1) if call.args else None
    if short in ("scaled_dot_product_attention", "matmul") and len(call.args) > 1 - (not function):
        last = call.args[2] if len(call.args) > 2 and short != "matmul" else args[0]
        return _product(layout(file, on, depth + 1), layout(file, last, depth + 1))
    inner = layout(file, on, depth + 1)
    if inner is None or short in _KEEPS:
        return inner
    places = [constant(one) for one in args]
    numbers = [one for one in places if isinstance(one, int) and -len(inner) <= one < len(inner)]
    if len(numbers) != len(places):
        return None
    if short in ("transpose", "swapaxes") and len(numbers) == 2:
        order = list(inner)
        one, two = numbers
        order[one], order[two] = order[two], order[one]
        return tuple(order)
    if short == "permute" and len(numbers) == len(inner):
        return tuple(inner[one] for one in numbers)
    return None


def sizes_of(sizes: list[ast.expr]) -> Layout | None:
    """Give the names of sizes as they are written; None for those that are no names.

    Args:
        sizes: Arguments of `view`.
    """
    found = []
    for place, one in enumerate(sizes):
        if isinstance(one, ast.Starred):
            return None
        number = constant(one)
        found.append(f"?{place}" if number is not None and not key(one) else ast.unparse(one))
    return tuple(found) if len(found) > 1 else None


def _product(left: Layout | None, right: Layout | None) -> Layout | None:
    if left is None or right is None or len(left) != len(right) or len(left) < 2:
        return None
    return (*left[:-1], right[-1])
