"""A loss without a past: its gradients reach no parameter."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._graph import Graph
from ..._training._roots import roots
from ..._training._trace import Cut

_STEPS = ("long", "int", "bool", "comparison", "one_hot")


def check(file: File) -> Iterator[Found]:
    """Look for losses whose whole path goes through ``item()``, ``detach()`` and the like.

    Args:
        file: The file.
    """
    for call, root in roots(file):
        found = Graph(file).of(root, root=True)
        cuts = [cut for cut in found.cuts if cut.how != "no_grad"]
        if found.state == "cut" and cuts:
            yield _found(file, call, root, min(cuts, key=lambda cut: cut.how))
        elif found.state == "live" and isinstance(root, ast.Name):
            yield from _marked(file, root)
    for home in file.classes:
        if file.is_lightning(home) and "automatic_optimization" not in file.text_of(home):
            yield from _of_training_step(file, home)


def _of_training_step(file: File, home: ast.ClassDef) -> Iterator[Found]:
    for step in home.body:
        if not (isinstance(step, ast.FunctionDef) and step.name == "training_step"):
            continue
        for node in file.tree.own(step):
            value = node.value if isinstance(node, ast.Return) else None
            if isinstance(value, ast.Dict):
                names = [one.value if isinstance(one, ast.Constant) else "" for one in value.keys]
                value = value.values[names.index("loss")] if "loss" in names else None
            found = Graph(file).of(value)
            cuts = [cut for cut in found.cuts if cut.how != "no_grad"]
            if value is not None and found.state == "cut" and cuts:
                yield _found(file, value, value, min(cuts, key=lambda cut: cut.how))


def _found(file: File, call: ast.expr, root: ast.expr, cut: Cut) -> Found:
    name = f"`{key(root)}`" if key(root) else "What `backward()` is called on"
    how = f"`{cut.how}`" if cut.how in _STEPS else f"`{_spelled(cut)}`"
    how = "a comparison" if cut.how == "comparison" else how
    return Found(
        cut.node if cut.file is file else call,
        f"{name} went through {how} and has no graph any more: no parameter gets a gradient from"
        f" it.",
        "Compute the loss from the model's output as it is, and take numbers out of it only for the"
        " log.",
        certain=cut.certain,
    )


def _spelled(cut: Cut) -> str:
    if cut.how == "data":
        return ".data"
    if isinstance(cut.node, ast.Call) and isinstance(cut.node.func, ast.Attribute):
        if cut.how == cut.node.func.attr:
            return f".{cut.how}()"
    return cut.how if cut.how.endswith(")") else f"{cut.how}()"


def _marked(file: File, root: ast.Name) -> Iterator[Found]:
    """Look for ``loss.requires_grad = True``: it raises, or hides a loss without a graph."""
    for use in file.uses(root.id):
        part = file.tree.parent(use)
        if not (isinstance(part, ast.Attribute) and part.attr == "requires_grad"):
            continue
        if not isinstance(part.ctx, ast.Store) or file.tree.scope(use) is not file.tree.scope(root):
            continue
        yield Found(
            part,
            f"`{root.id}.requires_grad = True` raises on a loss with a graph, and hides that it has"
            " none otherwise.",
            "Delete the line, and look for the place where the loss loses its graph.",
            certain="loss" in root.id.lower(),
        )


RULE = Rule(
    name="loss-cut-from-graph",
    severity="error",
    title="The loss has no graph: nothing is trained by it",
    why=(
        "`item()`, `detach()`, `.data`, `numpy()`, `float()` and `torch.tensor(loss)` give a value"
        ' without a past. `backward()` then raises "element 0 of tensors does not require grad";'
        " with `requires_grad=True` set again it raises nothing, all gradients stay None, and the"
        " loss never falls."
    ),
    fix=(
        "Call `backward()` on the loss itself; use `item()` and `detach()` only for what is logged."
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
        loss = torch.tensor(loss_fn(model(x), y).item(), requires_grad=True)
        loss.backward()
        optimizer.step()
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
""",
    source="PyTorch docs, autograd mechanics and `Tensor.detach`.",
    check=check,
)
