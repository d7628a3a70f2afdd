"""Whether a model computes something else in training mode: dropout, batch norm and the like."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from .._model._classes import MODULES
from .._model._project import Definition
from .._model._tree import argument, constant, key

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._values import Value

Answer = Literal["yes", "no", "unknown"]

_SWITCHED: Final = (
    "Dropout", "AlphaDropout", "FeatureAlphaDropout", "BatchNorm", "LazyBatchNorm", "SyncBatchNorm",
    "RReLU", "Transformer",
)  # fmt: skip
_BY_ARGUMENT: Final = frozenset({"LSTM", "GRU", "RNN", "MultiheadAttention"})
_PLAIN_VISION: Final = ("vit_", "swin", "convnext", "vgg11_features")
_DEPTH: Final = 6


def depends_on_mode(file: File, model: ast.expr) -> Answer:
    """Say whether a model computes something else in training mode: dropout, batch norm.

    Args:
        file: The file.
        model: What is called.
    """
    if key(model) == "self":
        home = file.tree.inside(model, ast.ClassDef)
        return _of_class(Definition(file, home), 0) if home is not None else "unknown"
    values = file.values.of(model)
    return worst(_of_value(value, 0) for value in values) if values else "unknown"


def worst(answers: Iterator[Answer]) -> Answer:
    """Give `yes` if one is, else `unknown` if one is.

    Args:
        answers: Of the parts.
    """
    found = set(answers)
    return "yes" if "yes" in found else "unknown" if "unknown" in found else "no"


def _of_value(value: Value, depth: int) -> Answer:
    if value.definition is not None:
        return worst(
            iter([_of_class(value.definition, depth), _of_calls(value.file, value.call, depth)])
        )
    return _of_calls(value.file, value.call, depth)


def _of_class(definition: Definition, depth: int) -> Answer:
    node, file = definition.node, definition.file
    if depth > _DEPTH or not isinstance(node, ast.ClassDef):
        return "unknown"
    answers: list[Answer] = []
    if not file.bases_known(node):
        answers.append("unknown")
    for base in node.bases:
        found = file.find(file.dotted(base))
        if found is not None and found.node is not node:
            answers.append(_of_class(found, depth + 1))
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and inner.attr == "training":
            answers.append("yes")
            break
    answers.append(_of_calls(file, node, depth))
    return worst(iter(answers))


def _of_calls(file: File, node: ast.AST, depth: int) -> Answer:
    return worst(
        _of_call(file, inner, depth) for inner in ast.walk(node) if isinstance(inner, ast.Call)
    )


def _of_call(file: File, call: ast.Call, depth: int) -> Answer:
    name = file.dotted(call.func)
    module, _, short = name.rpartition(".")
    if module in ("torch.nn", "torch.nn.functional", "torch"):
        return _of_layer(call, short)
    if module.startswith("torchvision.models"):
        return "unknown" if short.startswith(_PLAIN_VISION) else "yes"
    definition = file.called(call)
    if definition is not None:
        if isinstance(definition.node, ast.ClassDef):
            is_module = definition.file.derives(definition.node, MODULES)
            return _of_class(definition, depth + 1) if is_module else "no"
        if depth < _DEPTH:
            return _of_calls(definition.file, definition.node, depth + 1)
        return "unknown"
    first = name.partition(".")[0]
    if first == "self" and name.count(".") == 1:
        return "no" if file.values.of(call.func) else "unknown"
    scope = file.tree.function(call)
    given = (
        {one.arg for one in ast.walk(scope.args) if isinstance(one, ast.arg)} if scope else set()
    )
    if name in given:
        return "unknown"
    foreign = bool(file.names.imported(first)) and not name.startswith(
        ("torch.", "math.", "numpy.")
    )
    return "unknown" if foreign and short[:1].isupper() else "no"


def _of_layer(call: ast.Call, short: str) -> Answer:
    if short in _BY_ARGUMENT:
        rate = argument(call, "dropout")
        return "no" if rate is None or constant(rate) in (0, 0.0) else "yes"
    if short.startswith("InstanceNorm"):
        return "yes" if argument(call, "track_running_stats") is not None else "no"
    if short.startswith(_SWITCHED):
        off = constant(argument(call, "dropout")) == 0 or constant(argument(call, "p", 0)) == 0
        return "no" if off and "Norm" not in short else "yes"
    lower = short.lower()
    return "yes" if lower.startswith(("dropout", "batch_norm", "rrelu")) else "no"
