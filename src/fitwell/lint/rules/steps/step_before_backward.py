"""An update that comes before the gradients of the batch are computed."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._stepping import comes_first, emptied, has_other_ways, reads_gradients


def check(file: File) -> Iterator[Found]:
    """Look for `step` before `backward`, where `zero_grad` clears what the batch before left.

    Args:
        file: The file.
    """
    for step in file.steps:
        if not step.of("step") or reads_gradients(step) or has_other_ways(step):
            continue
        for update in step.of("step"):
            zero = emptied(step, update)
            if zero is None or update.loop is not (step.node if step.in_loop else None):
                continue
            backwards = step.of("backward")
            if any(comes_first(step, one, zero) for one in backwards) and comes_first(
                step, zero, update
            ):
                continue  # zero-grad-after-backward
            if comes_first(step, update, backwards[0]):
                yield Found(
                    update.node_in(file),
                    f"`{update.on}.step()` comes before `backward()`, and `zero_grad()` clears what"
                    " `backward()` left: the update sees no gradients, and nothing is learned.",
                    "Move `step()` after `backward()`.",
                )


RULE = Rule(
    name="step-before-backward",
    severity="error",
    title="`step` comes before `backward`",
    why=(
        "An optimizer skips parameters whose gradient is None. Where `zero_grad()` runs between"
        " `backward()` and the next `step()`, each update finds no gradients: the weights never"
        " change, and nothing is reported. The order `step`, `zero_grad`, `backward` is the usual"
        " loop, cut at another place, and is not reported."
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
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        optimizer.step()
        loss.backward()
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
    source="PyTorch docs, torch.optim. Course tutorial (Hung-yi Lee 2021): the loop in its order.",
    check=check,
)
