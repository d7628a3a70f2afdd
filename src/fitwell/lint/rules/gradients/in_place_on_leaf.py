"""A tensor that is trained is changed in place while gradients are recorded."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key, owner
from ..._rule import Found, Rule
from ..._training._gradmode import may_switch
from ..._training._leaves import held

_METHODS = (
    "add_", "sub_", "mul_", "div_", "zero_", "fill_", "copy_", "clamp_", "normal_", "uniform_",
    "clip_", "addcmul_", "addcdiv_", "lerp_",
)  # fmt: skip


def check(file: File) -> Iterator[Found]:
    """Look for ``w -= lr * w.grad`` and ``w.sub_(...)`` on leaves, outside of ``no_grad``.

    Args:
        file: The file.
    """
    if any(file.calls("torch.set_grad_enabled", "torch.autograd.set_grad_enabled")):
        return
    for node, target in _changes(file):
        inner = target.value if isinstance(target, ast.Subscript) else target
        name = key(inner)
        if not name or (isinstance(inner, ast.Attribute) and key(inner.value) != "self"):
            continue
        if held(file, inner) != "leaf" or may_switch(file, node) or not _is_own(file, inner):
            continue
        yield Found(
            node,
            f"`{name}` is a leaf that requires gradients: changing it in place raises outside of"
            " `no_grad`.",
            f"Put the change of `{name}` into `with torch.no_grad():`.",
            certain=_is_reached(file, inner),
        )


def _changes(file: File) -> Iterator[tuple[ast.AST, ast.expr]]:
    for node in file.tree.each(ast.AugAssign):
        yield node, node.target
    for call in file.method_calls(*_METHODS):
        on = owner(call)
        if on is not None:
            yield call, on
    for assign in file.tree.each(ast.Assign):
        if isinstance(assign.targets[0], ast.Subscript):
            yield assign, assign.targets[0]


def _is_own(file: File, inner: ast.expr) -> bool:
    """Say whether a name belongs to the scope of its use: other ones may be under no_grad."""
    if isinstance(inner, ast.Attribute):
        return True
    return file.values.bindings.reaching(inner).scope is file.tree.scope(inner)


def _is_reached(file: File, inner: ast.expr) -> bool:
    """Say whether a place is surely reached with gradients on, as far as callers are known."""
    function = file.tree.function(inner)
    if not isinstance(inner, ast.Attribute) or function is None or function.name == "__init__":
        return True
    sites = file.sites(function)
    return bool(sites) and not any(may_switch(site.file, site.call) for site in sites)


RULE = Rule(
    name="in-place-on-leaf",
    severity="error",
    title="A leaf is changed in place while gradients are recorded",
    why=(
        "A tensor with `requires_grad=True` that the program made itself is a leaf. `w -= ...`,"
        ' `w.add_(...)` and `w[0] = ...` on it raise "a leaf Variable that requires grad is being'
        ' used in an in-place operation", unless gradients are off.'
    ),
    fix="Update parameters in `with torch.no_grad():`, or leave that to an optimizer.",
    bad="""\
import torch

def fit(x, y):
    w = torch.zeros(3, requires_grad=True)
    for _ in range(100):
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        w -= 0.1 * w.grad
        w.grad = None
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
    source="PyTorch docs, autograd mechanics: in-place operations; learning PyTorch with examples.",
    check=check,
)
