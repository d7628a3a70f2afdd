"""An update by hand that replaces the leaf by a result."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._leaves import has_attribute, leaf

_LOOPS = (ast.For, ast.While)


def check(file: File) -> Iterator[Found]:
    """Look for ``w = w - lr * w.grad`` in a loop where ``w`` is not made a leaf again.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Assign):
        target = node.targets[0]
        if not (isinstance(target, ast.Name) and isinstance(node.value, ast.BinOp)):
            continue
        name = target.id
        parts = {key(part) for part in ast.walk(node.value)}
        if f"{name}.grad" not in parts and f"{name}.grad.data" not in parts:
            continue
        loop = file.tree.inside(node, *_LOOPS)
        if loop is None or len(node.targets) > 1 or not _comes_again(file, node, loop):
            continue
        if has_attribute(file, name, "requires_grad", "requires_grad_", "retain_grad"):
            continue
        others = file.values.bindings.everywhere(file.tree.scope(node), name)
        made = {leaf(file, one.value) for one in others if one.statement is not node}
        inside = any(
            file.tree.holds(loop, one.statement) for one in others if one.statement is not node
        )
        if made == {"leaf"} and not inside:
            yield Found(
                node,
                f"`{name}` becomes the result of a calculation here, no leaf any more: from the"
                f" next step on `{name}.grad` is None.",
                f"Write `with torch.no_grad():` and change `{name}` in place.",
            )


def _comes_again(file: File, node: ast.AST, loop: ast.AST) -> bool:
    if not any(event.what == "backward" for event in file.events(loop)):
        return False
    return not any(isinstance(one, (ast.Break, ast.Return)) for one in file.tree.own(loop))


RULE = Rule(
    name="update-makes-new-tensor",
    severity="error",
    title="An update by hand makes a new tensor in the place of the parameter",
    why=(
        "`w = w - lr * w.grad` binds the name to a result: it is no leaf, so the next `backward()`"
        " leaves its `.grad` at None and the second step raises. Under `no_grad` the result"
        " requires no gradient at all, and the next `backward()` raises."
    ),
    fix="Change the tensor in place under `torch.no_grad()`, or use an optimizer.",
    bad="""\
import torch

def fit(x, y):
    w = torch.zeros(3, requires_grad=True)
    for _ in range(100):
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        w = w - 0.1 * w.grad
    return w
""",
    good="""\
import torch

def fit(x, y):
    w = torch.zeros(3, requires_grad=True)
    for _ in range(100):
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
    return w
""",
    source="PyTorch docs, `Tensor.is_leaf` and `Tensor.grad`.",
    check=check,
)
