"""Functions that make or change tensors and arrays, and the dtypes that they give."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from .._model._tree import argument, constant

if TYPE_CHECKING:
    from .._model._file import File

NAMES: Final = {
    "float": "float32", "float32": "float32", "double": "float64", "float64": "float64",
    "half": "float16", "float16": "float16", "bfloat16": "bfloat16", "long": "int64",
    "int64": "int64", "int": "int32", "int32": "int32", "short": "int16", "int16": "int16",
    "int8": "int8", "uint8": "uint8", "bool": "bool", "bool_": "bool", "float_": "float64",
    "single": "float32", "byte": "uint8",
}  # fmt: skip
"""Names of dtypes in torch and numpy, and what they are; of ``float`` in torch alone."""
CONSTRUCTORS: Final = {
    "Tensor": "float32", "FloatTensor": "float32", "DoubleTensor": "float64",
    "LongTensor": "int64", "IntTensor": "int32", "BoolTensor": "bool", "HalfTensor": "float16",
    "ByteTensor": "uint8",
}  # fmt: skip
TORCH_MAKES: Final = {
    **dict.fromkeys(("zeros", "ones", "rand", "randn", "empty", "linspace", "eye"), "float32"),
    **dict.fromkeys(("logspace", "hann_window", "empty_strided"), "float32"),
    **dict.fromkeys(("randint", "randperm"), "int64"),
    **dict.fromkeys(("full", "load_tensor"), ""),
}
NUMPY_MAKES: Final = {
    **dict.fromkeys(("zeros", "ones", "empty", "linspace", "eye", "identity"), "float64"),
    **dict.fromkeys(("random.rand", "random.randn", "random.random", "random.uniform"), "float64"),
    **dict.fromkeys(("random.normal", "random.standard_normal", "random.random_sample"), "float64"),
    **dict.fromkeys(("random.randint", "random.permutation", "argsort", "argmax"), "int64"),
    **dict.fromkeys(("full", "loadtxt", "load", "genfromtxt"), ""),
}
GENERATOR_MAKES: Final = {
    **dict.fromkeys(("random", "normal", "uniform", "standard_normal", "rand", "randn"), "float64"),
    **dict.fromkeys(("integers", "randint", "permutation"), "int64"),
}
"""Methods of ``numpy.random.default_rng()`` and ``RandomState``."""
SAME: Final = frozenset(
    {
        "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "flatten", "contiguous",
        "clone", "detach", "cuda", "cpu", "t", "expand", "repeat", "clamp", "abs", "neg", "flip",
        "roll", "index_select", "gather", "masked_fill", "ravel", "copy", "relu", "requires_grad_",
        "unsqueeze_", "squeeze_", "uniform_", "normal_", "fill_", "zero_", "clamp_", "add_", "mul_",
        "sub_", "div_", "expand_as", "view_as", "narrow", "clip", "swapaxes", "movedim", "tile",
        "random_", "detach_", "pin_memory", "repeat_interleave", "cumsum", "triu", "tril", "round",
        "masked_fill_", "scatter", "scatter_", "leaky_relu", "unfold", "take_along_axis",
        "nan_to_num", "atleast_2d", "take_along_dim", "stack", "cat", "hstack", "vstack",
        "concatenate", "concat", "column_stack", "expand_dims", "moveaxis", "zeros_like",
        "ones_like",
        "rand_like", "randn_like", "empty_like", "full_like", "maximum", "minimum", "flipud",
        "where",
    }
)  # fmt: skip
"""Methods and functions that keep the dtype of what they are given."""
FLOATING: Final = frozenset(
    {
        "exp", "log", "sqrt", "sigmoid", "tanh", "softmax", "log_softmax", "mean", "std", "var",
        "norm",
        "sin", "cos", "log1p", "log2", "log10", "gelu", "silu", "softplus", "logsigmoid", "dropout",
        "elu", "normalize", "expm1", "rsqrt", "erf", "logsumexp",
    }
)  # fmt: skip
"""Functions that keep a floating dtype."""
PRODUCTS: Final = frozenset(
    {
        "matmul",
        "mm",
        "bmm",
        "einsum",
        "dot",
        "mv",
        "outer",
        "addmm",
        "baddbmm",
        "tensordot",
        "cdist",
    }
)
INDICES: Final = frozenset({"argmax", "argmin", "argsort", "long", "multinomial"})
TRUTHS: Final = frozenset(
    {
        "eq", "ne", "gt", "lt", "ge", "le", "isnan", "isinf", "isfinite", "logical_and",
        "logical_or",
        "logical_not", "isclose",
    }
)  # fmt: skip
ONLY_TORCH: Final = frozenset(
    {
        "unsqueeze", "permute", "masked_fill", "softmax", "log_softmax", "sigmoid", "index_select",
        "view_as", "expand_as", "repeat_interleave", "unsqueeze_", "logsumexp",
    }
)  # fmt: skip
"""Methods that tensors have, and arrays of numpy do not."""
SEVERAL: Final = ("with_indices", "attention_forward", "log_softmax_with_loss")
_KINDS: Final = {bool: "bool", int: "int64", float: "float32"}
_FLOATS: Final = frozenset({"float16", "bfloat16", "float32", "float64"})


def is_floating(dtype: str) -> bool:
    """Say whether a dtype has fractions.

    Args:
        dtype: Such as ``int64``; nothing where it is not known.
    """
    return dtype in _FLOATS


def is_whole(dtype: str) -> bool:
    """Say whether a dtype certainly has no fractions.

    Args:
        dtype: Such as ``int64``.
    """
    return bool(dtype) and dtype not in _FLOATS


def dtype_of(file: File, node: ast.AST | None, *, numpy: bool = False) -> str:
    """Give the dtype that an expression names; nothing if it names none.

    Args:
        file: The file.
        node: Such as ``torch.float32``.
        numpy: Whether it is given to numpy, where ``float`` alone has twice the bits.
    """
    name = file.dotted(node) if node is not None else ""
    text = constant(node)
    name = text if isinstance(text, str) else name
    library, _, short = name.rpartition(".")
    if not library and not isinstance(text, str) and short == "float":
        return "float64"
    if library not in ("", "torch", "numpy"):
        return ""
    if numpy and short in ("int", "long"):
        return "int64"
    return NAMES.get(short, "")


def literal(node: ast.AST | None, *, numpy: bool = False) -> str:
    """Give the dtype that a tensor of numbers written out has; nothing if it is not all numbers.

    Args:
        node: A number or a list, perhaps of lists.
        numpy: Whether numpy makes the array.
    """
    kinds = _kinds(node)
    if not kinds or None in kinds:
        return ""
    for kind in (float, int, bool):
        if kind in kinds:
            return "float64" if numpy and kind is float else _KINDS[kind]
    return ""


def _kinds(node: ast.AST | None) -> set[type | None]:
    if isinstance(node, (ast.List, ast.Tuple)):
        found: set[type | None] = set()
        for one in node.elts:
            found |= _kinds(one)
        return found
    value = constant(node)
    return {type(value)} if isinstance(value, (bool, int, float)) else {None}


def given_dtype(file: File, call: ast.Call, *, numpy: bool = False) -> str | None:
    """Give the dtype that a call asks for: None if it asks for none, nothing if it is not known.

    Args:
        file: The file.
        call: The call.
        numpy: Whether a function of numpy is called.
    """
    node = argument(call, "dtype")
    return None if node is None else dtype_of(file, node, numpy=numpy)
