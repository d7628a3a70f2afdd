"""``Variable``, which has been a tensor for years."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for calls of `torch.autograd.Variable`.

    Args:
        file: The file.
    """
    for call in file.calls("torch.autograd.Variable"):
        if argument(call, "volatile") is not None:
            continue  # `volatile-argument` speaks of it
        given = argument(call, "requires_grad", 1)
        yield Found(
            call,
            "`Variable` only returns a tensor, of a computed one a copy without its graph.",
            "Use the tensor itself."
            if given is None
            else "Use the tensor itself, with `requires_grad_()` where it is a leaf.",
        )


RULE = Rule(
    name="variable-wrapper",
    severity="hint",
    title="Variable is obsolete",
    why=(
        "Since PyTorch 0.4 tensors carry gradients themselves. `Variable(x)` returns a tensor that"
        " shares the data of `x` but not its graph: harmless for a batch, a silent cut for a"
        " computed value."
    ),
    fix="Delete the wrapper.",
    bad="""\
import torch
from torch import nn
from torch.autograd import Variable

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        x = Variable(x)
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
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
    source="PyTorch docs, torch.autograd: Variable (deprecated).",
    check=check,
)
