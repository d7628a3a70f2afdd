"""``requires_grad`` is assigned to a module, where it means nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import constant, key
from ..._rule import Found, Rule, replaced


def check(file: File) -> Iterator[Found]:
    """Look for ``model.requires_grad = False`` and ``model.fc.requires_grad = True``.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Assign):
        target = node.targets[0]
        if not (isinstance(target, ast.Attribute) and target.attr == "requires_grad"):
            continue
        value = constant(node.value)
        if len(node.targets) > 1 or not isinstance(value, bool):
            continue
        if not (file.values.is_a(target.value, "module") or _from_children(file, target.value)):
            continue
        name = ast.unparse(target.value)
        edits = (replaced(file, node, f"{name}.requires_grad_({value})"),)
        yield Found(
            node,
            f"`{name}` is a module: the assignment sets a plain attribute and changes no"
            f" parameter.",
            f"Write `{name}.requires_grad_({value})`.",
            edits=edits if key(target.value) else (),
        )


def _from_children(file: File, node: ast.expr) -> bool:
    """Say whether a name runs through the modules of something."""
    if not isinstance(node, ast.Name):
        return False
    bindings = file.values.bindings.reaching(node).bindings
    for binding in bindings:
        call = binding.value
        if (
            binding.how != "each"
            or binding.index not in (None, 1)
            or not isinstance(call, ast.Call)
        ):
            return False
        func = call.func
        attr = func.attr if isinstance(func, ast.Attribute) else ""
        pairs = attr in ("named_children", "named_modules")
        single = attr in ("children", "modules") and not binding.index
        if not (single or (pairs and binding.index == 1)):
            return False
    return bool(bindings)


RULE = Rule(
    name="requires-grad-on-module",
    severity="error",
    title="requires_grad is assigned to a module, not to its parameters",
    why=(
        "`requires_grad` belongs to tensors. `model.backbone.requires_grad = False` only gives the"
        " module an attribute of that name: nothing is frozen, no error is raised, and the whole"
        " network is trained as before."
    ),
    fix=(
        "Use the method `requires_grad_(False)`, which a module has, or a loop over its parameters."
    ),
    bad="""\
import torch
from torch import nn
from torchvision import models

def main(loader):
    model = models.resnet18()
    model.requires_grad = False
    model.fc = nn.Linear(512, 10)
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
    model.requires_grad_(False)
    model.fc = nn.Linear(512, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, `nn.Module.requires_grad_`.",
    check=check,
)
