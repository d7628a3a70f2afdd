"""A Python loop over the examples of a batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._origins import is_model_call
from ..._model._file import File
from ..._model._loops import LOOPS, is_backward
from ..._model._tree import constant, key
from ..._rule import Found, Rule
from ..._tensors._tensor_batches import batch_of, is_batch_tensor, loop_around

_TIME = frozenset({"t", "step", "time", "ts", "timestep", "k", "layer", "head", "epoch"})


def check(file: File) -> Iterator[Found]:
    """Look for loops over a batch that ask the model, or compute, for one example at a time.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.For):
        taken = _examples(file, node)
        if not taken:
            continue
        batch, example = taken
        if _is_recurrent(node):
            continue
        asks = [call for call in file.tree.own_calls(node) if _asks(file, call, batch, example)]
        around = loop_around(file, node)
        differentiates = any(is_backward(call) for call in file.tree.own_calls(node))
        if asks:
            certain = around is not None and around.trains and not differentiates
            yield Found(
                node,
                f"`{ast.unparse(asks[0].func)}` is asked for one example of `{batch}` at a time.",
                f"Give it the whole batch: `{ast.unparse(asks[0].func)}({batch})`.",
                certain=certain and around is not None and is_batch_tensor_name(file, node, batch),
            )
        elif around is not None and not differentiates and _compares(node, batch, example):
            yield Found(
                node,
                f"A Python loop compares the examples of `{batch}` one by one.",
                "Compare whole tensors: `(pred == y).sum()`.",
                certain=False,
            )


def _examples(file: File, node: ast.For) -> tuple[str, str] | None:
    """Give the batch that a loop goes over, and the name of the number, or of the example."""
    call = node.iter
    if isinstance(call, ast.Name) and isinstance(node.target, ast.Name):
        return (call.id, node.target.id) if batch_of(file, call) is not None else None
    if not isinstance(call, ast.Call) or not call.args:
        return None
    if key(call.func) == "zip" and isinstance(node.target, ast.Tuple):
        for one, name in zip(call.args, node.target.elts, strict=False):
            if isinstance(one, ast.Name) and batch_of(file, one) is not None and key(name):
                return one.id, key(name)
        return None
    if key(call.func) != "range" or not isinstance(node.target, ast.Name) or len(call.args) != 1:
        return None
    batch = _counted(file, call.args[0])
    if batch is None or node.target.id.lower() in _TIME:
        return None
    in_forward = _is_input(file, batch)
    if batch_of(file, batch) is None and not in_forward:
        return None
    return key(batch), node.target.id


def is_batch_tensor_name(file: File, node: ast.For, name: str) -> bool:
    """Say whether a name around a loop holds a tensor of a batch.

    Args:
        file: The file.
        node: The loop over it.
        name: The name.
    """
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and one.id == name and is_batch_tensor(file, one):
            return True
    return False


def _counted(file: File, node: ast.expr, depth: int = 0) -> ast.Name | None:
    """Give the tensor whose first size a number is."""
    found: ast.expr | None = None
    if isinstance(node, ast.Call):
        if key(node.func) == "len" and len(node.args) == 1:
            found = node.args[0]
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "size":
            found = node.func.value if node.args and constant(node.args[0]) == 0 else None
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
        if node.value.attr == "shape" and constant(node.slice) == 0:
            found = node.value.value
    elif isinstance(node, ast.Name) and depth == 0:
        bindings = file.values.bindings.reaching(node).bindings
        if len(bindings) == 1 and bindings[0].value is not None:
            if bindings[0].how == "whole":
                return _counted(file, bindings[0].value, 1)
    return found if isinstance(found, ast.Name) else None


def _is_input(file: File, node: ast.Name) -> bool:
    """Say whether a name is the first input of `forward`."""
    function = file.tree.function(node)
    if function is None or function.name != "forward":
        return False
    if file.tree.parent(function) not in file.modules:
        return False
    names = [one.arg for one in function.args.args[1:2]]
    reaching = file.values.bindings.reaching(node)
    return node.id in names and reaching.rest == "parameter" and not reaching.bindings


def _is_recurrent(node: ast.For) -> bool:
    """Say whether a loop carries a state from one turn to the next."""
    own = {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
    for one in ast.walk(node):
        if isinstance(one, ast.Assign):
            given = {n.id for n in ast.walk(one.value) if isinstance(n, ast.Name)}
            taken = {n.id for t in one.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            if given & taken - own:
                return True
    return False


def _asks(file: File, call: ast.Call, batch: str, example: str) -> bool:
    """Say whether a model is asked for one example."""
    if len(call.args) != 1 or not is_model_call(file, call):
        return False
    inner = call.args[0]
    while isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
        inner = inner.func.value
    return _is_example(inner, batch, example)


def _is_example(node: ast.expr, batch: str, example: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == example
    if not isinstance(node, ast.Subscript) or key(node.value) != batch:
        return False
    part = node.slice
    if isinstance(part, ast.Slice):
        return key(part.lower) == example
    return key(part) == example


def _compares(node: ast.For, batch: str, example: str) -> bool:
    if any(isinstance(one, LOOPS) for one in ast.walk(node) if one is not node):
        return False
    for one in ast.walk(node):
        if isinstance(one, ast.Compare) and isinstance(one.ops[0], ast.Eq):
            if any(_is_example(side, batch, example) for side in (one.left, one.comparators[0])):
                return True
    return False


RULE = Rule(
    name="python-loop-over-batch",
    severity="warning",
    title="A Python loop over the examples of a batch",
    why=(
        "A layer takes a whole batch at once: one matrix product instead of many small ones. A"
        " Python loop that asks the model for one example at a time runs ten to a hundred times"
        " slower, and batch normalization then sees batches of one."
    ),
    fix="Give the model the whole batch; compare and add up whole tensors.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        logits = []
        for i in range(x.size(0)):
            logits.append(model(x[i].unsqueeze(0)))
        loss = criterion(torch.cat(logits), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, performance tuning guide; Hung-yi Lee 2021: why batches run in parallel.",
    check=check,
)
