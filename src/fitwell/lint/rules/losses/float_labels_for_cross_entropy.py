"""Class indices that were made floating point numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._labels import are_indices, stripped
from ..._data._origins import origin, says_labels
from ..._model._file import File
from ..._model._tree import constant, method
from ..._rule import Edit, Found, Rule, replaced
from ..._tensors._dims import tensor
from ..._training._losses import LossCall, shown

_SOFT = (
    "one_hot",
    "onehot",
    "soft",
    "mix",
    "smooth",
    "prob",
    "eye(",
    "scatter",
    "dummies",
    "binar",
)


def check(file: File) -> Iterator[Found]:
    """Look for cross entropies whose target is certainly floating point and class indices.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind not in ("cross_entropy", "nll") or loss.target is None:
            continue
        target = tensor(file, loss.target)
        if origin(file, loss.target) == "output" or not _is_float(loss) or target.hot:
            continue
        certain = are_indices(file, loss.target) or (
            target.ndim == 1 and tensor(file, loss.input).ndim != 1 and not _has_parts(loss)
        )
        if not certain:
            if target.ndim is not None or not says_labels(loss.target):
                continue
            if not _converted(loss.target):
                continue
            if any(word in file.text.lower() for word in _SOFT):
                continue
        yield Found(
            loss.call,
            f"`{loss.name}` is given {shown(loss.target)}, class indices as floating point numbers,"
            " which it takes for probabilities.",
            "Leave the class indices as they are, or make them `.long()`.",
            edits=_edits(file, loss.target) if certain else (),
            certain=certain,
        )


def _is_float(loss: LossCall) -> bool:
    return tensor(loss.file, loss.target).is_float


def _has_parts(loss: LossCall) -> bool:
    """Say whether the target is made of a list with numbers such as 0.25."""
    made = stripped(loss.file, loss.target)
    if isinstance(made, ast.Name):
        bindings = loss.file.values.bindings.reaching(made).bindings
        made = bindings[0].value if len(bindings) == 1 else None
    parts = [constant(one) for one in ast.walk(made)] if isinstance(made, ast.Call) else []
    return any(isinstance(part, float) and part % 1 for part in parts)


def _converted(node: ast.expr | None) -> bool:
    """Say whether the target is made floating point right in the call."""
    return node is not None and method(node) in ("float", "double", "to", "type")


def _edits(file: File, node: ast.expr | None) -> tuple[Edit, ...]:
    if isinstance(node, ast.Call) and method(node) in ("float", "double") and not node.args:
        return (replaced(file, node, file.text_of(node.func).rpartition(".")[0] + ".long()"),)
    return ()


RULE = Rule(
    name="float-labels-for-cross-entropy",
    severity="error",
    title="Class indices as floating point numbers in a cross entropy",
    why=(
        "Cross entropy reads a floating point target as probabilities of all classes. Class "
        'indices as floats raise "expected target dtype to be Long or Byte, but got Float". '
        "Probabilities, such as one-hot rows or mixed labels, have to be floats."
    ),
    fix="Leave the class indices as `torch.long`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x)
        loss = loss_fn(logits, y.float())
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
        loss = loss_fn(logits, y)
        loss.backward()
        optimizer.step()
        print((logits.argmax(dim=1) == y).sum())
""",
    source=(
        "Hung-yi Lee 2021 to 2023, PyTorch tutorial, common errors: labels of a cross entropy are "
        "long. PyTorch docs, CrossEntropyLoss: shape of the target."
    ),
    check=check,
)
