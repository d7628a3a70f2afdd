"""Sigmoid on what goes into a loss that applies it itself."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Edit, Found, Rule, replaced
from ..._training._losses import fault_at, is_last


def check(file: File) -> Iterator[Found]:
    """Look for losses with a sigmoid of their own whose input was given to sigmoid or softmax.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind not in ("bce_logits", "multilabel") or loss.input is None:
            continue
        done = is_last(file, loss.input, "sigmoid", "softmax")
        if done is None:
            continue
        place, message = fault_at(file, loss, done, "takes logits and applies sigmoid itself")
        edits: tuple[Edit, ...] = ()
        if done.node is loss.input and done.argument is not None and done.kind == "sigmoid":
            edits = (replaced(file, loss.input, file.text_of(done.argument)),)
        yield Found(
            place,
            message,
            f"Give the loss the values before {done.kind}.",
            edits=edits,
        )


RULE = Rule(
    name="sigmoid-before-bce-with-logits",
    severity="error",
    title="Sigmoid before a loss that applies it itself",
    why=(
        "`BCEWithLogitsLoss` applies sigmoid itself. Given probabilities it sees logits between 0 "
        "and 1, so that it never predicts less than 0.5: the loss of a negative sample cannot "
        "fall below 0.69, and training stalls there. Nothing is reported."
    ),
    fix="Give the loss the logits, or use `BCELoss` for probabilities.",
    bad="""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 16)
        self.out = nn.Linear(16, 1)

    def forward(self, x):
        return torch.sigmoid(self.out(self.hidden(x).relu()))

def train(loader):
    model = Net()
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 16)
        self.out = nn.Linear(16, 1)

    def forward(self, x):
        return self.out(self.hidden(x).relu())

def train(loader):
    model = Net()
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, BCEWithLogitsLoss: it combines a sigmoid layer and the BCELoss.",
    check=check,
)
