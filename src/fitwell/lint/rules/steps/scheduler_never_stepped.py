"""A scheduler that is made and never stepped."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._model._values import Value
from ..._rule import Found, Rule

_READS = frozenset(
    {"get_last_lr", "state_dict", "load_state_dict", "last_epoch", "base_lrs", "print_lr"}
)


def check(file: File) -> Iterator[Found]:
    """Look for schedulers in a name that is used for nothing else than to be read.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Assign):
        value = file.made(node.value, "scheduler") if isinstance(node.value, ast.Call) else None
        if value is None or value.call is not node.value or len(node.targets) != 1:
            continue
        name = key(node.targets[0])
        if not name or not _trains(file) or _is_used(file, node, name):
            continue
        yield Found(
            node,
            f"`{name}` is never stepped: the learning rate stays as {_first(value)}.",
            f"Call `{name}.step()` after `optimizer.step()`, per epoch or per batch as its settings"
            " are meant.",
        )


def _first(value: Value) -> str:
    warms = value.short in ("OneCycleLR", "LinearLR") or "warmup" in value.short
    return "the schedule begins, which is low" if warms else "it began"


def _trains(file: File) -> bool:
    """Say whether the file itself steps an optimizer, by a method or by a scaler."""
    return any(True for step in file.steps for _ in step.of("step"))


def _is_used(file: File, node: ast.Assign, name: str) -> bool:
    """Say whether a name is stepped, or given to anything that may step it."""
    last = name.rpartition(".")[2]
    if name != last:
        return _attribute_is_used(file, last)
    scope = file.tree.scope(node)
    for use in file.tree.each(ast.Name):
        if use.id != name or not isinstance(use.ctx, ast.Load):
            continue
        if not (file.tree.holds(scope, use) or scope is file.tree.root):
            continue
        if _may_step(file, use):
            return True
    exported = scope is file.tree.root and len(file.project.files) > 1
    return exported and any(
        alias.name == name
        for other in file.project.files
        for one in other.tree.each(ast.ImportFrom)
        for alias in one.names
    )


def _attribute_is_used(file: File, last: str) -> bool:
    """Say whether an attribute is stepped anywhere in the project."""
    for other in file.project.files:
        for use in other.tree.each(ast.Attribute):
            if use.attr == last and isinstance(use.ctx, ast.Load) and _may_step(other, use):
                return True
        if any(True for _ in other.calls("getattr", "vars")):
            return True
    return False


def _may_step(file: File, use: ast.expr) -> bool:
    around = file.tree.parent(use)
    if isinstance(around, ast.Attribute):
        return around.attr not in _READS
    return not isinstance(around, ast.Expr)


RULE = Rule(
    name="scheduler-never-stepped",
    severity="error",
    title="A scheduler is made and never stepped",
    why=(
        "A scheduler changes the rate only in its `step()`. Without it the training runs at the"
        " first rate of the schedule to its end; with a warmup or `OneCycleLR` that is a small"
        " fraction of the rate that is meant."
    ),
    fix="Call `scheduler.step()` once per epoch or per batch, as its settings are meant.",
    bad="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, scheduler.get_last_lr())
""",
    good="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, scheduler.get_last_lr())
        scheduler.step()
""",
    source="PyTorch docs, torch.optim: how to adjust the learning rate.",
    check=check,
)
