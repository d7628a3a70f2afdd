"""A generator of parameters that is used up, and then used again."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._bindings import Binding
from ..._model._file import File
from ..._model._tree import SCOPES, key, method
from ..._rule import Edit, Found, Rule, span

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_GIVES = ("parameters", "named_parameters", "children", "modules", "named_modules", "buffers")
_FUNCTIONS = frozenset({"filter", "map", "zip", "itertools.chain", "itertools.chain.from_iterable"})


def check(file: File) -> Iterator[Found]:
    """Look for ``params = model.parameters()`` that is gone through more than once.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Assign):
        name = key(node.targets[0])
        if len(node.targets) > 1 or not name or not _is_generator(file, node.value):
            continue
        scope = _scope(file, node, name)
        bindings = file.values.bindings.everywhere(scope, name)
        if len(bindings) != 1 or any(_is_shared(file, use, scope) for use in file.uses(name)):
            continue
        uses = [use for use in _used_up(file, name, scope, bindings[0])]
        again = _again(file, node, uses)
        if again is not None:
            start, end = span(file, node.value)
            yield Found(
                again,
                f"`{name}` is a generator and used up by then: there is nothing left to go"
                f" through.",
                f"Keep a list: `{name} = list(...)`.",
                edits=(Edit(start, start, "list("), Edit(end, end, ")")),
            )


def _is_generator(file: File, value: ast.expr) -> bool:
    """Say whether an expression is a generator over parameters."""
    if isinstance(value, ast.GeneratorExp):
        return _is_generator(file, value.generators[0].iter)
    if not isinstance(value, ast.Call):
        return False
    if method(value) in _GIVES and not file.dotted(value.func).startswith("torch."):
        definition = file.called(value)
        return definition is None
    if file.dotted(value.func) in _FUNCTIONS:
        return any(_is_generator(file, argument) for argument in value.args)
    return False


def _scope(file: File, node: ast.AST, name: str) -> ast.AST:
    home = file.tree.inside(node, ast.ClassDef) if name.startswith("self.") else None
    return home or file.tree.scope(node)


def _is_shared(file: File, use: ast.expr, scope: ast.AST) -> bool:
    """Say whether a name is used in another function: whether that runs first is not known."""
    if isinstance(scope, ast.ClassDef):
        return False
    return file.tree.scope(use) is not scope and file.tree.holds(scope, use)


def _used_up(file: File, name: str, scope: ast.AST, binding: Binding) -> list[ast.expr]:
    """Give the uses that go through all of it, in the order of the text."""
    found = []
    for use in file.uses(name):
        if isinstance(scope, ast.ClassDef):
            if file.tree.inside(use, ast.ClassDef) is not scope:
                continue
        elif file.tree.scope(use) is not scope:
            continue
        if file.tree.place(use) > file.tree.place(binding.statement) and _goes_through(file, use):
            found.append(use)
    return found


def _goes_through(file: File, use: ast.expr) -> bool:
    parent = file.tree.parent(use)
    if isinstance(parent, ast.keyword):
        parent = file.tree.parent(parent)
    if isinstance(parent, ast.Call) and parent.func is not use:
        name = file.dotted(parent.func)
        if file.called(parent) is not None or name in ("next", "iter", "print", "enumerate", "zip"):
            return False
        known = name.startswith(("torch.optim.", "torch.nn.utils.")) or method(parent).startswith(
            "clip"
        )
        return known or name in ("list", "sum", "tuple", "sorted", "set")
    if isinstance(parent, ast.For) and parent.iter is use:
        return not any(isinstance(one, (ast.Break, ast.Return)) for one in file.tree.own(parent))
    return isinstance(parent, ast.comprehension) and parent.iter is use


def _again(file: File, node: ast.Assign, uses: list[ast.expr]) -> ast.expr | None:
    """Give the first use that finds nothing left."""
    for place, use in enumerate(uses):
        if any(_comes_before(file, node, first, use) for first in uses[:place]):
            return use
    for use in uses:
        for loop in file.tree.above(use):
            if isinstance(loop, SCOPES):
                break
            is_iter = isinstance(loop, ast.For) and file.tree.holds(loop.iter, use)
            if isinstance(loop, _LOOPS) and not is_iter and not file.tree.holds(loop, node):
                if file.tree.scope(loop) is file.tree.scope(node):
                    return use
    return None


def _comes_before(file: File, node: ast.Assign, first: ast.expr, use: ast.expr) -> bool:
    """Say whether one use surely happens before another, and after the assignment."""
    tree, block = file.tree, file.values.bindings.block
    around = [one for one in (tree.statement(use), *tree.above(use)) if isinstance(one, ast.stmt)]
    if tree.function(first) is not tree.function(use):
        function = tree.function(first)
        return function is not None and function.name == "__init__" and tree.holds(function, node)
    statement = tree.statement(first)
    return statement is not tree.statement(use) and any(
        block(one) == block(statement) for one in around
    )


RULE = Rule(
    name="parameters-generator-used-twice",
    severity="error",
    title="A generator of parameters is used a second time, when it is empty",
    why=(
        "`model.parameters()` can be gone through once. After `params = model.parameters()` the"
        " optimizer takes all of it; `clip_grad_norm_(params, 1.0)` then clips nothing, with no"
        " more than a warning, and a loop over `params` does nothing at all."
    ),
    fix="Keep `list(model.parameters())`, or call `model.parameters()` each time.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    params = model.parameters()
    optimizer = torch.optim.SGD(params, lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    params = list(model.parameters())
    optimizer = torch.optim.SGD(params, lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
""",
    source="PyTorch docs, `nn.Module.parameters`: it returns an iterator.",
    check=check,
)
