"""What was last done to an expression: followed through names, layers, functions and classes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from ._project import Definition
from ._tree import key
from ._values import Value, arguments_of, returns

if TYPE_CHECKING:
    from ._file import File

FUNCTIONS: Final = {
    **dict.fromkeys(
        ("softmax", "log_softmax", "sigmoid", "logsigmoid", "relu", "tanh", "softplus"), ""
    ),
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), "linear"),
    **dict.fromkeys(
        ("log", "exp", "argmax", "one_hot", "dropout", "gelu", "leaky_relu", "silu"), ""
    ),
    **dict.fromkeys(
        ("max", "round", "topk", "elu", "softmin", "gumbel_softmax", "sqrt", "abs"), ""
    ),
    **dict.fromkeys(("floor", "ceil", "sign"), ""),
    "expit": "sigmoid",
}
"""Functions and methods that rules ask for, and how they call them."""
LAYERS: Final = {
    "Softmax": "softmax", "Softmax2d": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid",
    "LogSigmoid": "logsigmoid", "ReLU": "relu", "ReLU6": "relu", "Tanh": "tanh", "Linear": "linear",
    "LazyLinear": "linear", "Conv1d": "linear", "Conv2d": "linear", "Conv3d": "linear",
    "ConvTranspose1d": "linear", "ConvTranspose2d": "linear", "ConvTranspose3d": "linear",
    "Softplus": "softplus", "LeakyReLU": "leaky_relu", "GELU": "gelu", "SiLU": "silu", "ELU": "elu",
    "Bilinear": "linear", "BatchNorm1d": "norm", "BatchNorm2d": "norm", "LayerNorm": "norm",
    "Embedding": "embedding", "Softmin": "softmin", "MaxPool2d": "pool", "AvgPool2d": "pool",
    "AdaptiveAvgPool2d": "pool", "Hardtanh": "tanh", "Hardsigmoid": "sigmoid",
}  # fmt: skip
_SHAPES: Final = frozenset(
    {
        "view", "reshape", "squeeze", "unsqueeze", "flatten", "contiguous", "transpose", "permute",
        "to", "cuda", "cpu", "clone", "float", "double", "half", "t", "movedim", "squeeze_",
        "unsqueeze_",
        "view_as", "reshape_as", "expand", "requires_grad_", "bfloat16", "swapaxes", "type_as",
    }
)  # fmt: skip
"""Methods and functions that leave the values as they are."""
_NO_LAYERS: Final = frozenset(
    {"Dropout", "Dropout1d", "Dropout2d", "Flatten", "Unflatten", "Identity"}
)
_DEPTH: Final = 14


@final
@dataclass(frozen=True)
class Operation:
    """What was last done to a value.

    Args:
        kind: `softmax`, `log_softmax`, `sigmoid`, `linear` (any layer without an activation),
            `relu`, `norm`, `argmax`, `log`, `item`, `arithmetic`, `constant`, `model` (one of a
            library) and so on.
        node: Where: a call of a function or method, or the call that makes the layer.
        file: The file of that place.
        argument: What it was done to, if that is an expression at the same place.
    """

    kind: str
    node: ast.AST
    file: File
    argument: ast.expr | None = None


@final
class Flow:
    """What was done to the expressions of a file.

    Args:
        file: The file.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._open: set[ast.AST] = set()
        self._known: dict[ast.AST, frozenset[Operation] | None] = {}

    def last(self, node: ast.AST | None) -> tuple[Operation, ...]:
        """Give the operations that may have been the last ones; nothing if one is not known.

        What changes only shape, device or dtype is passed over, and so is dropout.

        Args:
            node: The expression.
        """
        found = self._last(node, 0)
        return tuple(found) if found else ()

    def is_last(self, node: ast.AST | None, *kinds: str) -> Operation | None:
        """Give the last operation if it is certainly of one of some kinds.

        Args:
            node: The expression.
            kinds: Of `Operation`.
        """
        found = self.last(node)
        return found[0] if found and all(one.kind in kinds for one in found) else None

    def _last(self, node: ast.AST | None, depth: int) -> frozenset[Operation] | None:
        if node is None:
            return None
        if node in self._known:
            return self._known[node]
        project = self._file.project
        if node in self._open or depth > _DEPTH:
            project.cycles += 1
            return frozenset() if node in self._open else None
        before = project.cycles
        self._open.add(node)
        found = self._look(node, depth + 1)
        self._open.discard(node)
        if project.cycles == before or not depth:
            self._known[node] = found
        return found

    def _look(self, node: ast.AST, depth: int) -> frozenset[Operation] | None:
        if isinstance(node, ast.Call):
            return self._called(node, depth)
        if isinstance(node, (ast.Name, ast.Attribute)) and key(node):
            return self._named(node, depth)
        if isinstance(node, ast.IfExp):
            return _union(self._last(part, depth) for part in (node.body, node.orelse))
        if isinstance(node, ast.Subscript):
            return self._last(node.value, depth)
        if isinstance(node, (ast.NamedExpr, ast.Await)):
            return self._last(node.value, depth)
        if isinstance(node, ast.Attribute):
            return None
        kind = "arithmetic" if isinstance(node, (ast.BinOp, ast.UnaryOp)) else ""
        kind = "comparison" if isinstance(node, ast.Compare) else kind
        kind = "constant" if isinstance(node, ast.Constant) else kind
        return frozenset({Operation(kind, node, self._file)}) if kind else None

    def _named(self, node: ast.AST, depth: int) -> frozenset[Operation] | None:
        reaching = self._file.values.bindings.reaching(node)
        found: list[frozenset[Operation] | None] = []
        for binding in reaching.bindings:
            if binding.how != "whole" or binding.value is None:
                return (
                    self._item(binding.value, binding.index, depth)
                    if binding.how == "item"
                    else None
                )
            found.append(self._last(binding.value, depth))
        if reaching.rest == "outside":
            return None
        if reaching.rest == "parameter":
            given = list(arguments_of(self._file, reaching.scope, key(node)))
            found += [
                None if value is None else file.flow._last(value, depth) for file, value in given
            ]
        return _union(found)

    def _item(
        self, value: ast.expr | None, index: int | None, depth: int
    ) -> frozenset[Operation] | None:
        """Follow one of several values that a function of the project returns."""
        if not isinstance(value, ast.Call) or index is None:
            return None
        if self._file.dotted(value.func) == "torch.max" or (
            isinstance(value.func, ast.Attribute) and value.func.attr in ("max", "topk")
        ):
            return frozenset({Operation("argmax" if index == 1 else "max", value, self._file)})
        definition = self._definition(value)
        if definition is None:
            return None
        found = []
        for one in returns(definition):
            inner = (
                one.elts[index] if isinstance(one, ast.Tuple) and index < len(one.elts) else None
            )
            found.append(definition.file.flow._last(inner, depth))
        return _union(found)

    def _called(self, call: ast.Call, depth: int) -> frozenset[Operation] | None:
        func = call.func
        name = self._file.dotted(func)
        short = name.rpartition(".")[2]
        if name.startswith(("torch.", "scipy.special.")) and name.count(".") <= 3:
            if short in _SHAPES and call.args:
                return self._last(call.args[0], depth)
            if short in FUNCTIONS:
                return self._operation(short, call, call.args[0] if call.args else None)
        values = self._file.values.of(func)
        if values:
            return _union(_of_value(value, depth) for value in values)
        if isinstance(func, ast.Call):  # nn.Softmax(dim=1)(x)
            return _union(_of_value(value, depth) for value in self._file.values.of(func))
        definition = self._definition(call)
        if definition is not None:
            return _of_function(definition, depth)
        if isinstance(func, ast.Attribute):
            if func.attr in _SHAPES:
                return self._last(func.value, depth)
            if func.attr in FUNCTIONS or func.attr in (
                "item",
                "detach",
                "numpy",
                "tolist",
                "long",
                "mean",
                "sum",
            ):
                return self._operation(func.attr, call, func.value)
        return None

    def _definition(self, call: ast.Call) -> Definition | None:
        """Give the function of the project that runs: of ``self(x)`` the own ``forward``."""
        name = "forward" if key(call.func) == "self" else ""
        home = self._file.tree.inside(call, ast.ClassDef)
        if name and home is not None:
            found = self._file.methods(home).get(name)
            return Definition(*found) if found else None
        definition = self._file.called(call)
        is_class = definition is not None and isinstance(definition.node, ast.ClassDef)
        return None if is_class else definition

    def _operation(
        self, name: str, call: ast.Call, argument: ast.expr | None
    ) -> frozenset[Operation]:
        return frozenset({Operation(FUNCTIONS.get(name) or name, call, self._file, argument)})


def _of_value(value: Value, depth: int) -> frozenset[Operation] | None:
    """Give what a layer does last."""
    if value.kind != "module":
        return None
    owner = value.definition
    if owner is not None and isinstance(owner.node, ast.ClassDef):
        forward = owner.file.methods(owner.node).get("forward")
        if forward is None:
            return None
        return _of_function(Definition(*forward), depth)
    if value.name == "torch.nn.Sequential":
        return _of_sequence(value, depth)
    if value.short in LAYERS and value.name.startswith("torch.nn."):
        return frozenset({Operation(LAYERS[value.short], value.call, value.file)})
    if value.name.startswith(("torchvision.models.", "timm.")):
        return frozenset({Operation("model", value.call, value.file)})
    return None


def _of_sequence(value: Value, depth: int) -> frozenset[Operation] | None:
    for layer in reversed(value.call.args):
        inner = layer.value if isinstance(layer, ast.Starred) else layer
        found = value.file.values.of(inner)
        if isinstance(layer, ast.Starred) or len(found) != 1:
            return None
        if found[0].short not in _NO_LAYERS:
            return _of_value(found[0], depth + 1) if depth < _DEPTH else None
    return None


def _of_function(definition: Definition, depth: int) -> frozenset[Operation] | None:
    flow = definition.file.flow
    return _union(flow._last(value, depth) for value in returns(definition))


def _union(parts: Iterable[frozenset[Operation] | None]) -> frozenset[Operation] | None:
    found: frozenset[Operation] = frozenset()
    for part in parts:
        if part is None:
            return None
        found |= part
    return found or None
