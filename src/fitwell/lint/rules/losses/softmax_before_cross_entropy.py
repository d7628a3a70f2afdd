"""Softmax, or sigmoid, on what goes into a cross entropy."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Edit, Found, Rule, replaced
from ..._training._losses import fault_at, is_last


def check(file: File) -> Iterator[Found]:
    """Look for cross entropies whose input was last given to softmax or sigmoid.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind != "cross_entropy" or loss.input is None:
            continue
        done = is_last(file, loss.input, "softmax", "sigmoid", "log_softmax")
        if done is None:
            continue
        certain = is_last(file, loss.input, "softmax", "sigmoid") is not None
        place, message = fault_at(file, loss, done, "takes logits and applies log_softmax itself")
        edits: tuple[Edit, ...] = ()
        if done.node is loss.input and done.argument is not None and done.kind != "sigmoid":
            edits = (replaced(file, loss.input, file.text_of(done.argument)),)
        yield Found(
            place,
            message,
            f"Give the loss the values before {done.kind}.",
            edits=edits,
            certain=certain,
        )


RULE = Rule(
    name="softmax-before-cross-entropy",
    severity="error",
    title="Softmax before a cross entropy, which applies it itself",
    why=(
        "Cross entropy takes logits and applies log-softmax itself. Given probabilities it "
        "applies a second softmax: with 10 classes the loss cannot fall below 1.46, the gradients "
        "are small, and training is slow and stops early. Nothing is reported, and the accuracy "
        "may look plausible. A log-softmax before it is only superfluous: applied twice it gives "
        "the same."
    ),
    fix="Give the loss the logits; apply softmax only where probabilities are shown.",
    bad="""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        return torch.softmax(self.out(self.hidden(x).relu()), dim=1)

def train(loader):
    model = Net()
    loss_fn = nn.CrossEntropyLoss()
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
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        return self.out(self.hidden(x).relu())

def train(loader):
    model = Net()
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
        "Hung-yi Lee 2021, PyTorch tutorial: no softmax in the network. PyTorch docs, "
        "CrossEntropyLoss: the input holds unnormalized logits."
    ),
    check=check,
)
