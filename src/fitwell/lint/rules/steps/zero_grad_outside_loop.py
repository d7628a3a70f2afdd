"""Gradients that are cleared once per epoch, while each batch makes an update."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._stepping import (
    clears_by_hand,
    given_away,
    is_of_loop,
    outer_zero,
    stops_at_once,
    updates,
)


def check(file: File) -> Iterator[Found]:
    """Look for loops that step, around which the only `zero_grad` stands.

    Args:
        file: The file.
    """
    for step in file.steps:
        done = step.of("step")
        if not step.in_loop or not done or step.of("zero"):
            continue
        if stops_at_once(step) or clears_by_hand(step) or is_of_loop(step, done[0]):
            continue
        zero = outer_zero(step)
        if zero is None:
            continue
        yield Found(
            step.of("backward")[0].node_in(file),
            "Each pass of this loop makes an update, but the gradients are set to zero only"
            " outside of it: `backward()` adds to those of all passes before.",
            f"Move `{zero.about or zero.on}.zero_grad()` into the loop, before `backward()`.",
            certain=not given_away(file, step.node, updates(step) - {""}),
        )


RULE = Rule(
    name="zero-grad-outside-loop",
    severity="error",
    title="`zero_grad` stands outside of the loop that makes the updates",
    why=(
        "`backward()` adds to `.grad`. With `zero_grad()` once per epoch the update of batch k"
        " uses the sum of the gradients of batches 1 to k, most of them computed at older"
        " weights. The loss falls at first and then oscillates or diverges within each epoch."
    ),
    fix="Call `zero_grad()` in the loop over batches, once per update.",
    bad="""\
import torch
from torch import nn

def train(model, loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(epochs):
        optimizer.zero_grad()
        for x, y in loader:
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
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
""",
    source=(
        "PyTorch docs, Optimizer.zero_grad. Course tutorial (Hung-yi Lee 2021): the loop in its"
        " order."
    ),
    check=check,
)
