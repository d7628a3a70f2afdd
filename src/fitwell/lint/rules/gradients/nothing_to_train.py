"""All parameters are frozen, and then an optimizer is to train them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._once import once
from ..._model._project import Project
from ..._model._tree import constant, key, method, owner
from ..._rule import Found, Rule
from ..._training._optimizers import Made, base, follows, optimizers

_HARMLESS = frozenset(
    {"to", "cuda", "cpu", "train", "eval", "state_dict", "load_state_dict", "zero_grad", "half"}
)


def check(file: File) -> Iterator[Found]:
    """Look for optimizers that get nothing but frozen parameters.

    Args:
        file: The file.
    """
    if not any(node.attr.startswith("requires_grad") for node in file.tree.each(ast.Attribute)):
        return
    for made in optimizers(file):
        if len(made.owners) != 1 or _unfreezes(file.project):
            continue
        for name, freeze in _freezes(file):
            if _covers(name, key(made.owners[0])) and follows(file, freeze, made.call):
                if _is_kept(file, name, made, freeze):
                    yield _found(made, name, freeze)


def _found(made: Made, name: str, freeze: ast.AST) -> Found:
    text = f"`{made.name}`" if made.name else "The optimizer"
    return Found(
        made.call,
        f"{text} gets only parameters of `{name}`, which are all frozen in line"
        f" {getattr(freeze, 'lineno', 0)}: nothing is trained.",
        "Leave the part that is to be trained unfrozen, or replace it by a new layer before this"
        " line.",
    )


def _covers(frozen: str, given: str) -> bool:
    return given == frozen or given.startswith(f"{frozen}.")


def _freezes(file: File) -> Iterator[tuple[str, ast.AST]]:
    """Give the names of the modules that are frozen as a whole, and where."""
    for call in file.method_calls("requires_grad_"):
        on = owner(call)
        if constant(call.args[0] if call.args else None) is False and on is not None and key(on):
            if isinstance(file.tree.parent(call), ast.Expr) and not file.tree.inside(call, ast.For):
                if file.values.is_a(on, "module") or "model" in key(on):
                    yield key(on), call
    for loop in file.tree.each(ast.For):
        every = loop.iter
        on = owner(every) if isinstance(every, ast.Call) else None
        if method(every) not in ("parameters", "named_parameters") or on is None or not key(on):
            continue
        if len(loop.body) == 1 and _is_freeze(loop.body[0]):
            yield key(on), loop


def _is_freeze(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
        is_flag = isinstance(target, ast.Attribute) and target.attr == "requires_grad"
        return is_flag and constant(statement.value) is False
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and method(call) == "requires_grad_" and call.args:
        return constant(call.args[0]) is False
    return False


@once
def _unfreezes(project: Project) -> bool:
    """Say whether something in the project may make parameters train again."""
    for one in project.files:
        for node in one.tree.each(ast.Attribute):
            above = one.tree.parent(node)
            if node.attr == "requires_grad" and isinstance(node.ctx, ast.Store):
                if not isinstance(above, ast.Assign) or constant(above.value) is not False:
                    return True
            if node.attr == "requires_grad_" and isinstance(above, ast.Call):
                if not above.args or constant(above.args[0]) is not False:
                    return True
            if "unfreeze" in node.attr:
                return True
    return False


def _is_kept(file: File, name: str, made: Made, freeze: ast.AST) -> bool:
    """Say whether nothing after the freezing may give a module other parameters."""
    tree = file.tree
    given = made.owners[0]
    root = key(base(given))
    for use in file.uses(root):
        if tree.place(use) < tree.place(freeze) or tree.holds(freeze, use) or use is given:
            continue
        if tree.holds(tree.statement(made.call), use) or tree.holds(given, use):
            continue
        child, part = use, tree.parent(use)
        while isinstance(part, (ast.Attribute, ast.Subscript)) and part.value is child:
            if isinstance(part.ctx, ast.Store):
                return False
            child, part = part, tree.parent(part)
        if isinstance(use, (ast.Name, ast.Attribute)) and isinstance(use.ctx, ast.Store):
            return False
        if isinstance(part, ast.Call) and part.func is child:
            if child is use or (isinstance(child, ast.Attribute) and child.attr in _HARMLESS):
                continue
            if isinstance(child, ast.Attribute) and child.attr.endswith("parameters"):
                continue
            return False
        if tree.place(use) < tree.place(made.call):
            return False
    return True


RULE = Rule(
    name="nothing-to-train",
    severity="error",
    title="All parameters are frozen, then given to the optimizer",
    why=(
        "A frozen parameter gets no gradient. If all are frozen and no layer is replaced"
        " afterwards, `backward()` raises that no tensor requires a gradient; where a penalty or"
        " another model has a graph, it raises nothing and the model stays as it is. `filter(lambda"
        " p: p.requires_grad, ...)` gives the optimizer an empty list, which raises too."
    ),
    fix="Freeze the backbone, then replace the head by a new layer, then make the optimizer.",
    bad="""\
import torch
from torch import nn
from torchvision import models

def main(loader):
    model = models.resnet18()
    for p in model.parameters():
        p.requires_grad = False
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_fn = nn.CrossEntropyLoss()
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
from torchvision import models

def main(loader):
    model = models.resnet18()
    for p in model.parameters():
        p.requires_grad = False
    model.fc = nn.Linear(512, 10)
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, transfer learning tutorial and autograd mechanics.",
    check=check,
)
