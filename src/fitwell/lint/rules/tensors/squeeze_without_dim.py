"""A squeeze that drops the batch dimension of a batch of one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._origins import is_model_call
from ..._model._file import File
from ..._model._loops import Loop
from ..._model._tree import argument, constant, key, owner
from ..._model._values import Value
from ..._rule import Found, Rule
from ..._tensors._tensor_batches import batch_of, loop_around

_KEEPS = frozenset(
    {
        "float", "long", "to", "cuda", "cpu", "detach", "numpy", "sigmoid", "relu", "tanh",
        "double", "half", "contiguous", "clone", "softmax", "log_softmax", "type", "int", "view_as",
    }
)  # fmt: skip
_POOLS = frozenset(
    {
        "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
        "AdaptiveMaxPool2d", "Linear", "Conv2d", "Conv1d", "AvgPool2d", "MaxPool2d",
    }
)  # fmt: skip


def check(file: File) -> Iterator[Found]:
    """Look for `squeeze()` of a batch in a loop over batches, or in `forward`.

    Args:
        file: The file.
    """
    calls = [(call, owner(call)) for call in file.method_calls("squeeze") if not call.args]
    calls = [one for one in calls if file.dotted(one[0].func) != "torch.squeeze"]
    calls += [(c, c.args[0]) for c in file.calls("torch.squeeze") if len(c.args) == 1]
    for call, on in calls:
        if call.keywords or on is None or file.dotted(on) in ("torch", "numpy"):
            continue
        certain = _certainty(file, call, on)
        if certain is None:
            continue
        yield Found(
            call,
            f"`squeeze()` of `{ast.unparse(on)}` drops every dimension of size one: of a last batch"
            " with one example, the batch dimension too.",
            "Name the dimension, such as `squeeze(1)` or `squeeze(-1)`.",
            certain=certain,
        )


def _certainty(file: File, call: ast.Call, on: ast.expr) -> bool | None:
    """Say whether a batch is certainly squeezed; None if it may well be something else."""
    source = _source(file, on)
    if isinstance(source, ast.Name):
        inner = batch_of(file, source)
        return None if inner is None or _never_one(file, inner) else False
    if not isinstance(source, ast.Call):
        return None
    loop = loop_around(file, call)
    home = file.tree.function(call)
    if loop is not None:
        if not is_model_call(file, source) or _never_one(file, loop):
            return None
        if not any(batch_of(file, one) is not None for one in source.args):
            return None  # perhaps an example of the batch
        return loop.trains or file.values.is_a(loop.loader, "loader")
    in_forward = home is not None and home.name == "forward"
    if in_forward and home is not None and file.tree.parent(home) in file.modules:
        layers = file.values.of(source.func)
        return True if layers and all(_keeps_batch(one) for one in layers) else None
    return None


def _keeps_batch(layer: Value) -> bool:
    """Say whether a layer, or the last one of several with weights, gives a whole batch."""
    if layer.name == "torch.nn.Sequential":
        for one in reversed(layer.call.args):
            inner = layer.file.values.of(one)
            if not inner or any(value.kind != "module" for value in inner):
                return False
            if any(value.short in _POOLS or value.short == "Sequential" for value in inner):
                return all(_keeps_batch(value) for value in inner)
        return False
    return layer.name.startswith("torch.nn.") and layer.short in _POOLS


def _source(file: File, node: ast.expr, depth: int = 0) -> ast.expr | None:
    """Give the call or the name that a tensor comes from, before what keeps its shape."""
    if depth > 6:
        return None
    if isinstance(node, ast.Call):
        name = file.dotted(node.func)
        if name.startswith("torch.") and name.rpartition(".")[2] in _KEEPS and node.args:
            return _source(file, node.args[0], depth + 1)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _KEEPS:
            if not file.values.of(node.func):
                return _source(file, node.func.value, depth + 1)
        return node
    if isinstance(node, ast.Name):
        if batch_of(file, node) is not None:
            return node
        reaching = file.values.bindings.reaching(node)
        if len(reaching.bindings) == 1 and reaching.rest == "nothing":
            binding = reaching.bindings[0]
            if binding.how == "whole" and isinstance(binding.value, (ast.Call, ast.Name)):
                return _source(file, binding.value, depth + 1)
    return None


def _never_one(file: File, loop: Loop) -> bool:
    """Say whether batches never have one example, or always: then it is meant."""
    loader = file.made(loop.loader, "loader")
    if loader is None:
        return False
    if constant(argument(loader.call, "drop_last")) is True:
        return True
    if argument(loader.call, "batch_sampler") is not None:
        return False
    size = argument(loader.call, "batch_size", 1)
    return size is None or constant(size) == 1 or _is_all(size)


def _is_all(size: ast.expr) -> bool:
    return isinstance(size, ast.Call) and key(size.func) == "len"


RULE = Rule(
    name="squeeze-without-dim",
    severity="warning",
    title="`squeeze()` without a dimension on a batch",
    why=(
        "`squeeze()` drops all dimensions of size one. The output `(32, 1)` becomes `(32,)`, as"
        " meant; the `(1, 1)` of a last batch with one example becomes `()`. A loss that wants"
        " equal shapes then raises, one that broadcasts goes on, and `extend` of a list fails:"
        " only for some sizes of the data, after most of an epoch."
    ),
    fix="Name the dimension: `squeeze(1)` or `squeeze(-1)`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.BCEWithLogitsLoss()
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        logits = model(x).squeeze()
        loss = criterion(logits, y.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.BCEWithLogitsLoss()
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        logits = model(x).squeeze(1)
        loss = criterion(logits, y.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.squeeze: the warning about a batch dimension of size one.",
    check=check,
)
