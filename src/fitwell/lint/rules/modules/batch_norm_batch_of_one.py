"""Batch normalization that is trained on batches of one example."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._classes import LIGHTNING
from ..._model._file import File
from ..._model._project import Definition
from ..._model._tree import argument, has_stars, key, method
from ..._model._values import Value, returns
from ..._rule import Found, Rule
from ..._tensors._layers import own_method
from ..._tensors._sizes import number

_NORMS = ("torch.nn.BatchNorm1d", "torch.nn.BatchNorm2d")
_MERGES = ("squeeze", "view", "reshape", "flatten", "repeat", "unfold")
_DEPTH = 4


def check(file: File) -> Iterator[Found]:
    """Look for loops that train a network with batch norm on a loader of single examples.

    Args:
        file: The file.
    """
    for loop in file.loops:
        loaders = file.values.of(loop.loader)
        if not loop.trains or not loaders or not all(_of_one(one) for one in loaders):
            continue
        if _by_hand(file, loop.node) or _frozen(file):
            continue
        norm = next(filter(None, (_norm_of(one) for one in _models(file, loop.node))), "")
        if norm:
            optimizers = {event.on for event in file.events(loop.node) if event.what == "step"}
            yield _found(loop.node.iter, norm, certain=len(optimizers) < 2)
    for node in file.modules:
        loader = own_method(node, "train_dataloader")
        if loader is None or not file.derives(node, LIGHTNING) or _frozen(file):
            continue
        given = [file.made(one, "loader") for one in returns(Definition(file, loader))]
        norm = _norm_in(Definition(file, node), 0)
        if norm and given and all(one is not None and _of_one(one) for one in given):
            yield _found(given[0].call if given[0] is not None else loader, norm, certain=True)


def _found(node: ast.AST, norm: str, *, certain: bool) -> Found:
    return Found(
        node,
        f"The batches of this training have one example, and the network has `{norm}`.",
        "Give the loader a `batch_size` of 2 or more, or use `nn.GroupNorm` or `nn.LayerNorm`.",
        certain=certain,
    )


def _of_one(value: Value) -> bool:
    """Say whether a loader certainly gives one example at a time."""
    call = value.call
    if value.name != "torch.utils.data.DataLoader" or has_stars(call):
        return False
    if argument(call, "batch_sampler") is not None or argument(call, "collate_fn") is not None:
        return False
    size = argument(call, "batch_size", 1)
    return size is None or number(value.file, size) == 1


def _models(file: File, loop: ast.AST) -> Iterator[Value]:
    """Give what is applied in a loop, or in a function that is called there."""
    for call in file.tree.own_calls(loop):
        yield from (one for one in file.values.of(call.func) if one.kind == "module")
        found = file.called(call)
        if found is not None and isinstance(found.node, ast.FunctionDef):
            for inner in found.file.tree.own_calls(found.node):
                known = found.file.values.of(inner.func)
                yield from (one for one in known if one.kind == "module")


def _norm_of(value: Value, depth: int = 0) -> str:
    """Give the name of a batch norm in a module, if there is one; one of images last."""
    if depth > _DEPTH:
        return ""
    if value.name in _NORMS:
        return value.short
    if value.definition is not None:
        return _norm_in(value.definition, depth + 1)
    if value.name == "torch.nn.Sequential":
        for one in value.call.args:
            for inner in value.file.values.of(one):
                found = _norm_of(inner, depth + 1)
                if found:
                    return found
    return ""


def _norm_in(definition: Definition, depth: int) -> str:
    if depth > _DEPTH or not isinstance(definition.node, ast.ClassDef):
        return ""
    names: set[str] = set()
    for file, function in definition.file.methods(definition.node).values():
        for call in file.tree.own_calls(function):
            if file.dotted(call.func) in _NORMS:
                names.add(file.dotted(call.func).rpartition(".")[2])
            elif function.name == "__init__":
                made = file.made(call, "module")
                inner = made.definition if made is not None and made.call is call else None
                if inner is not None and inner != definition:
                    names.add(_norm_in(inner, depth + 1))
    return min(filter(None, names), default="")


def _by_hand(file: File, loop: ast.For | ast.AsyncFor) -> bool:
    """Say whether a batch is taken apart or put together: its first dimension may hold more."""
    names = {one.id for one in ast.walk(loop.target) if isinstance(one, ast.Name)}
    for node in file.tree.own(loop):
        if isinstance(node, ast.Call) and method(node) in _MERGES:
            if isinstance(node.func, ast.Attribute) and key(node.func.value) in names:
                return True
        if isinstance(node, ast.Subscript) and key(node.value) in names:
            return True
    return False


def _frozen(file: File) -> bool:
    """Say whether the program asks modules for being batch norms, to treat them on their own."""
    return any(
        "BatchNorm" in ast.unparse(call.args[1])
        for one in file.project.files
        for call in one.calls("isinstance")
        if len(call.args) == 2
    )


RULE = Rule(
    name="batch-norm-batch-of-one",
    severity="warning",
    title="Batch normalization is trained on batches of one example",
    why=(
        "Batch norm subtracts the mean of the batch. Of one example `nn.BatchNorm1d` raises"
        ' "Expected more than 1 value per channel when training"; `nn.BatchNorm2d` takes the'
        " statistics of one image, so it removes what distinguishes that image from others,"
        " and the averages that it uses in evaluation do not fit. The default `batch_size` of"
        " a `DataLoader` is 1."
    ),
    fix="Train with larger batches, or with a norm that does not depend on the batch.",
    bad="""\
import torch
from torch import nn
from torch.utils.data import DataLoader

def train(data):
    loader = DataLoader(data, batch_size=1, shuffle=True)
    body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
    model = nn.Sequential(body, nn.Flatten(), nn.Linear(14400, 4))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn
from torch.utils.data import DataLoader

def train(data):
    loader = DataLoader(data, batch_size=32, shuffle=True)
    body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
    model = nn.Sequential(body, nn.Flatten(), nn.Linear(14400, 4))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.nn.BatchNorm1d and torch.utils.data.DataLoader.",
    check=check,
)
