"""A tensor that is to be trained requires no gradient, or is no leaf."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, key
from ..._rule import Found, Rule
from ..._training._leaves import has_attribute, held
from ..._training._optimizers import OPTIMIZERS

_SET = ("requires_grad", "requires_grad_", "retain_grad")


def check(file: File) -> Iterator[Found]:
    """Look for plain tensors in an optimizer, and for ``w.grad`` of tensors that never get one.

    Args:
        file: The file.
    """
    for use, place in (*_optimized(file), *_asked_for_grad(file)):
        name = key(use)
        what = held(file, use)
        if what not in ("plain", "result") or has_attribute(file, name, *_SET):
            continue
        if _is_given_gradients(file, name):
            continue
        message = (
            f"`{name}` is made without `requires_grad=True`: no gradient is ever computed for it."
            if what == "plain"
            else f"`{name}` is calculated from the tensor that requires gradients, so it is no leaf"
            " and its `.grad` stays None."
        )
        yield Found(place, message, f"Make `{name}` first, then call `{name}.requires_grad_()`.")


def _optimized(file: File) -> Iterator[tuple[ast.expr, ast.AST]]:
    """Give the names in the lists that optimizers get."""
    for call in file.calls(*OPTIMIZERS):
        given = argument(call, "params", 0)
        if isinstance(given, ast.Name):
            bindings = file.values.bindings.reaching(given).bindings
            given = bindings[0].value if len(bindings) == 1 else None
        for item in given.elts if isinstance(given, (ast.List, ast.Tuple)) else []:
            if isinstance(item, ast.Dict):
                for name, value in zip(item.keys, item.values, strict=True):
                    if isinstance(name, ast.Constant) and name.value == "params":
                        inner = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
                        yield from ((one, one) for one in inner if key(one))
            elif key(item):
                yield item, item


def _asked_for_grad(file: File) -> Iterator[tuple[ast.expr, ast.AST]]:
    """Give the names whose gradients are used in an update."""
    if not any(file.method_calls("backward")):
        return
    for node in file.tree.each(ast.Attribute):
        if node.attr != "grad" or not isinstance(node.value, ast.Name):
            continue
        parent = file.tree.parent(node)
        if isinstance(parent, ast.Attribute) and parent.attr in ("data", "zero_"):
            yield node.value, node
        elif isinstance(parent, (ast.BinOp, ast.AugAssign)):
            yield node.value, node


def _is_given_gradients(file: File, name: str) -> bool:
    """Say whether gradients are written by hand."""
    for use in file.uses(name):
        part = file.tree.parent(use)
        if isinstance(part, ast.Attribute) and part.attr == "grad":
            above = file.tree.parent(part)
            if isinstance(part.ctx, ast.Store) and isinstance(above, ast.Assign):
                if not (isinstance(above.value, ast.Constant) and above.value.value is None):
                    return True
    return False


RULE = Rule(
    name="requires-grad-forgotten",
    severity="error",
    title="A tensor that is to be trained requires no gradient",
    why=(
        "`torch.zeros(3)` requires no gradient. An optimizer takes it and passes over it at each"
        " step, since its `.grad` is None: it keeps its first value, and if something else has a"
        " graph nothing is reported. `torch.randn(3, requires_grad=True) * 0.01` is no leaf: its"
        " `.grad` stays None too, and an optimizer refuses it."
    ),
    fix="Make the tensor with its values first, then call `requires_grad_()` on it.",
    bad="""\
import torch

def fit(x, y):
    w = torch.zeros(3, requires_grad=True)
    b = torch.zeros(1)
    optimizer = torch.optim.SGD([w, b], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    return w, b
""",
    good="""\
import torch

def fit(x, y):
    w = torch.zeros(3, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([w, b], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    return w, b
""",
    source="PyTorch docs, autograd mechanics: setting requires_grad; `Tensor.is_leaf`.",
    check=check,
)
