"""A binary cross entropy on the output of a layer, without sigmoid."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._losses import is_last, line_of, shown

_KINDS = (
    "linear",
    "norm",
    "model",
    "relu",
    "leaky_relu",
    "gelu",
    "silu",
    "elu",
    "tanh",
    "softplus",
)


def check(file: File) -> Iterator[Found]:
    """Look for binary cross entropies whose input comes right from a layer.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind != "bce" or loss.input is None:
            continue
        done = is_last(file, loss.input, *_KINDS)
        if done is None:
            continue
        what = {"linear": "a layer", "model": "a model without sigmoid"}.get(done.kind, done.kind)
        yield Found(
            loss.call,
            f"{shown(loss.input)} comes right from {what}{line_of(file, done, loss.call)}, but"
            f" `{loss.name}` takes probabilities.",
            "Use binary cross entropy with logits, or apply sigmoid before the loss.",
        )


RULE = Rule(
    name="bce-without-sigmoid",
    severity="error",
    title="A binary cross entropy of values that are no probabilities",
    why=(
        "`BCELoss` takes probabilities. The output of a layer leaves the range from 0 to 1, often "
        'not in the first batches but later: then it raises "all elements of input should be '
        'between 0 and 1", on a GPU as a device-side assert at another line.'
    ),
    fix="Use `BCEWithLogitsLoss`, which takes the output of the layer, or apply sigmoid before.",
    bad="""\
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
    loss_fn = nn.BCELoss()
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
    source="PyTorch docs, BCELoss: the input holds probabilities.",
    check=check,
)
