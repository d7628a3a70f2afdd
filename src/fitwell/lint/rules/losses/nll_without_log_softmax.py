"""A negative log likelihood of logits or probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._losses import fault_at, is_last, line_of, shown

_LAYERS = ("linear", "norm", "model", "relu", "leaky_relu", "gelu", "silu", "elu", "tanh")


def check(file: File) -> Iterator[Found]:
    """Look for negative log likelihoods whose input was not last given to a logarithm.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind != "nll" or loss.input is None:
            continue
        done = is_last(file, loss.input, *_LAYERS, "softmax", "sigmoid")
        if done is None:
            continue
        if done.kind in ("softmax", "sigmoid"):
            place, message = fault_at(file, loss, done, "takes log-probabilities")
            change = "Use `log_softmax` instead"
        else:
            where = line_of(file, done, loss.call)
            place, change = loss.call, "Apply `log_softmax` before the loss"
            message = (
                f"{shown(loss.input)} comes right from a layer{where}, but `{loss.name}` takes"
                " log-probabilities."
            )
        yield Found(place, message, f"{change}, or give the logits to a cross entropy.")


RULE = Rule(
    name="nll-without-log-softmax",
    severity="error",
    title="A negative log likelihood of values that are no log-probabilities",
    why=(
        "`NLLLoss` picks the value of the right class and changes its sign: it computes no "
        "logarithm. Of logits it has no lower bound and falls to minus infinity; of probabilities "
        "it lies between -1 and 0. The model trains on something else, and only a negative loss "
        "shows it."
    ),
    fix="Apply `log_softmax` before the loss, or give the logits to a cross entropy.",
    bad="""\
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
    loss_fn = nn.NLLLoss()
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
        return torch.log_softmax(self.out(self.hidden(x).relu()), dim=1)

def train(loader):
    model = Net()
    loss_fn = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, NLLLoss: the input has to contain log-probabilities.",
    check=check,
)
