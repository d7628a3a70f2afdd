"""A layer, or the model, is replaced after the optimizer got the parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._optimizers import NO_PARAMETERS, Made, follows, optimizers, steps_after

_SIZES = frozenset(
    {"in_features", "out_features", "in_channels", "out_channels", "num_features", "embedding_dim"}
)


def check(file: File) -> Iterator[Found]:
    """Look for ``model.fc = nn.Linear(...)`` between the optimizer and its first step.

    Args:
        file: The file.
    """
    for made in optimizers(file):
        if not made.name or _is_extended(file, made):
            continue
        for owner in made.owners:
            for assign in file.tree.each(ast.Assign):
                if not follows(file, made.call, assign):
                    continue
                what = _replaced(file, assign, owner)
                if not what or steps_after(file, made, assign) is None:
                    continue
                yield Found(
                    assign,
                    f"`{made.name}` was made before {what}: it keeps updating the old parameters,"
                    " and the new ones stay as they were drawn.",
                    f"Make `{made.name}` after this line.",
                )


def _is_extended(file: File, made: Made) -> bool:
    for use in file.uses(made.name):
        parent = file.tree.parent(use)
        if isinstance(parent, ast.Attribute) and parent.attr in ("add_param_group", "param_groups"):
            return True
    return False


def _replaced(file: File, assign: ast.Assign, owner: ast.expr) -> str:
    """Say what an assignment replaces of what the optimizer got; nothing if it does not."""
    target = assign.targets[0]
    if len(assign.targets) != 1 or not _makes_parameters(file, assign.value):
        return ""
    name = key(owner)
    uses = [
        one for one in ast.walk(assign.value) if key(one) == name and not _reads_a_size(file, one)
    ]
    if key(target) == name:
        is_copy = file.dotted(getattr(assign.value, "func", None)) == "copy.deepcopy"
        same = {one.statement for one in file.values.bindings.reaching(owner).bindings}
        return f"`{name}` was made anew" if (not uses or is_copy) and assign not in same else ""
    inner: ast.AST = target
    while isinstance(inner, (ast.Attribute, ast.Subscript)):
        inner = inner.value
        if key(inner) == name:
            is_parameter = file.dotted(getattr(assign.value, "func", None)) == "torch.nn.Parameter"
            return f"`{ast.unparse(target)}` was replaced" if not uses or is_parameter else ""
    return ""


def _reads_a_size(file: File, use: ast.AST) -> bool:
    """Say whether of a model only a number is taken, as ``model.fc.in_features``."""
    last = ""
    for above in file.tree.above(use):
        if not isinstance(above, (ast.Attribute, ast.Subscript)):
            break
        last = above.attr if isinstance(above, ast.Attribute) else last
    return last in _SIZES


def _makes_parameters(file: File, value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and file.dotted(value.func) == "torch.nn.Parameter":
        return True
    made = file.made(value, "module")
    return made is not None and isinstance(value, ast.Call) and made.short not in NO_PARAMETERS


RULE = Rule(
    name="layer-replaced-after-optimizer",
    severity="error",
    title="A layer is replaced after the optimizer was made",
    why=(
        "An optimizer holds the parameters that existed when it was made. A layer, or a whole"
        " model, that is assigned afterwards has new ones, which no step changes; the steps go to"
        " tensors that nothing uses any more. Fine-tuning then trains all but the new head, and"
        " nothing is reported."
    ),
    fix="Build the model completely, then make the optimizer.",
    bad="""\
import torch
from torch import nn
from torchvision import models

def main(loader):
    model = models.resnet18()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.fc = nn.Linear(512, 10)
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
    source="PyTorch docs, torch.optim: constructing an optimizer; transfer learning tutorial.",
    check=check,
)
