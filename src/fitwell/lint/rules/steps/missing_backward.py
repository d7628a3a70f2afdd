"""Updates in each batch, and no gradients for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._events import LOOPS, Event
from ..._model._file import File
from ..._model._loops import Step
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._stepping import (
    given_away,
    has_other_ways,
    losses_in,
    reads_gradients,
    stops_at_once,
)


def check(file: File) -> Iterator[Found]:
    """Look for loops with `zero_grad`, a loss and `step`, but without `backward`.

    Args:
        file: The file.
    """
    for loop in file.tree.each(*LOOPS):
        events = file.events(loop)
        update = _update(events, loop)
        if update is None or any(event.what == "backward" for event in events):
            continue
        step = Step(file, loop, events, True)
        if stops_at_once(step) or reads_gradients(step) or has_other_ways(step):
            continue
        losses = list(losses_in(file, loop))
        if not losses or _is_given_away(step, losses[-1], update.about):
            continue
        yield Found(
            update.node_in(file),
            f"`{update.about}` is stepped in each pass, but `{losses[-1]}.backward()` is never"
            " called: there are no gradients, and the weights do not change.",
            f"Call `{losses[-1]}.backward()` between `zero_grad()` and `step()`.",
        )


def _update(events: tuple[Event, ...], loop: ast.AST) -> Event | None:
    """Give the step of an optimizer that is cleared in the same loop."""
    here = [event for event in events if event.loop is loop]
    cleared = {event.about for event in here if event.what == "zero"}
    updates = [event for event in here if event.what == "step" and event.about]
    return next((event for event in updates if event.about in cleared), None)


def _is_given_away(step: Step, loss: str, optimizer: str) -> bool:
    """Say whether the loss or the optimizer goes where gradients may be computed."""
    tree = step.file.tree
    if given_away(step.file, step.node, frozenset({loss, optimizer})):
        return True
    for node in tree.own(step.node):  # other names for the loss, or a part of something
        if key(node) == loss and isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            around = tree.parent(node)
            if isinstance(around, (ast.Tuple, ast.List, ast.Dict, ast.Return, ast.Yield)):
                return True
    return False


RULE = Rule(
    name="missing-backward",
    severity="error",
    title="`backward` is never called",
    why=(
        "`step()` uses what `backward()` has left in `.grad`. Without `backward()` every"
        " gradient is None, the optimizer skips all parameters, and nothing is reported."
    ),
    fix="Call `loss.backward()` between `zero_grad()` and `step()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
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
    source=(
        "PyTorch docs, torch.optim: taking an optimization step. Course tutorial (Hung-yi Lee"
        " 2021)."
    ),
    check=check,
)
