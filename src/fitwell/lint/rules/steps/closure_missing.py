"""LBFGS without the closure that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import owner
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for ``step()`` of an `LBFGS` without an argument.

    Args:
        file: The file.
    """
    for call in file.method_calls("step"):
        if call.args or call.keywords:
            continue
        values = file.values.of(owner(call))
        if values and all(value.name == "torch.optim.LBFGS" for value in values):
            yield Found(
                call,
                "`LBFGS.step()` needs a function that computes the loss anew, and raises a"
                " TypeError without it.",
                "Define `closure()` that calls `zero_grad()`, computes the loss, calls"
                " `backward()` and returns the loss; pass it to `step(closure)`.",
            )


RULE = Rule(
    name="closure-missing",
    severity="error",
    title="LBFGS is stepped without a closure",
    why=(
        "LBFGS evaluates the loss and its gradient several times per step. `step()` without a"
        " closure raises \"missing 1 required positional argument: 'closure'\" at the first update."
    ),
    fix=(
        "Pass a closure that clears the gradients, computes the loss, calls `backward()` and"
        " returns it."
    ),
    bad="""\
import torch
from torch import nn

def fit(model, x, y):
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5)
    model.train()
    for _ in range(20):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def fit(model, x, y):
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5)
    model.train()

    def closure():
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)
""",
    source="PyTorch docs, torch.optim: optimizer.step(closure), and torch.optim.LBFGS.",
    check=check,
)
