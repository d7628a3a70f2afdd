"""`model.forward(x)` in the place of `model(x)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key, owner
from ..._rule import Edit, Found, Rule, span

_MODULE_METHODS = ("parameters", "state_dict", "load_state_dict", "named_parameters")


def check(file: File) -> Iterator[Found]:
    """Look for calls of `forward` on what is certainly a module.

    Args:
        file: The file.
    """
    for call in file.method_calls("forward"):
        on = owner(call)
        if on is None or not key(on) or file.tree.function(call) in _wrappers(file):
            continue
        if key(on) == "self" or not _is_module(file, on):
            continue
        (line, column), (_, end) = span(file, call.func)[1], span(file, on)
        yield Found(
            call,
            f"`{key(on)}.forward(...)` passes over the hooks that `{key(on)}(...)` runs.",
            f"Call `{key(on)}(...)`.",
            edits=(Edit(end, (line, column), ""),),
        )


def _is_module(file: File, on: ast.expr) -> bool:
    values = file.values.of(on)
    for value in values:
        if value.kind not in ("module", "loss"):
            return False
        owner_of = value.definition
        if owner_of is not None and isinstance(owner_of.node, ast.ClassDef):
            if "__call__" in owner_of.file.methods(owner_of.node):
                return False
    if values:
        return not _replaced(file, on)
    scope = file.tree.scope(on)
    for call in file.method_calls(*_MODULE_METHODS):
        if key(owner(call)) == key(on) and file.tree.scope(call) is scope:
            parent = file.tree.parent(call)
            if isinstance(parent, ast.Call) and file.made(parent, "optimizer") is not None:
                return not _replaced(file, on)
    return False


def _replaced(file: File, on: ast.expr) -> bool:
    """Say whether the program puts a function of its own in the place of `forward`."""
    return any(
        isinstance(one.ctx, ast.Store) and one.attr == "forward" and key(one.value) == key(on)
        for one in file.tree.each(ast.Attribute)
    )


def _wrappers(file: File) -> set[ast.AST | None]:
    """Give the functions that are compiled, traced or transformed: no hooks are wanted there."""
    found: set[ast.AST | None] = set()
    for function in file.tree.each(ast.FunctionDef):
        marks = [file.dotted(getattr(one, "func", one)) for one in function.decorator_list]
        if any(mark.startswith(("torch.jit", "torch.func", "functorch", "jax")) for mark in marks):
            found.add(function)
    return found


RULE = Rule(
    name="forward-called-directly",
    severity="warning",
    title="`forward` is called in the place of the module",
    why=(
        "`model(x)` runs the hooks of the module around `forward`; `model.forward(x)` does"
        " not. So forward and backward hooks (feature extraction, `nn.utils.spectral_norm`,"
        " pruning, profilers) stay silent, and a module that was compiled in place by"
        " `model.compile()` runs uncompiled."
    ),
    fix="Call the module: `model(x)`.",
    bad="""\
import torch
from torch import nn

def train(loader):
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model.forward(x), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(loader):
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.nn.Module.forward (note on hooks).",
    check=check,
)
