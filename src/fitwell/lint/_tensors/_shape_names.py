"""Which dimension of which tensor a name stands for: ``b, c, h, w = x.shape``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

from .._model._bindings import Binding
from .._model._tree import constant, key
from ._layouts import layout

if TYPE_CHECKING:
    from .._model._file import File

_KEEP: Final = frozenset(
    {
        "contiguous", "clone", "float", "half", "double", "to", "cuda", "cpu", "detach", "relu",
        "sigmoid", "tanh", "softmax", "dropout", "gelu", "abs", "clamp", "leaky_relu", "astype",
        "requires_grad_", "copy", "silu", "layer_norm", "log_softmax", "type_as",
    }
)  # fmt: skip
"""Methods and functions that keep all sizes."""
_KEEP_LAYERS: Final = frozenset(
    {
        "ReLU", "GELU", "SiLU", "LeakyReLU", "Tanh", "Sigmoid", "ELU", "Dropout", "LayerNorm",
        "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Identity", "Softmax", "GroupNorm",
        "Dropout2d",
        "InstanceNorm2d", "Mish", "RMSNorm", "Softplus",
    }
)  # fmt: skip
_MAKERS: Final = frozenset(
    {"zeros", "ones", "rand", "randn", "empty", "random.rand", "random.randn"}
)
_DEPTH: Final = 8


@final
@dataclass(frozen=True)
class Origin:
    """A tensor whose sizes are asked, before what only changes its values.

    Args:
        bindings: The assignments that it comes from.
        name: Its name there.
        last_changed: Whether a linear layer gave it another last dimension since.
    """

    bindings: frozenset[Binding]
    name: str
    last_changed: bool = False

    def same(self, other: Origin) -> bool:
        """Say whether it is the same tensor, but for the last dimension.

        Args:
            other: The other one.
        """
        return (self.bindings, self.name) == (other.bindings, other.name)


@final
@dataclass(frozen=True)
class Size:
    """The size of a dimension.

    Args:
        of: The tensor.
        index: Which dimension; from the end where it is negative.
        rank: How many there are; None if that is not known.
    """

    of: Origin
    index: int
    rank: int | None = None


@final
@dataclass(frozen=True)
class Term:
    """A factor of the new shape.

    Args:
        kind: A `size` of the old shape, a `part` of one, the `rest` (-1), or some `other` number.
        index: Of the dimension.
        text: As it is written.
    """

    kind: Literal["size", "part", "rest", "other"]
    text: str
    index: int = -1


def origin(file: File, node: ast.AST | None, depth: int = 0) -> Origin | None:
    """Give the tensor that an expression has the sizes of.

    Args:
        file: The file.
        node: A name, or calls on one.
        depth: How far it was followed.
    """
    if node is None or depth > _DEPTH:
        return None
    if isinstance(node, ast.Call):
        inner, changed = _kept(file, node)
        found = origin(file, inner, depth + 1)
        if found is None or not changed:
            return found
        return Origin(found.bindings, found.name, True)
    if not isinstance(node, ast.Name):
        return None
    reaching = file.values.bindings.reaching(node)
    if len(reaching.bindings) == 1 and reaching.rest == "nothing":
        binding = reaching.bindings[0]
        if binding.how == "whole" and isinstance(binding.value, ast.Call):
            found = origin(file, binding.value, depth + 1)
            if found is not None:
                return found
    return Origin(frozenset(reaching.bindings), node.id)


def _kept(file: File, call: ast.Call) -> tuple[ast.expr | None, bool]:
    """Give what a call keeps the sizes of, and whether it changes the last one."""
    first = call.args[0] if len(call.args) > 0 else None
    layers = file.values.of(call.func)
    if layers:
        names = {layer.short if layer.name.startswith("torch.nn.") else "" for layer in layers}
        if names <= _KEEP_LAYERS:
            return first, False
        return (first, True) if names == {"Linear"} else (None, False)
    module, _, short = file.dotted(call.func).rpartition(".")
    if module in ("torch", "torch.nn.functional"):
        return (first, False) if short in _KEEP else (None, False)
    if isinstance(call.func, ast.Attribute) and call.func.attr in _KEEP:
        return call.func.value, False
    return None, False


def size(file: File, node: ast.AST) -> Size | None:
    """Give the dimension whose size an expression is.

    Args:
        file: The file.
        node: A name, ``x.size(1)`` or ``x.shape[1]``.
    """
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "size":
            index = constant(node.args[0]) if len(node.args) == 1 else None
            return _size(file, node.func.value, index, None)
        return None
    if isinstance(node, ast.Subscript) and _is_shape(node.value):
        return _size(file, _of_shape(node.value), constant(node.slice), None)
    if not isinstance(node, ast.Name):
        return None
    reaching = file.values.bindings.reaching(node)
    if len(reaching.bindings) != 1 or reaching.rest != "nothing":
        return None
    binding = reaching.bindings[0]
    if binding.value is None or isinstance(binding.value, ast.Name):
        return None
    if binding.how == "whole":
        return size(file, binding.value)
    return _unpacked(file, binding)


def _unpacked(file: File, binding: Binding) -> Size | None:
    """Give the dimension of ``b, c, h, w = x.shape`` that a name was given."""
    statement, value = binding.statement, binding.value
    if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Tuple)):
        return None
    names = statement.targets[0].elts
    if binding.index is None or any(isinstance(one, ast.Starred) for one in names):
        return None
    if value is not None and _is_shape(value):
        return _size(file, _of_shape(value), binding.index, len(names))
    if isinstance(value, ast.Subscript) and _is_shape(value.value):
        part = value.slice
        if isinstance(part, ast.Slice) and part.lower is None and part.step is None:
            return _size(file, _of_shape(value.value), binding.index, None)
    return None


def _is_shape(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        plain = not node.args and not node.keywords
        return plain and isinstance(node.func, ast.Attribute) and node.func.attr == "size"
    return isinstance(node, ast.Attribute) and node.attr == "shape"


def _of_shape(node: ast.AST) -> ast.expr | None:
    node = node.func if isinstance(node, ast.Call) else node
    return node.value if isinstance(node, ast.Attribute) else None


def _size(file: File, of: ast.expr | None, index: object, rank: int | None) -> Size | None:
    if not isinstance(index, int) or isinstance(index, bool):
        return None
    found = origin(file, of)
    if found is None or (index < 0 and rank is None):
        return None
    return Size(found, index if index >= 0 else index + (rank or 0), rank)


def made_with(file: File, node: ast.AST | None) -> tuple[str, ...]:
    """Give the names that a tensor was made with: of ``x = torch.zeros(b, c, t)``.

    Args:
        file: The file.
        node: The name.
    """
    if not isinstance(node, ast.Name):
        return ()
    reaching = file.values.bindings.reaching(node)
    value = reaching.bindings[0].value if len(reaching.bindings) == 1 else None
    if not isinstance(value, ast.Call) or reaching.rest != "nothing":
        return ()
    library, _, short = file.dotted(value.func).partition(".")
    if library not in ("torch", "numpy") or short not in _MAKERS:
        return ()
    sizes = value.args
    if len(sizes) == 1 and isinstance(sizes[0], (ast.Tuple, ast.List)):
        sizes = sizes[0].elts
    names = tuple(key(one) for one in sizes)
    return names if all(names) and len(set(names)) == len(names) else ()


def terms(file: File, of: ast.expr, sizes: list[ast.expr]) -> tuple[list[Term], int | None] | None:
    """Give the factors of a new shape in their order, and the number of dimensions before.

    Args:
        file: The file.
        of: The tensor that is given the shape.
        sizes: The new sizes.
    """
    start = origin(file, of)
    made = made_with(file, of) or distinct(layout(file, of))
    if start is None and not made:
        return None
    found: list[Term] = []
    rank: int | None = len(made) or None
    for one in _factors(sizes):
        if isinstance(one, (ast.Starred, ast.Slice)):
            return None
        if constant(one) == 1:
            continue
        text = ast.unparse(one)
        if constant(one) == -1:
            found.append(Term("rest", text))
            continue
        partial = isinstance(one, ast.BinOp) and isinstance(one.op, (ast.FloorDiv, ast.Div))
        inner = one.left if isinstance(one, ast.BinOp) else one
        if isinstance(one, ast.BinOp) and not partial:
            return None
        known = size(file, inner)
        if known is not None and start is not None and known.of.same(start):
            rank = rank or known.rank
            index = known.index
        elif text in made and not partial:
            index = made.index(text)
        else:
            index = -1
        kind: Literal["size", "part", "other"] = "part" if partial else "size"
        found.append(Term(kind if index >= 0 else "other", text, index))
    changed = start is not None and start.last_changed and not made
    if changed and rank is None:
        return None
    if changed and rank is not None:
        found = [Term("other", t.text) if t.index == rank - 1 else t for t in found]
    return found, rank


def distinct(names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Give names of dimensions if no two are the same; nothing otherwise.

    Args:
        names: From `layout`.
    """
    return names if names is not None and len(set(names)) == len(names) else ()


def _factors(sizes: list[ast.expr]) -> Iterator[ast.expr]:
    for one in sizes:
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult):
            yield from _factors([one.left, one.right])
        else:
            yield one
