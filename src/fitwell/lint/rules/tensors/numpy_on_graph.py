"""A tensor that requires gradients is given to numpy."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._origins import is_model_call
from ..._model._bindings import Binding
from ..._model._file import File
from ..._model._loops import is_backward
from ..._model._tree import method, owner
from ..._rule import Edit, Found, Rule, span
from ..._training._gradmode import may_switch

_KEEPS = frozenset(
    {
        "cpu", "squeeze", "view", "reshape", "flatten", "float", "double", "sum", "mean", "sigmoid",
        "softmax", "exp", "log", "cuda", "clone", "to", "unsqueeze", "permute", "transpose",
    }
)  # fmt: skip
_NUMPY = (
    "mean", "sum", "array", "asarray", "log", "exp", "sqrt", "abs", "argmax", "max", "min",
    "square",
    "isnan", "concatenate", "append", "clip", "round", "log10", "std", "average", "stack",
    "isfinite",
)  # fmt: skip
_FULL = tuple(f"numpy.{name}" for name in _NUMPY)
_PLOTS = ("matplotlib.pyplot.plot",)


def check(file: File) -> Iterator[Found]:
    """Look for `numpy()` and functions of numpy on a loss, or on the outputs that it is made of.

    Args:
        file: The file.
    """
    graph = _graph(file)
    if not graph:
        return
    for call in file.method_calls("numpy"):
        on = owner(call)
        if on is None or call.args or call.keywords or not _requires(file, on, graph):
            continue
        end = span(file, on)[1]
        yield Found(
            call,
            f"`{ast.unparse(on)}` requires gradients, and `numpy()` of such a tensor raises"
            " RuntimeError.",
            "Call `detach()` before `numpy()`.",
            edits=(Edit(end, end, ".detach()"),),
        )
    lists = set(_lists(file, graph))
    for call in file.calls(*_FULL, *_PLOTS):
        given = call.args[0] if call.args else None
        direct = given is not None and _requires(file, given, graph)
        if given is None or not (direct or _held(file, given, lists)):
            continue
        yield Found(
            call,
            f"`{ast.unparse(given)}` {'requires' if direct else 'holds tensors that require'}"
            f" gradients, and `{ast.unparse(call.func)}` cannot take that: it raises.",
            "Use the function of torch, or take the number with `item()`."
            if direct
            else "Append `loss.item()`, the number, in place of the tensor.",
        )


def _graph(file: File) -> set[Binding]:
    """Give the assignments of losses that are differentiated, and of the outputs in them."""
    found: set[Binding] = set()
    for call in file.method_calls("backward", "manual_backward"):
        on = owner(call)
        if not is_backward(call) or on is None:
            continue
        roots = [on, *call.args[:1]] if call.args else [on]
        for root in roots:
            for node in ast.walk(root):
                if isinstance(node, ast.Name):
                    found |= _outputs(file, node)
    return found


def _outputs(file: File, loss: ast.Name) -> set[Binding]:
    reaching = file.values.bindings.reaching(loss)
    if len(reaching.bindings) != 1 or reaching.rest != "nothing":
        return set()
    binding = reaching.bindings[0]
    value = binding.value
    if binding.how != "whole" or not isinstance(value, (ast.Call, ast.BinOp)):
        return set()
    if isinstance(value, ast.Call) and file.dotted(value.func).startswith("torch.tensor"):
        return set()
    found = {binding}
    for call in ast.walk(value):
        first = call.args[0] if isinstance(call, ast.Call) and call.args else None
        if not isinstance(first, ast.Name):
            continue
        inner = file.values.bindings.reaching(first)
        source = inner.bindings[0] if len(inner.bindings) == 1 else None
        if source is not None and source.how == "whole" and isinstance(source.value, ast.Call):
            asked = is_model_call(file, source.value) and inner.rest == "nothing"
            if asked and not may_switch(file, source.value):
                found.add(source)
    return found


def _requires(file: File, node: ast.expr, graph: set[Binding]) -> bool:
    """Say whether an expression certainly requires gradients."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        if isinstance(node, ast.Subscript):
            node = node.value
            continue
        on = owner(node)
        if on is None or method(node) not in _KEEPS or _casts(node):
            return False
        node = on
    if not isinstance(node, ast.Name):
        return False
    reaching = file.values.bindings.reaching(node)
    known = bool(reaching.bindings) and set(reaching.bindings) <= graph
    return known and reaching.rest == "nothing"


def _casts(call: ast.Call) -> bool:
    words = ("int", "long", "bool")
    return method(call) == "to" and any(word in ast.unparse(call) for word in words)


def _lists(file: File, graph: set[Binding]) -> Iterator[Binding]:
    """Give the lists that losses are appended to, graph and all."""
    for call in file.method_calls("append"):
        on = owner(call)
        if isinstance(on, ast.Name) and call.args and _requires(file, call.args[0], graph):
            for binding in file.values.bindings.reaching(on).bindings:
                if isinstance(binding.value, ast.List) and not binding.value.elts:
                    yield binding


def _held(file: File, node: ast.expr, lists: set[Binding]) -> bool:
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Name) or not lists:
        return False
    reaching = file.values.bindings.reaching(node)
    known = bool(reaching.bindings) and set(reaching.bindings) <= lists
    return known and reaching.rest == "nothing"


RULE = Rule(
    name="numpy-on-graph",
    severity="error",
    title="A tensor that requires gradients is given to numpy",
    why=(
        "A loss, and the outputs that it is made of, belong to the graph of the gradients. numpy"
        " knows no graph: `loss.numpy()` and `np.array(outputs)` raise RuntimeError (Can't call"
        " numpy() on Tensor that requires grad). `np.mean(loss)` raises TypeError."
    ),
    fix="Detach first, `outputs.detach().cpu().numpy()`; take one number with `loss.item()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    criterion = nn.MSELoss()
    model.train()
    history = []
    for x, y in loader:
        outputs = model(x)
        loss = criterion(outputs, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.numpy())
    return history
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    criterion = nn.MSELoss()
    model.train()
    history = []
    for x, y in loader:
        outputs = model(x)
        loss = criterion(outputs, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history
""",
    source="PyTorch docs, torch.Tensor.numpy; Hung-yi Lee 2021, PyTorch tutorial.",
    check=check,
)
