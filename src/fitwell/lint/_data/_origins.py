"""Where a value comes from: the output of a model, the batch of a loader, or made on the spot."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final, Literal

from .._model._flow import _SHAPES, FUNCTIONS
from .._model._roles import words_of
from .._model._tree import constant, key
from .._model._values import arguments_of, returns
from ._batches import loop_of

if TYPE_CHECKING:
    from .._model._bindings import Binding
    from .._model._file import File

Origin = Literal["output", "batch", "made", ""]

_MAKERS: Final = frozenset(
    {
        "tensor", "as_tensor", "from_numpy", "zeros", "ones", "full", "rand", "randn", "randint",
        "arange", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "FloatTensor",
        "LongTensor", "empty", "eye", "IntTensor", "randperm",
    }
)  # fmt: skip
_KEEPS: Final = _SHAPES | {"long", "int", "type", "detach", "clamp", "argmax", "log", "sub", "bool"}
_MODEL: Final = re.compile(
    r"^(model|net|network|classifier|critic|discriminator|generator|encoder|decoder|student|net_?[dg])$",
    re.IGNORECASE,
)
_STEPS: Final = frozenset({"training_step", "validation_step", "test_step", "predict_step"})
_LABELS: Final = frozenset(
    {"y", "label", "labels", "target", "targets", "truth", "gt", "groundtruth", "lbl", "lbls"}
)
_GUESSES: Final = frozenset(
    {
        "output", "outputs", "out", "pred", "preds", "prediction", "predictions", "logits", "hat",
        "yhat",
    }
)  # fmt: skip
_DEPTH: Final = 10


def origin(file: File, node: ast.AST | None, depth: int = 0) -> Origin:
    """Give where a value certainly comes from; empty if that is not known.

    Args:
        file: Where the expression stands.
        node: The expression.
        depth: How far it was followed.
    """
    if node is None or depth > _DEPTH:
        return ""
    if isinstance(node, ast.Call):
        return _of_call(file, node, depth + 1)
    if isinstance(node, (ast.Name, ast.Attribute)) and key(node):
        return _of_name(file, node, depth + 1)
    if isinstance(node, (ast.Subscript, ast.Await, ast.NamedExpr)):
        return origin(file, node.value, depth + 1)
    return ""


def _of_call(file: File, call: ast.Call, depth: int) -> Origin:
    if is_model_call(file, call):
        return "output"
    module, _, short = file.dotted(call.func).rpartition(".")
    if module == "torch" and short in _MAKERS:
        return "made"
    if module in ("torch", "torch.nn.functional") and (short in _KEEPS or short in FUNCTIONS):
        return origin(file, call.args[0], depth) if call.args else ""
    if short == "next" and call.args:
        inner = call.args[0]
        inner = inner.args[0] if isinstance(inner, ast.Call) and inner.args else inner
        return "batch" if file.values.is_a(inner, "loader") else ""
    definition = file.called(call)
    if definition is not None and not isinstance(definition.node, ast.ClassDef):
        return _agreed([origin(definition.file, one, depth) for one in returns(definition)])
    if isinstance(call.func, ast.Attribute):
        if call.func.attr in _KEEPS or call.func.attr in FUNCTIONS:
            return origin(file, call.func.value, depth)
    return ""


def is_model_call(file: File, call: ast.Call) -> bool:
    """Say whether a call asks a model, or a layer of one, for its output.

    Args:
        file: Where the call stands.
        call: The call.
    """
    func = call.func
    if isinstance(func, ast.Attribute) and func.attr == "forward":
        func = func.value
    values = file.values.of(func)
    if values:
        return all(value.kind == "module" for value in values)
    if key(func) == "self":
        home = file.tree.inside(call, ast.ClassDef)
        return home in file.modules
    return bool(_MODEL.match(key(func).rpartition(".")[2])) and file.called(call) is None


def _of_name(file: File, node: ast.AST, depth: int) -> Origin:
    reaching = file.values.bindings.reaching(node)
    found = [_of_binding(file, binding, key(node), depth) for binding in reaching.bindings]
    if reaching.rest == "parameter":
        function = reaching.scope
        name = function.name if isinstance(function, ast.FunctionDef) else ""
        if name in _STEPS and key(node) == "batch":
            found.append("batch")
        else:
            given = list(arguments_of(file, function, key(node)))
            found += [origin(there, value, depth) for there, value in given] or [""]
    elif reaching.rest == "outside" and isinstance(node, ast.Attribute):
        inner = origin(file, node.value, depth)
        return inner if inner == "batch" else ""
    return _agreed(found)


def _of_binding(file: File, binding: Binding, name: str, depth: int) -> Origin:
    if isinstance(binding.statement, (ast.For, ast.AsyncFor)):
        loop = loop_of(file, binding.statement)
        return "batch" if loop is not None and name in loop.batch else ""
    if binding.how == "each" or binding.value is None:
        return ""
    return origin(file, binding.value, depth)


def _agreed(found: list[Origin]) -> Origin:
    return found[0] if found and len(set(found)) == 1 else ""


def says_labels(node: ast.AST | None) -> bool:
    """Say whether a name says that it holds labels, and not a model's guess of them.

    Args:
        node: An expression.
    """
    words = set(words_of(_name(node)))
    return bool(words & _LABELS) and not words & _GUESSES


def says_output(node: ast.AST | None) -> bool:
    """Say whether a name says that it holds what a model gave.

    Args:
        node: An expression.
    """
    return bool(set(words_of(_name(node))) & _GUESSES)


def _name(node: ast.AST | None) -> str:
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr not in _KEEPS:
            return ""
        node = node.func.value
    if isinstance(node, ast.Subscript):
        inner = constant(node.slice)
        return inner if isinstance(inner, str) else _name(node.value)
    return key(node).rpartition(".")[2]
