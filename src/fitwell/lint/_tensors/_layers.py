"""What layers hold, which classes are modules, and which expressions are certainly tensors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .._model._classes import MODULES
from .._model._project import Definition
from .._model._tree import argument, constant, key, method

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._values import Value

_DIMS: Final = ("1d", "2d", "3d")
WEIGHTS: Final = frozenset(
    {
        *(f"{stem}{n}" for stem in ("Conv", "ConvTranspose", "BatchNorm") for n in _DIMS),
        *(f"LazyConv{n}" for n in _DIMS),
        "Linear", "LazyLinear", "Bilinear", "Embedding", "EmbeddingBag", "LayerNorm", "GroupNorm",
        "RMSNorm", "SyncBatchNorm", "PReLU", "RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell",
        "MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerDecoder",
        "TransformerEncoderLayer", "TransformerDecoderLayer",
    }
)  # fmt: skip
"""Layers of torch with parameters, unless they are told to have none."""
DROPOUTS: Final = frozenset(
    {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"}
)
ACTIVATIONS: Final = frozenset(
    {
        "ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Sigmoid",
        "Tanh", "LogSigmoid", "Softplus", "Softsign", "Hardtanh", "Hardswish", "Hardsigmoid",
        "Softmax", "LogSoftmax", "Softmin", "Softmax2d", "Tanhshrink", "Softshrink", "Hardshrink",
        "RReLU",
    }
)  # fmt: skip
POOLS: Final = frozenset(
    f"{stem}Pool{n}" for stem in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax", "LP") for n in _DIMS
)
PARAMETERS: Final = frozenset({"torch.nn.Parameter", "torch.nn.UninitializedParameter"})
CONTAINERS: Final = frozenset({"torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"})
_BASES: Final = MODULES | frozenset(
    f"torch.nn.{short}" for short in WEIGHTS | DROPOUTS | ACTIVATIONS | POOLS
)
_FACTORIES: Final = frozenset(
    {
        "tensor", "randn", "rand", "zeros", "ones", "empty", "full", "arange", "linspace", "eye",
        "randint", "from_numpy", "zeros_like", "ones_like", "randn_like", "rand_like",
        "FloatTensor", "Tensor", "normal", "randperm", "logspace", "as_tensor", "full_like",
        "empty_like",
    }
)  # fmt: skip
_GIVES_TENSORS: Final = frozenset(
    {
        "cat", "stack", "relu", "sigmoid", "tanh", "softmax", "log_softmax", "matmul", "mm", "bmm",
        "flatten", "exp", "log", "einsum", "squeeze", "unsqueeze", "permute", "transpose", "mean",
        "sum", "reshape", "addmm", "concat",
    }
)  # fmt: skip
_TENSOR_METHODS: Final = frozenset(
    {
        "view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "contiguous",
        "float", "double", "half", "long", "to", "cuda", "cpu", "relu", "sigmoid", "tanh",
        "softmax", "log_softmax", "mean", "sum", "detach", "clone", "matmul", "mm", "bmm", "exp",
        "log", "type_as",
    }
)  # fmt: skip
_SCALARS: Final = frozenset({"int", "float", "bool", "str"})
_SIZES: Final = frozenset(
    {"dim", "size", "p", "rate", "k", "n", "num", "shape", "axis", "alpha", "step", "t", "mode"}
)
_DEPTH: Final = 8


def is_factory(name: str) -> bool:
    """Say whether a full name is that of a function that makes a new tensor.

    Args:
        name: Such as ``torch.zeros``.
    """
    module, _, short = name.rpartition(".")
    return module == "torch" and short in _FACTORIES


def module_classes(file: File) -> tuple[ast.ClassDef, ...]:
    """Give the classes of a file that are modules, also those that derive from a layer of torch.

    Args:
        file: The file.
    """
    return tuple(node for node in file.classes if file.derives(node, _BASES))


def own_method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """Give a method that a class defines itself.

    Args:
        node: The class.
        name: Of the method.
    """
    return next((one for one in functions_of(node) if one.name == name), None)


def functions_of(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Give the methods that a class defines itself.

    Args:
        node: The class.
    """
    for one in node.body:
        if isinstance(one, ast.FunctionDef):
            yield one


def head(node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
    """Give a place for a finding: the first line of a definition, not all of it.

    Args:
        node: The definition.
    """
    width = len(node.name) + (4 if isinstance(node, ast.FunctionDef) else 6)
    line, column = node.lineno, node.col_offset
    return ast.Name(
        id=node.name,
        lineno=line,
        col_offset=column,
        end_lineno=line,
        end_col_offset=column + width,
    )


def is_parameter(file: File, node: ast.AST | None) -> bool:
    """Say whether an expression makes a parameter.

    Args:
        file: The file.
        node: The expression.
    """
    return isinstance(node, ast.Call) and file.dotted(node.func) in PARAMETERS


def has_weights(value: Value, depth: int = 0) -> bool:
    """Say whether a module certainly has parameters.

    Args:
        value: The module.
        depth: How many modules it is inside of.
    """
    if depth > _DEPTH or value.kind not in ("module", "loss"):
        return False
    call, file = value.call, value.file
    if value.definition is not None:
        return _class_has_weights(value.definition, depth)
    if value.name in CONTAINERS:
        return any(_has_weights_at(file, one, depth) for one in elements(call.args))
    if not value.name.startswith("torch.nn."):
        return value.name.startswith("torchvision.models.")
    off = (constant(argument(call, name)) for name in ("affine", "elementwise_affine"))
    return value.short in WEIGHTS and not any(one is False for one in off)


def _class_has_weights(definition: Definition, depth: int) -> bool:
    if not isinstance(definition.node, ast.ClassDef):
        return False
    for name, (file, function) in definition.file.methods(definition.node).items():
        if name == "__init__" or name.startswith(("_make", "make", "build", "_build", "setup")):
            for call in file.tree.own_calls(function):
                if is_parameter(file, call) or method(call) == "register_parameter":
                    return True
                made = file.made(call, "module")
                if made is not None and made.definition != definition and made.call is call:
                    if has_weights(made, depth + 1):
                        return True
    return False


def _has_weights_at(file: File, node: ast.expr, depth: int) -> bool:
    made = file.made(node, "module")
    return made is not None and has_weights(made, depth + 1)


def elements(nodes: list[ast.expr]) -> Iterator[ast.expr]:
    """Give what literal lists, dicts and comprehensions hold, however deep, and all else as it is.

    Args:
        nodes: The expressions.
    """
    for node in nodes:
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            yield from elements(node.elts)
        elif isinstance(node, ast.Dict):
            yield from elements(node.values)
        elif isinstance(node, ast.Starred):
            yield from elements([node.value])
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            yield from elements([node.elt])
        elif isinstance(node, ast.DictComp):
            yield from elements([node.value])
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Add)):
            yield from elements([node.left, node.right])
        elif isinstance(node, ast.Call) and key(node.func) in ("list", "tuple", "OrderedDict"):
            yield from elements(node.args)
        else:
            yield node


def is_tensor(file: File, node: ast.AST | None, depth: int = 0) -> bool:
    """Say whether an expression is certainly a tensor: of a batch, or made by a layer or by torch.

    Args:
        file: The file.
        node: The expression.
        depth: How far names were followed.
    """
    if node is None or depth > _DEPTH:
        return False
    if isinstance(node, ast.Call):
        return _gives_tensor(file, node, depth)
    if isinstance(node, ast.BinOp):
        return any(is_tensor(file, one, depth + 1) for one in (node.left, node.right))
    if isinstance(node, ast.Subscript):
        return is_tensor(file, node.value, depth + 1)
    if not isinstance(node, ast.Name):
        return False
    reaching = file.values.bindings.reaching(node)
    batches = {id(loop.node) for loop in file.loops}
    for binding in reaching.bindings:
        if binding.how == "each":
            if id(binding.statement) not in batches:
                return False
        elif binding.how != "whole" or not is_tensor(file, binding.value, depth + 1):
            return False
    if reaching.rest == "parameter":
        return _is_input(file, reaching.scope, node.id)
    return bool(reaching.bindings)


def _gives_tensor(file: File, call: ast.Call, depth: int) -> bool:
    name = file.dotted(call.func)
    module, _, short = name.rpartition(".")
    if module == "torch.nn.functional" or is_factory(name):
        return True
    if module == "torch" and short in _GIVES_TENSORS:
        return True
    if isinstance(call.func, ast.Attribute) and call.func.attr in _TENSOR_METHODS:
        if is_tensor(file, call.func.value, depth + 1):
            return True
    return file.made(call.func, "module", "loss") is not None


def _is_input(file: File, function: ast.AST, name: str) -> bool:
    """Say whether a parameter is what a `forward` is given first, and no size by its name."""
    if not isinstance(function, ast.FunctionDef) or function.name != "forward":
        return False
    if file.tree.parent(function) not in module_classes(file):
        return False
    order = [*function.args.posonlyargs, *function.args.args]
    for place, one in enumerate(order):
        if one.arg == name:
            if one.annotation is not None:
                return key(one.annotation).rpartition(".")[2] == "Tensor"
            return place == 1 and name.rpartition("_")[2] not in _SIZES
    return False
