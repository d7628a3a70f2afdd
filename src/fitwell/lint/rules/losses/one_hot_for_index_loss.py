"""A one-hot target in a loss that takes class indices."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._tensors._dims import tensor
from ..._training._losses import shown


def check(file: File) -> Iterator[Found]:
    """Look for one-hot targets: of integers in a cross entropy, of any kind in an index loss.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        target = tensor(file, loss.target)
        if not target.hot:
            continue
        if loss.kind == "cross_entropy":
            if not target.is_integer:
                continue
            better = "Give the loss the class indices, or make the one-hot target `.float()`."
        elif loss.kind in ("nll", "multi_margin"):
            better = "Give the loss the class indices."
        else:
            continue
        yield Found(
            loss.call,
            f"`{loss.name}` is given the one-hot target {shown(loss.target)}, but takes class"
            " indices.",
            better,
        )


RULE = Rule(
    name="one-hot-for-index-loss",
    severity="error",
    title="A one-hot target in a loss that takes class indices",
    why=(
        "Cross entropy takes class indices, or probabilities as floats; `F.one_hot` gives "
        'integers, and "Expected floating point type for target with class probabilities, got '
        'Long" is raised. `NLLLoss` and `MultiMarginLoss` take class indices only.'
    ),
    fix="Give the loss the class indices.",
    bad="""\
import torch
import torch.nn.functional as F

def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), F.one_hot(y, 10))
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
import torch.nn.functional as F

def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, CrossEntropyLoss and NLLLoss: shape and type of the target.",
    check=check,
)
