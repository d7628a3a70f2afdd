"""Scaled gradients that the optimizer uses as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..._model._events import Event, by_scaler
from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._stepping import is_scaled, is_switched_off, reads_gradients


def check(file: File) -> Iterator[Found]:
    """Look for `optimizer.step` after the `backward` of a scaled loss.

    Args:
        file: The file.
    """
    for step in file.steps:
        if step.of("unscale") or reads_gradients(step):
            continue
        if re.search(r"get_scale|inv_scale", step.source):
            continue
        for update in step.of("step"):
            if by_scaler(update.file, update.call):
                continue
            backwards = [one for one in step.of("backward") if not one.excludes(update)]
            if not backwards or not all(is_scaled(one) for one in backwards):
                continue
            if any(by_scaler(one.file, one.call) for one in _others(step.of("step"), update)):
                continue  # of several optimizers, or in a branch that is not told apart
            if any(is_switched_off(one) for one in step.of("update")):
                continue
            yield Found(
                update.node_in(file),
                f"`{update.on}.step()` uses gradients that still have the factor of the gradient"
                " scaler: the step is thousands of times too long.",
                f"Call `scaler.step({update.on})` and `scaler.update()`.",
            )


def _others(events: list[Event], update: Event) -> Iterator[Event]:
    yield from (one for one in events if one is not update and not one.excludes(update))


RULE = Rule(
    name="scaled-loss-plain-step",
    severity="error",
    title="The loss was scaled, but the optimizer steps by itself",
    why=(
        "`scaler.scale(loss).backward()` leaves gradients times a factor of about 65536. Only"
        " `scaler.step(optimizer)` divides it out. SGD diverges at once; Adam hardly notices,"
        " but clipping, L2 terms and the check for overflow are gone. A `scaler.update()` after"
        " it raises an AssertionError."
    ),
    fix="Call `scaler.step(optimizer)` in place of `optimizer.step()`.",
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
        scaler.scale(loss).backward()
        optimizer.step()
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
