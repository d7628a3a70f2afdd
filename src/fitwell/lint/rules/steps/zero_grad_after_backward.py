"""Gradients that are cleared between their computation and the update."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._stepping import comes_first, emptied, has_other_ways, reads_gradients


def check(file: File) -> Iterator[Found]:
    """Look for `backward`, `zero_grad`, `step` in this order.

    Args:
        file: The file.
    """
    for step in file.steps:
        if not step.of("step") or reads_gradients(step) or has_other_ways(step):
            continue
        for update in step.of("step"):
            zero = emptied(step, update)
            if zero is None or not comes_first(step, zero, update):
                continue
            if any(comes_first(step, one, zero) for one in step.of("backward")):
                yield Found(
                    zero.node_in(file),
                    f"`{zero.about}.zero_grad()` stands between `backward()` and"
                    f" `{update.on}.step()`: the update sees no gradients, and nothing is learned.",
                    "Move `zero_grad()` before `backward()`, or after `step()`.",
                )


RULE = Rule(
    name="zero-grad-after-backward",
    severity="error",
    title="Gradients are cleared before they are used",
    why=(
        "`zero_grad()` sets the gradients to None. An optimizer skips parameters without a"
        " gradient, so the weights never change: the loss stays where it began, and nothing is"
        " reported."
    ),
    fix="Keep the order `zero_grad`, `backward`, `step`.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.zero_grad()
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
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
""",
    source=(
        "PyTorch docs, Optimizer.zero_grad. Course tutorial (Hung-yi Lee 2021): the loop in its"
        " order."
    ),
    check=check,
)
