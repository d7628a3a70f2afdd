"""An average of the averages of batches, although the last batch may be short."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._model._roles import held_out
from ..._rule import Found, Rule
from ..._training._averages import divisions, may_be_short
from ..._training._passes import in_framework, measures


def check(file: File) -> Iterator[Found]:
    """Look for means over batches that are added up and divided by the number of batches.

    Args:
        file: The file.
    """
    if in_framework(file):
        return
    for one in divisions(file):
        loop = one.sum.loop
        if one.sum.amount != "mean" or one.per != "batches" or not may_be_short(file, loop.loader):
            continue
        certain = not loop.trains and (held_out(loop.roles) or measures(file, loop.node))
        yield Found(
            one.node,
            f"`{one.sum.name}` holds means over batches, divided here by {_text(one.by)}: a short"
            " last batch counts as much as a full one.",
            "Add up the loss times the batch size, and divide by the number of examples.",
            certain=certain,
        )


def _text(by: str) -> str:
    return by if by.startswith("the ") else f"`{by}`"


RULE = Rule(
    name="mean-of-batch-means",
    severity="warning",
    title="An average of batch means gives a short last batch too much weight",
    why=(
        "A loss with `reduction='mean'` is the mean over one batch. Where the number of examples"
        " is no multiple of the batch size, the last batch is short, and each of its examples"
        " counts more than the others: 1,001 examples in batches of 100 give one example the"
        " weight of a hundred. The result changes with the batch size, and models are compared by"
        " it. Where the last batch is dropped, or fits, the average is right."
    ),
    fix="Add up `loss.item() * len(x)`, and divide by `len(loader.dataset)`.",
    bad="""\
import torch
from torch import nn

def evaluate(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    total = 0.0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            total += loss_fn(model(x), y).item()
    return total / len(loader)
""",
    good="""\
import torch
from torch import nn

def evaluate(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    total = 0.0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            total += loss_fn(model(x), y).item() * len(x)
    return total / len(loader.dataset)
""",
    source="Course tutorial (Hung-yi Lee 2021): the validation loss is weighted by the batch size.",
    check=check,
)
