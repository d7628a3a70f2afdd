"""A scheduler that is stepped before the optimizer."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._events import LOOPS, Event
from ..._model._file import File
from ..._model._tree import argument
from ..._model._values import Value
from ..._rule import Found, Rule
from ..._training._schedules import scheduler_of
from ..._training._stepping import optimizer_of


def check(file: File) -> Iterator[Found]:
    """Look for loops in which `scheduler.step` comes before all `optimizer.step`.

    Args:
        file: The file.
    """
    bodies: list[ast.AST] = [*file.tree.each(*LOOPS)]
    bodies += [step.node for step in file.steps if not step.in_loop]
    for body in bodies:
        events = file.events(body)
        here = body if isinstance(body, LOOPS) else None
        for place, event in enumerate(events):
            if event.what != "schedule" or event.loop is not here:
                continue
            if event.call.args or event.call.keywords:
                continue  # of the epoch that begins, or of a metric
            value = scheduler_of(event)
            if value is None or value.short == "ReduceLROnPlateau":
                continue
            steps = [one for one in events if one.what == "step" and _is_of(value, one)]
            if not steps or any(one.what == "step" for one in events[:place]):
                continue
            if event.guards <= steps[0].guards and not _stepped_before(file, body):
                yield Found(
                    event.node_in(file),
                    f"`{event.on}.step()` comes before the first `{steps[0].on}.step()`: the first"
                    " rate of the schedule is never used.",
                    f"Move it after `{steps[0].on}.step()`.",
                )


def _is_of(scheduler: Value, update: Event) -> bool:
    """Say whether an update is that of the optimizer of a scheduler."""
    made = scheduler.file.made(argument(scheduler.call, "optimizer", 0), "optimizer")
    stepped = optimizer_of(update)
    return made is not None and stepped is not None and made.call is stepped.call


def _stepped_before(file: File, body: ast.AST) -> bool:
    """Say whether an optimizer was stepped before a body in the same function."""
    function = file.tree.function(body) or file.tree.root
    place = file.tree.place(body)
    return any(
        event.what == "step" and file.tree.place(event.site) < place
        for event in file.events(function)
    )


RULE = Rule(
    name="scheduler-before-optimizer",
    severity="warning",
    title="The scheduler is stepped before the optimizer",
    why=(
        "A scheduler sets the first rate when it is made, and the next one with each `step()`."
        " Stepped before the first `optimizer.step()` it skips that first rate, and all later"
        " ones come one step early: of a warmup or of `StepLR(step_size=1)` that is a large"
        " part. PyTorch warns of it once."
    ),
    fix="Call `scheduler.step()` after `optimizer.step()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10)
    model.train()
    for epoch in range(epochs):
        scheduler.step()
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10)
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
""",
    source="PyTorch docs, torch.optim: how to adjust the learning rate; its warning since 1.1.",
    check=check,
)
