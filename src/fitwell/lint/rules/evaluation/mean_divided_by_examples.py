"""Means over batches divided by the number of examples."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._averages import divisions, is_loader


def check(file: File) -> Iterator[Found]:
    """Look for means over batches that are added up and divided by the number of examples.

    Args:
        file: The file.
    """
    for one in divisions(file):
        if one.sum.amount != "mean" or one.per != "examples":
            continue
        if not is_loader(file, one.sum.loop.loader) or _multiplied(file, one.node):
            continue
        yield Found(
            one.node,
            f"`{one.sum.name}` adds up means over batches, but is divided by `{one.by}`, the"
            " number of examples: the result is too small by the batch size.",
            "Multiply each mean by the batch size before it is added.",
        )


def _multiplied(file: File, node: ast.AST) -> bool:
    """Say whether the result is multiplied by something like the batch size."""
    around = file.tree.parent(node)
    if not isinstance(around, ast.BinOp) or not isinstance(around.op, ast.Mult):
        return False
    other = around.right if around.left is node else around.left
    return not isinstance(other, ast.Constant)


RULE = Rule(
    name="mean-divided-by-examples",
    severity="error",
    title="A sum of batch means is divided by the number of examples",
    why=(
        "A loss with `reduction='mean'` is already divided by the batch size. Divided once more"
        " by the number of examples, the average is too small by the batch size: 0.69 becomes"
        " 0.011 with batches of 64. It looks like a very good loss, and it changes with the batch"
        " size. The listing that this comes from uses `reduction='sum'`."
    ),
    fix="Add up `loss.item() * len(x)`, or use `reduction='sum'`.",
    bad="""\
import torch
import torch.nn.functional as F

def evaluate(model, test_loader):
    test_loss = 0.0
    model.eval()
    with torch.no_grad():
        for x, y in test_loader:
            test_loss += F.cross_entropy(model(x), y).item()
    return test_loss / len(test_loader.dataset)
""",
    good="""\
import torch
import torch.nn.functional as F

def evaluate(model, test_loader):
    test_loss = 0.0
    model.eval()
    with torch.no_grad():
        for x, y in test_loader:
            test_loss += F.cross_entropy(model(x), y, reduction="sum").item()
    return test_loss / len(test_loader.dataset)
""",
    source="PyTorch docs, reduction of nn.CrossEntropyLoss; course tutorial (Hung-yi Lee 2021).",
    check=check,
)
