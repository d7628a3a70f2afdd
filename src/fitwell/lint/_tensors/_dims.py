"""Element type and number of dimensions of tensors, where the text tells them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

from .._data._batches import (
    Place,
    batch_parts,
    columns,
    method_definition,
    part_of_batch,
    split_from,
)
from .._model._bindings import parameters
from .._model._tree import argument, constant, has_stars, key, method, owner
from .._model._values import Value, arguments_of, returns
from ._extents import given_sizes, is_size, shaped_like, sizes, whole

if TYPE_CHECKING:
    from .._model._file import File

DTYPES: Final = {
    "float": "float32", "float32": "float32", "float64": "float64", "double": "float64",
    "half": "float16", "float16": "float16", "bfloat16": "bfloat16", "long": "int64",
    "int64": "int64", "int": "int32", "int32": "int32", "short": "int16", "int16": "int16",
    "int8": "int8", "uint8": "uint8", "bool": "bool", "bool_": "bool", "byte": "uint8",
}  # fmt: skip
"""Names of element types in torch and numpy, and what rules call them."""
_MADE_AS: Final = {
    "FloatTensor": "float32", "DoubleTensor": "float64", "LongTensor": "int64",
    "IntTensor": "int32", "ShortTensor": "int16", "HalfTensor": "float16", "BoolTensor": "bool",
    "ByteTensor": "uint8",
}  # fmt: skip
_CASTS: Final = frozenset({"float", "double", "half", "bfloat16", "long", "int", "short", "bool"})
_SAME: Final = frozenset(
    {
        "cuda", "cpu", "clone", "detach", "contiguous", "requires_grad_", "numpy", "copy", "tolist",
        "pin_memory", "clamp", "clip", "softmax", "log_softmax", "sigmoid", "relu", "tanh",
        "dropout",
    }
)  # fmt: skip
_FILLED: Final = frozenset({"zeros", "ones", "rand", "randn", "empty", "full", "normal", "random"})
_DEPTH: Final = 12
_KEEPING: Final = frozenset(
    {"ReLU", "Sigmoid", "Tanh", "Dropout", "Softplus", "LeakyReLU", "GELU", "Identity"}
)  # fmt: skip


@final
@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor or an array.

    Args:
        dtype: Such as `float32`, `int64` or `bool`; empty if it is not known.
        ndim: Number of dimensions; None if that is not known.
        last: Size of the last dimension; None if that is not known.
        hot: Whether it is one-hot.
    """

    dtype: str = ""
    ndim: int | None = None
    last: int | None = None
    hot: bool = False

    @property
    def is_float(self) -> bool:
        """Whether its elements are certainly floating point numbers."""
        return "float" in self.dtype

    @property
    def is_integer(self) -> bool:
        """Whether its elements are certainly whole numbers or truth values."""
        return bool(self.dtype) and not self.is_float


_NOTHING: Final = Tensor()


def tensor(file: File, node: ast.AST | None, depth: int = 0) -> Tensor:
    """Give what is known of the tensor that an expression is.

    Args:
        file: Where the expression stands.
        node: The expression.
        depth: How far it was followed.
    """
    if node is None or depth > _DEPTH:
        return _NOTHING
    depth += 1
    if isinstance(node, ast.Call):
        return _called(file, node, depth)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _named(file, node, depth)
    if isinstance(node, ast.Subscript):
        return _indexed(file, node, depth)
    if isinstance(node, (ast.List, ast.Tuple)):
        return _listed(file, node, depth)
    if isinstance(node, ast.Constant) or isinstance(constant(node), (int, float)):
        kinds = {bool: "bool", int: "int64", float: "float64"}
        return Tensor(kinds.get(type(constant(node)), ""), 0)
    if isinstance(node, ast.Compare):
        return Tensor("bool", tensor(file, node.left, depth).ndim)
    if isinstance(node, ast.BinOp):
        return _computed(file, node, depth)
    if isinstance(node, ast.IfExp):
        return _agreed([tensor(file, one, depth) for one in (node.body, node.orelse)])
    return _NOTHING


def _agreed(found: list[Tensor]) -> Tensor:
    if not found:
        return _NOTHING
    one = found[0]
    return Tensor(
        one.dtype if all(other.dtype == one.dtype for other in found) else "",
        one.ndim if all(other.ndim == one.ndim for other in found) else None,
        one.last if all(other.last == one.last for other in found) else None,
        all(other.hot for other in found),
    )


def _named(file: File, node: ast.Name | ast.Attribute, depth: int) -> Tensor:
    part = part_of_batch(file, node)
    if part is not None:
        return _of_batch(file, *part, depth)
    if isinstance(node, ast.Attribute) and node.attr == "values":
        return Tensor(ndim=columns(node.value))
    if not key(node):
        return _NOTHING
    reaching = file.values.bindings.reaching(node)
    found: list[Tensor] = []
    for binding in reaching.bindings:
        value = binding.value if binding.how == "whole" else split_from(file, binding)
        found.append(tensor(file, value, depth))
    if reaching.rest == "parameter":
        given = list(arguments_of(file, reaching.scope, key(node)))
        found += [tensor(there, value, depth) for there, value in given] or [_NOTHING]
    return _agreed(found)


def _indexed(file: File, node: ast.Subscript, depth: int) -> Tensor:
    part = part_of_batch(file, node)
    if part is not None:
        return _of_batch(file, *part, depth)
    inner = tensor(file, node.value, depth)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    ndim: int | None = inner.ndim
    for one in parts:
        if isinstance(one, ast.Slice):
            continue
        if isinstance(one, ast.Constant) and one.value is None and ndim is not None:
            ndim += 1
        elif (isinstance(constant(one), int) or _is_index(file, one)) and ndim is not None:
            ndim -= 1
        else:
            ndim = None
    if ndim is None and inner.last is not None and len(parts) == 2:  # a column of a layer's output
        ndim = 1 if isinstance(parts[0], ast.Slice) and whole(parts[1]) is not None else None
    added = isinstance(parts[-1], ast.Constant) and parts[-1].value is None
    plain = len(parts) == 1 and (ndim or 0) > 0
    return Tensor(inner.dtype, ndim, 1 if added else inner.last if plain else None, inner.hot)


def _is_index(file: File, node: ast.expr) -> bool:
    """Say whether an index is the one that a data set is asked for."""
    function = file.tree.function(node)
    if function is None or function.name != "__getitem__":
        return False
    return key(node) in parameters(function)


def _listed(file: File, node: ast.List | ast.Tuple, depth: int) -> Tensor:
    if not node.elts:
        return _NOTHING
    inner = [tensor(file, one, depth) for one in node.elts]
    one = _agreed(inner)
    dtype = one.dtype
    if {each.dtype for each in inner} == {"int64", "float64"}:
        dtype = "float64"
    ndim = None if one.ndim is None else one.ndim + 1
    return Tensor(dtype, ndim, len(node.elts) if ndim == 1 else one.last)


def _computed(file: File, node: ast.BinOp, depth: int) -> Tensor:
    left, right = tensor(file, node.left, depth), tensor(file, node.right, depth)
    sides = (left, right)
    numbers = [one for one, part in zip(sides, (node.left, node.right), strict=True)
               if isinstance(constant(part), (int, float))]  # fmt: skip
    tensors = [one for one in sides if one not in numbers]
    if len(tensors) == 1 and len(numbers) == 1:
        dtype = tensors[0].dtype
        if tensors[0].is_integer and (numbers[0].is_float or isinstance(node.op, ast.Div)):
            dtype = "float32"
        return Tensor(dtype, tensors[0].ndim, tensors[0].last)
    if isinstance(node.op, ast.MatMult) or not left.dtype or not right.dtype:
        return _NOTHING
    floats = [one.dtype for one in sides if one.is_float]
    dtype = floats[0] if floats else left.dtype if left.dtype == right.dtype else ""
    if not floats and isinstance(node.op, ast.Div):
        dtype = "float32"
    return Tensor(dtype, left.ndim if left.ndim == right.ndim else None)


def _called(file: File, call: ast.Call, depth: int) -> Tensor:
    name = file.dotted(call.func)
    module, _, short = name.rpartition(".")
    if module in ("torch", "numpy", "numpy.random", "torch.nn.functional"):
        found = _library(file, call, module, short, depth)
        if found is not None:
            return found
    if name in ("int", "float", "len"):
        return Tensor("float64" if name == "float" else "int64", 0)
    values = file.values.of(call.func)
    if values:
        return _agreed([_of_layer(value, depth) for value in values])
    definition = file.called(call)
    if definition is not None and not isinstance(definition.node, ast.ClassDef):
        return _agreed([tensor(definition.file, one, depth) for one in returns(definition)])
    if method(call):
        return _of_method(file, call, depth)
    return _NOTHING


def _library(file: File, call: ast.Call, module: str, short: str, depth: int) -> Tensor | None:
    first = call.args[0] if call.args else None
    wanted = dtype_named(file, argument(call, "dtype"))
    if short in ("tensor", "as_tensor", "from_numpy", "array", "asarray"):
        inner = tensor(file, argument(call, "data", 0) or first, depth)
        dtype = wanted or inner.dtype
        if not wanted and short == "tensor" and isinstance(first, (ast.List, ast.Tuple)):
            dtype = "float32" if inner.is_float else inner.dtype  # numbers of Python
        if argument(call, "dtype") is not None and not wanted:
            dtype = ""
        return replace(inner, dtype=dtype)
    if short in _MADE_AS and module == "torch":
        inner = tensor(file, first, depth)
        return Tensor(_MADE_AS[short], inner.ndim)
    if short == "one_hot":
        inner = tensor(file, first, depth)
        return Tensor("int64", None if inner.ndim is None else inner.ndim + 1, hot=True)
    if short == "eye":
        return Tensor(wanted or ("float32" if module == "torch" else "float64"), 2, hot=True)
    if short == "argmax":
        return Tensor("int64")
    if short == "arange":
        whole = all(isinstance(constant(one), int) or is_size(one) for one in call.args)
        return Tensor(wanted or ("int64" if whole else ""), 1)
    if short.endswith("_like"):
        inner = tensor(file, first, depth)
        if argument(call, "dtype") is not None:
            return replace(inner, dtype=wanted, hot=False)
        return replace(inner, hot=False)
    if short == "randint":
        size = argument(call, "size") or (call.args[-1] if len(call.args) > 1 else None)
        return Tensor(wanted or "int64", *sizes(size))
    if short in _FILLED:
        return _filled(call, module, short, wanted)
    if (
        short in ("squeeze", "unsqueeze", "flatten", "reshape", "ravel", *_SAME)
        and first is not None
    ):
        moved = ast.Call(ast.Attribute(first, short, ast.Load()), call.args[1:], call.keywords)
        return _of_method(file, moved, depth)
    return None


def _filled(call: ast.Call, module: str, short: str, wanted: str) -> Tensor:
    args = call.args
    dtype = wanted or ("float32" if module == "torch" else "float64")
    if argument(call, "dtype") is not None and not wanted:
        dtype = ""
    size = argument(call, "size")
    if short == "full":
        value = argument(call, "fill_value", 1)
        if not wanted:
            dtype = "float32" if isinstance(constant(value), float) else ""
        return Tensor(dtype, *sizes(size or (args[0] if args else None)))
    if short in ("normal", "random"):
        return Tensor(dtype, *sizes(size))
    if size is not None or len(args) == 1:
        return Tensor(dtype, *sizes(size or args[0]))
    if has_stars(call) or not args:
        return Tensor(dtype)
    return Tensor(dtype, len(args), whole(args[-1]))


def dtype_named(file: File, node: ast.AST | None) -> str:
    """Give the element type that an expression names; empty if it does not.

    Args:
        file: Where the expression stands.
        node: Such as ``torch.float32``, ``np.int64``, ``torch.LongTensor`` or ``"float32"``.
    """
    text = constant(node)
    name = text if isinstance(text, str) else file.dotted(node)
    module, _, short = name.rpartition(".")
    if short in _MADE_AS:
        return _MADE_AS[short]
    if module in ("torch", "numpy") or isinstance(text, str):
        return DTYPES.get(short, "")
    return {"float": "float64", "int": "int64", "bool": "bool"}.get(name, "")


def _of_method(file: File, call: ast.Call, depth: int) -> Tensor:
    name, on = method(call), owner(call)
    inner = tensor(file, on, depth)
    first = call.args[0] if call.args else None
    if name in _CASTS and not call.args:
        return replace(inner, dtype=DTYPES[name])
    if name in ("to", "type", "astype"):
        return replace(inner, dtype=_cast_to(file, call, inner))
    if name == "type_as":
        return replace(inner, dtype=tensor(file, first, depth).dtype)
    if name in _SAME:
        return inner
    if name == "to_numpy":
        return Tensor(ndim=columns(on))
    if name in ("argmax", "nonzero"):
        return Tensor("int64")
    if name == "squeeze":
        before = inner.ndim or 2  # of a layer's output that is not known better
        index = constant(argument(call, "dim", 0))
        last = index in (-1, before - 1) or (before == 2 and not (call.args or call.keywords))
        return Tensor(inner.dtype, before - 1 if inner.last == 1 and last else None)
    if name == "unsqueeze":
        index = constant(argument(call, "dim", 0))
        ndim = inner.ndim + 1 if inner.ndim is not None else None
        end = index == -1 or (inner.ndim is not None and index == inner.ndim)
        return Tensor(inner.dtype, ndim, 1 if end else None)
    if name in ("view", "reshape"):
        like = shaped_like(call)
        if like is not None:
            return replace(tensor(file, like, depth), dtype=inner.dtype, hot=False)
        return Tensor(inner.dtype, *given_sizes(call))
    if name in ("flatten", "ravel"):
        return Tensor(inner.dtype, None if call.args or call.keywords else 1)
    return _NOTHING


def _cast_to(file: File, call: ast.Call, inner: Tensor) -> str:
    """Give the element type after ``.to(...)``, which may name a device instead."""
    for value in [*call.args, *(one.value for one in call.keywords if one.arg == "dtype")]:
        named = dtype_named(file, value)
        if named:
            return named
        if "type" in key(value).rpartition(".")[2].lower() or method(call) != "to":
            return ""
    return inner.dtype


def _of_layer(value: Value, depth: int) -> Tensor:
    """Give what is known of what a layer gives: the features of a last ``Linear``."""
    definition = value.definition
    if definition is not None:
        if value.kind != "module" or not isinstance(definition.node, ast.ClassDef):
            return _NOTHING
        forward = method_definition(definition.file, definition.node, "forward")
        if forward is None:
            return _NOTHING
        return _agreed([tensor(forward.file, one, depth) for one in returns(forward)])
    if value.name in ("torch.nn.Linear", "torch.nn.LazyLinear"):
        place = 1 if value.short == "Linear" else 0
        return Tensor("float32", last=whole(argument(value.call, "out_features", place)))
    if value.name == "torch.nn.Sequential" and not has_stars(value.call):
        for layer in reversed(value.call.args):
            made = value.file.values.of(layer)
            if len(made) != 1:
                return _NOTHING
            if made[0].short not in _KEEPING:
                return _of_layer(made[0], depth + 1) if depth < _DEPTH else _NOTHING
    return _NOTHING


def _of_batch(file: File, loader: ast.expr, place: Place, depth: int) -> Tensor:
    """Give what is known of a part of the batches of a loader."""
    found: list[Tensor] = []
    for part in batch_parts(file, loader, place):
        if part.indices:
            found.append(Tensor("int64", 1))
            continue
        inner = tensor(part.file, part.node, depth + 1)
        ndim = None if inner.ndim is None else inner.ndim + part.added
        found.append(replace(inner, ndim=ndim, last=inner.last if inner.ndim else None))
    return _agreed(found)
