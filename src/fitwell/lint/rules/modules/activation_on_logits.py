"""A ReLU or tanh after the last layer of a classifier."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._losses import is_last, loss_calls


def check(file: File) -> Iterator[Found]:
    """Look for losses of logits whose input certainly comes out of a ReLU or a tanh.

    Args:
        file: The file.
    """
    for loss in loss_calls(file):
        if loss.kind not in ("cross_entropy", "bce_logits"):
            continue
        found = is_last(file, loss.input, "relu", "tanh")
        if found is not None:
            bound = "are never negative" if found.kind == "relu" else "stay between -1 and 1"
            yield Found(
                loss.call,
                f"The logits that `{loss.name}` is given come out of a {found.kind} and {bound}.",
                "Let the last linear layer give the logits, without an activation.",
            )


RULE = Rule(
    name="activation-on-logits",
    severity="warning",
    title="The logits of a classifier go through a ReLU or a tanh",
    why=(
        "Logits are any numbers. After a ReLU none is negative: with `BCEWithLogitsLoss` no"
        " probability is under 0.5, and with `CrossEntropyLoss` a class whose logit is 0 gets"
        " no gradient and cannot be pushed lower. After a tanh they lie between -1 and 1, so"
        " that of ten classes none gets a probability over 0.46. The loss stops falling far"
        " from its minimum."
    ),
    fix="End the network with its last linear layer.",
    bad="""\
import torch
from torch import nn

def train(loader):
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4), nn.ReLU())
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

def train(loader):
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.nn.CrossEntropyLoss: the input is unnormalized logits.",
    check=check,
)
