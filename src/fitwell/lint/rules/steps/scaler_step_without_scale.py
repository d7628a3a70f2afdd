"""A gradient scaler that steps with gradients that it has not scaled."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._events import by_scaler, loss_of
from ..._model._file import File
from ..._model._tree import key, owner
from ..._rule import Found, Rule
from ..._training._stepping import is_switched_off, loss_bindings


def check(file: File) -> Iterator[Found]:
    """Look for `scaler.step` where no loss is scaled in the whole file.

    Args:
        file: The file.
    """
    for step in file.steps:
        if ".scale(" in file.text or ".scale(" in step.source:
            continue
        for update in step.of("step"):
            if not by_scaler(update.file, update.call) or is_switched_off(update):
                continue
            known = update.file.made(owner(update.call), "scaler") is not None
            backwards = [one for one in step.of("backward") if not one.excludes(update)]
            plain = [one for one in backwards if loss_of(one.call) is owner(one.call)]
            if len(plain) < len(backwards) or not backwards or not key(loss_of(plain[0].call)):
                continue
            reaching = loss_bindings(plain[0])
            computed = reaching is not None and reaching.rest == "nothing"
            yield Found(
                plain[0].node_in(file),
                f"`{plain[0].about}.backward()` does without the factor of `{update.on}`:"
                f" `{update.on}.step()` raises an AssertionError, for nothing was scaled.",
                f"Call `{update.on}.scale({plain[0].about}).backward()`.",
                certain=known and computed,
            )


RULE = Rule(
    name="scaler-step-without-scale",
    severity="error",
    title="The gradient scaler steps, but the loss was not scaled",
    why=(
        "`scaler.step()` divides the gradients by the factor that `scaler.scale(loss)` has"
        " brought in. If"
        ' no loss was scaled it stops with "Attempted step but _scale is None".'
    ),
    fix="Call `scaler.scale(loss).backward()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = loss_fn(model(x), y)
        loss.backward()
        scaler.step(optimizer)
        scaler.update()
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = loss_fn(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
""",
    source="PyTorch docs, torch.amp.GradScaler and the examples of automatic mixed precision.",
    check=check,
)
