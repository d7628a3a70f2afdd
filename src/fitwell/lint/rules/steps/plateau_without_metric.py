"""ReduceLROnPlateau without the metric that it watches."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import owner
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for ``step()`` of a `ReduceLROnPlateau` without an argument.

    Args:
        file: The file.
    """
    for call in file.method_calls("step"):
        if call.args or call.keywords:
            continue
        values = file.values.of(owner(call))
        if not values or any(value.short != "ReduceLROnPlateau" for value in values):
            continue
        if any("Plateau" in ast.unparse(one.test) for one in _tests(file, call)):
            continue  # it is asked which scheduler it is
        yield Found(
            call,
            "`ReduceLROnPlateau.step()` needs the metric that it watches, and raises a TypeError"
            " without it.",
            "Pass it the loss of the validation, as in `step(val_loss)`.",
        )


def _tests(file: File, call: ast.Call) -> Iterator[ast.If]:
    yield from (one for one in file.tree.above(call) if isinstance(one, ast.If))


RULE = Rule(
    name="plateau-without-metric",
    severity="error",
    title="ReduceLROnPlateau is stepped without a metric",
    why=(
        "This scheduler lowers the rate when a metric stops to improve. `step()` without it raises"
        " \"missing 1 required positional argument: 'metrics'\", at the end of the first epoch."
    ),
    fix="Pass the loss or the accuracy of the validation set: `scheduler.step(val_loss)`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
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
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        scheduler.step(total)
""",
    source="PyTorch docs, torch.optim.lr_scheduler.ReduceLROnPlateau.",
    check=check,
)
