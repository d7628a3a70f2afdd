"""A sum over examples divided by the number of batches."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._averages import divisions


def check(file: File) -> Iterator[Found]:
    """Look for counts of examples that are divided by the number of batches.

    Args:
        file: The file.
    """
    for one in divisions(file):
        if one.sum.amount == "sum" and one.per == "batches" and not one.sum.listed:
            yield Found(
                one.node,
                f"`{one.sum.name}` is a sum over examples, but is divided by `{one.by}`, the"
                " number of batches: the result is too large by the batch size.",
                "Divide by the number of examples, such as `len(loader.dataset)`.",
            )


RULE = Rule(
    name="count-divided-by-batches",
    severity="error",
    title="A sum over examples is divided by the number of batches",
    why=(
        "`len(loader)` is the number of batches. A count of right answers divided by it is not an"
        " accuracy but the number of right answers per batch: 57.6 with batches of 64, or 5760 %."
        " The same holds for a loss that is multiplied by the batch size before it is added."
    ),
    fix="Divide by `len(loader.dataset)`, or by the number of examples counted in the loop.",
    bad="""\
import torch

def accuracy(model, test_loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in test_loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(test_loader)
""",
    good="""\
import torch

def accuracy(model, test_loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in test_loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(test_loader.dataset)
""",
    source="PyTorch docs, torch.utils.data.DataLoader: its length is the number of batches.",
    check=check,
)
