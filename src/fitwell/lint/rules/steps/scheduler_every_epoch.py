"""A schedule in steps that is stepped once per epoch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._events import LOOPS
from ..._model._file import File
from ..._model._tree import argument, constant
from ..._model._values import Value
from ..._rule import Found, Rule
from ..._training._schedules import scheduler_of, unit_of


def check(file: File) -> Iterator[Found]:
    """Look for schedulers that count steps, but are stepped outside of the loop over batches.

    Args:
        file: The file.
    """
    for loop in file.tree.each(*LOOPS):
        events = file.events(loop)
        updates = [event for event in events if event.what == "step"]
        if not updates or any(event.loop is loop for event in updates):
            continue
        stepped = [event for event in events if event.what == "schedule"]
        for event in stepped:
            others = [one for one in stepped if one is not event and one.about == event.about]
            value = scheduler_of(event) if event.loop is loop and not others else None
            length = _in_steps(value) if value is not None else ""
            if value is not None and length:
                yield Found(
                    event.node_in(file),
                    f"`{event.on}.step()` runs once per epoch, but {value.short} counts the"
                    f" updates here: `{length}`.",
                    f"Call `{event.on}.step()` after each `{updates[-1].on}.step()`.",
                )
    yield from _of_lightning(file)


def _in_steps(value: Value) -> str:
    """Give the setting that says that a scheduler counts updates; empty if none does."""
    file, call, short = value.file, value.call, value.short
    if short == "OneCycleLR":
        if argument(call, "steps_per_epoch", 4) is not None:
            per_epoch = argument(call, "steps_per_epoch", 4)
            if constant(per_epoch) != 1:
                return f"steps_per_epoch={ast.unparse(per_epoch)}" if per_epoch is not None else ""
        name, place = "total_steps", 2
    elif short == "CosineAnnealingLR":
        name, place = "T_max", 1
    elif value.name.startswith("transformers.get_"):
        name, place = "num_training_steps", 2
    else:
        return ""
    length = argument(call, name, place)
    if length is None or not _has_batches(file, length):
        return ""
    return f"{name}={ast.unparse(length)}"


def _has_batches(file: File, node: ast.expr) -> bool:
    """Say whether a number surely counts batches: ``len(loader)`` is part of it."""
    if unit_of(file, node) != "steps":
        return False
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        if len(bindings) == 1 and bindings[0].how == "whole" and bindings[0].value is not None:
            return _has_batches(file, bindings[0].value)
        return False
    if isinstance(node, ast.Attribute):
        return "stepping_batches" in node.attr
    if (
        isinstance(node, ast.Call)
        and node.args
        and ast.unparse(node.func) in ("int", "max", "round")
    ):
        return _has_batches(file, node.args[0])
    return any(
        isinstance(part, ast.Call) and ast.unparse(part.func) == "len" for part in ast.walk(node)
    ) or any(
        _has_batches(file, part)
        for part in ast.iter_child_nodes(node)
        if isinstance(part, (ast.Name, ast.BinOp))
    )


def _of_lightning(file: File) -> Iterator[Found]:
    """Look for schedulers in steps that Lightning is given without ``"interval": "step"``."""
    for home in file.classes:
        if not file.is_lightning(home):
            continue
        for found, function in [file.methods(home).get("configure_optimizers", (file, None))]:
            if function is None or found is not file:
                continue
            nodes = list(file.tree.own(function))
            if any(isinstance(one, ast.Constant) and one.value == "interval" for one in nodes):
                continue
            for one in nodes:
                value = file.made(one, "scheduler") if isinstance(one, ast.Call) else None
                length = _in_steps(value) if value is not None and value.call is one else ""
                if value is not None and length:
                    yield Found(
                        one,
                        f"Lightning steps a scheduler once per epoch, but {value.short} counts the"
                        f" updates here: `{length}`.",
                        'Return it as `{"scheduler": scheduler, "interval": "step"}`.',
                    )


RULE = Rule(
    name="scheduler-every-epoch",
    severity="error",
    title="A schedule in steps is stepped once per epoch",
    why=(
        "`OneCycleLR(steps_per_epoch=len(loader), epochs=10)` and the warmup schedules of"
        " transformers count updates. Stepped once per epoch they take only the first few of"
        " thousands of steps: the whole training runs at the small rate of the beginning of the"
        " warmup."
    ),
    fix="Step it after each update, or give its length in epochs.",
    bad="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, steps_per_epoch=len(loader), epochs=epochs
    )
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, steps_per_epoch=len(loader), epochs=epochs
    )
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
""",
    source=(
        "PyTorch docs, OneCycleLR: step is called after every batch; transformers docs, schedules."
    ),
    check=check,
)
