"""A gradient scaler that steps, but is never updated."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..._model._events import by_scaler
from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._stepping import given_away, is_per_batch, is_scaled, is_switched_off


def check(file: File) -> Iterator[Found]:
    """Look for `scaler.step` in a loop without `scaler.update`.

    Args:
        file: The file.
    """
    for step in file.steps:
        steps = [event for event in step.of("step") if by_scaler(event.file, event.call)]
        scaled = any(is_scaled(event) for event in step.of("backward"))
        if not steps or not scaled or step.of("update") or is_switched_off(steps[0]):
            continue
        name = steps[0].on
        away = given_away(file, step.node, frozenset({name}))
        outside = any(
            re.search("scaler", file.text_of(call.func)) for call in file.method_calls("update")
        )
        yield Found(
            steps[0].node_in(file),
            f"`{name}.step()` is called in each pass, but `{name}.update()` is not: the second pass"
            " raises a RuntimeError.",
            f"Call `{name}.update()` after `{name}.step()`.",
            certain=is_per_batch(step) and step.in_loop and not away and not outside,
        )


RULE = Rule(
    name="scaler-without-update",
    severity="error",
    title="The gradient scaler is never updated",
    why=(
        "`scaler.update()` adapts the factor and makes the scaler ready for the next step."
        " Without it the"
        ' second `scaler.step()` raises "step() has already been called since the last update()".'
    ),
    fix="Call `scaler.update()` once per step, after `scaler.step(optimizer)`.",
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
        scaler.step(optimizer)
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
