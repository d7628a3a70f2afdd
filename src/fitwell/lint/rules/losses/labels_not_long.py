"""Class indices of a type that cross entropy does not take."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._origins import origin
from ..._model._file import File
from ..._model._tree import method
from ..._rule import Edit, Found, Rule, replaced
from ..._tensors._dims import tensor
from ..._training._losses import shown

_TYPES = frozenset({"int32", "int16", "int8", "bool"})


def check(file: File) -> Iterator[Found]:
    """Look for cross entropies whose target certainly holds other integers than long.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind not in ("cross_entropy", "nll") or loss.target is None:
            continue
        dtype = tensor(file, loss.target).dtype
        if dtype not in _TYPES or origin(file, loss.target) == "output":
            continue
        yield Found(
            loss.call,
            f"The target {shown(loss.target)} of `{loss.name}` is `{dtype}`, but class indices have"
            " to be `torch.long`.",
            "Make the target `.long()`.",
            edits=_edits(file, loss.target),
        )


def _edits(file: File, node: ast.expr) -> tuple[Edit, ...]:
    if isinstance(node, ast.Call) and method(node) in ("int", "short") and not node.args:
        return (replaced(file, node, file.text_of(node.func).rpartition(".")[0] + ".long()"),)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return (replaced(file, node, f"{file.text_of(node)}.long()"),)
    return ()


RULE = Rule(
    name="labels-not-long",
    severity="error",
    title="Class indices of a short integer type in a cross entropy",
    why=(
        "Cross entropy takes class indices as `torch.long` (or `torch.uint8`). Others raise "
        '"expected target dtype to be Long or Byte, but got Int". They come from `np.int32`, '
        "`.int()` or a comparison."
    ),
    fix="Make the class indices `.long()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x)
        loss = loss_fn(logits, y.int())
        loss.backward()
        optimizer.step()
        print((logits.argmax(dim=1) == y).sum())
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x)
        loss = loss_fn(logits, y.long())
        loss.backward()
        optimizer.step()
        print((logits.argmax(dim=1) == y).sum())
""",
    source=(
        "Hung-yi Lee 2021 to 2023, PyTorch tutorial, common errors: labels of a cross entropy are "
        "long."
    ),
    check=check,
)
