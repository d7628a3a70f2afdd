"""``.data``, which reads and writes behind the back of autograd."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import constant, key, method, owner
from ..._rule import Found, Rule
from ..._training._graph import Graph
from ..._training._roots import roots

_TENSORS = ("weight", "bias", "grad")
_LEAVING = {"numpy", "tolist", "item"}


def check(file: File) -> Iterator[Found]:
    """Look for ``loss.data[0]``, and for ``.data`` of parameters, outputs and losses.

    Args:
        file: The file.
    """
    trained = {key(root) for _, root in roots(file)} - {""}
    for node in file.tree.each(ast.Attribute):
        if node.attr != "data":
            continue
        above = file.tree.parent(node)
        zero = isinstance(above, ast.Subscript) and above.value is node
        if zero and isinstance(above, ast.Subscript) and constant(above.slice) == 0:
            if _is_scalar(file, node.value, trained):
                name = ast.unparse(node.value)
                yield Found(
                    above,
                    f"`{name}` has no dimensions, so `{name}.data[0]` raises.",
                    f"Write `{name}.item()`.",
                )
                continue
        if _is_tensor(file, node.value) and not _is_harmless(file, node):
            yield Found(
                node,
                f"`{ast.unparse(node)}` shares its values with the tensor, and autograd does not"
                " notice what is done to them.",
                "Use `detach()` to read, and `with torch.no_grad():` to write.",
                certain=False,
            )


def _is_scalar(file: File, node: ast.expr, trained: set[str]) -> bool:
    """Say whether an expression is a loss: without dimensions, since `backward` is called on it."""
    if key(node) in trained:
        return "loss" in key(node).lower() or len(trained) == 1
    call = node
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        values = [one.value for one in bindings if one.how == "whole" and one.value is not None]
        if len(values) != 1 or len(bindings) != 1:
            return False
        call = values[0]
    made = file.made(call.func, "loss") if isinstance(call, ast.Call) else None
    if made is None or made.definition is not None:
        return False
    return not any(keyword.arg in ("reduction", "reduce") for keyword in made.call.keywords)


def _is_harmless(file: File, node: ast.Attribute) -> bool:
    """Say whether it is the old way to write what no graph depends on.

    Parameters and gradients that are set, clipped or copied between steps, and values that leave
    torch at once.
    """
    above = file.tree.parent(node)
    if _LEAVING & set(_chain(file, above)):
        return True
    of_parameter = isinstance(node.value, ast.Attribute) or _is_from_parameters(file, node.value)
    function = file.tree.function(node)
    return of_parameter and (function is None or function.name != "forward")


def _chain(file: File, node: ast.AST | None) -> Iterator[str]:
    """Give the names of the methods that are called one after another on a value."""
    above = node
    while isinstance(above, (ast.Attribute, ast.Call)):
        if isinstance(above, ast.Attribute):
            yield above.attr
        above = file.tree.parent(above)


def _is_tensor(file: File, node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute) and node.attr in _TENSORS:
        return True
    if _is_from_parameters(file, node):
        return True
    return Graph(file).of(node).state in ("live", "cut")


def _is_from_parameters(file: File, node: ast.expr) -> bool:
    """Say whether a name goes through the parameters of a model."""
    if not isinstance(node, ast.Name):
        return False
    bindings = file.values.bindings.reaching(node).bindings
    return bool(bindings) and all(
        one.how == "each" and _gives_parameters(one.value, one.index) for one in bindings
    )


def _gives_parameters(value: ast.expr | None, index: int | None) -> bool:
    if not isinstance(value, ast.Call) or owner(value) is None:
        return False
    if method(value) == "named_parameters":
        return index == 1
    return method(value) == "parameters" and index is None


RULE = Rule(
    name="data-attribute",
    severity="error",
    title=".data goes behind the back of autograd",
    why=(
        "`loss.data[0]` raises since PyTorch 0.5: a loss has no dimensions. Elsewhere `.data`"
        " works, but what is changed through it is not seen by autograd: a value that `backward()`"
        " needs may be overwritten, and gradients are then wrong without an error. `detach()`"
        " shares the values too, but there such a change is noticed and raises."
    ),
    fix=(
        "Use `item()` for a number, `detach()` for a tensor without a graph, `no_grad` for changes."
    ),
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        print(loss.data[0])
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        print(loss.item())
""",
    source="PyTorch 0.4 migration guide: what about `.data`?.",
    check=check,
)
