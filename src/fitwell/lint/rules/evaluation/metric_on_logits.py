"""A metric that takes probabilities or classes is given logits."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant, key
from ..._rule import Found, Rule
from ..._training._losses import loss_calls
from ..._training._modes import same_model
from ..._training._outputs import comparisons, is_label, loop_around, output_of

_CLASSES = (
    "sklearn.metrics.accuracy_score",
    "sklearn.metrics.f1_score",
    "sklearn.metrics.precision_score",
    "sklearn.metrics.recall_score",
    "sklearn.metrics.balanced_accuracy_score",
)


def check(file: File) -> Iterator[Found]:
    """Look for logits cut at 0.5, rounded, or compared with labels.

    Args:
        file: The file.
    """
    yield from _cut_at_half(file)
    for left, right, node in comparisons(file):
        for side, other in ((left, right), (right, left)):
            loop = loop_around(file, node)
            if (
                loop is None
                or output_of(file, side, reshaped=True) is None
                or not is_label(file, loop, other)
            ):
                continue
            certain = _is_logits(file, side)
            if certain or (
                not file.flow.last(side) and "cross_entropy" in _trained_with(file, side)
            ):
                yield Found(
                    node,
                    f"`{ast.unparse(side)}` holds logits, and is compared with labels: they are"
                    " never equal.",
                    "Take the class first, with `argmax(dim=1)`, or `> 0` for one logit.",
                    certain=certain,
                )
    for call in file.calls(*_CLASSES):
        for value in (argument(call, "y_pred", 1), argument(call, "y_true", 0)):
            if value is not None and file.flow.is_last(value, "linear") is not None:
                yield Found(
                    call,
                    f"`{ast.unparse(value)}` holds logits, but `{key(call.func)}` takes classes:"
                    " it raises a ValueError.",
                    "Take the class first, with `argmax(dim=1)`, or `> 0` for one logit.",
                )


def _trained_with(file: File, value: ast.expr) -> set[str]:
    """Give the kinds of the losses that the model of an output trains with.

    Where none is known to take outputs of that model, all losses of the file count.
    """
    output = output_of(file, value, reshaped=True)
    found: set[str] = set()
    if output is None:
        return found
    for there in file.project.files:
        for loss in loss_calls(there):
            other = output_of(there, loss.input, reshaped=True)
            if other is not None and same_model(there, other.func, file, output.func):
                if file.values.of(output.func) or there is file:
                    found.add(loss.kind)
    return found or {loss.kind for loss in loss_calls(file)}


def _cut_at_half(file: File) -> Iterator[Found]:
    for node, value in _cuts(file):
        if output_of(file, value, reshaped=True) is None or not _is_logits(file, value):
            continue
        losses = _trained_with(file, value)
        if "bce_logits" not in losses or losses & {"mse", "l1", "bce"}:
            continue
        yield Found(
            node,
            f"`{ast.unparse(node)}` cuts logits at 0.5, which is a probability of 0.62: the model"
            " trains with a loss on logits.",
            "Cut at 0, or apply `torch.sigmoid` first.",
        )


def _cuts(file: File) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Find what is compared with 0.5 or rounded."""
    for node in file.tree.each(ast.Compare):
        order = len(node.ops) == 1 and isinstance(node.ops[0], (ast.Gt, ast.GtE, ast.Lt, ast.LtE))
        if order and constant(node.comparators[0]) == 0.5:
            yield node, node.left
    for call in file.method_calls("round"):
        if isinstance(call.func, ast.Attribute) and file.dotted(call.func) != "torch.round":
            yield call, call.func.value
    for call in file.calls("torch.round"):
        if call.args:
            yield call, call.args[0]
    for name in ("gt", "ge"):
        for call in file.method_calls(name):
            if call.args and constant(call.args[0]) == 0.5 and isinstance(call.func, ast.Attribute):
                yield call, call.func.value


def _is_logits(file: File, value: ast.expr) -> bool:
    """Say whether an output is certainly not yet a probability."""
    if file.flow.is_last(value, "linear") is not None:
        return True
    if file.flow.last(value):
        return False
    one = output_of(file, value, reshaped=True)
    return any(
        loss.kind == "bce_logits" and one is not None and _same(file, loss.input, one)
        for loss in loss_calls(file)
    )


def _same(file: File, given: ast.expr | None, output: ast.Call) -> bool:
    """Say whether a loss is given the output of the same model."""
    other = output_of(file, given, reshaped=True)
    return other is not None and key(other.func) != "" and key(other.func) == key(output.func)


RULE = Rule(
    name="metric-on-logits",
    severity="error",
    title="A metric is computed on logits",
    why=(
        "A model that trains with `BCEWithLogitsLoss` gives logits. `outputs > 0.5` asks for a"
        " probability above 0.62, and `round()` gives -3 or 2, which equals no label; both give a"
        " wrong accuracy beside a good loss. `accuracy_score` of scikit-learn raises on numbers"
        " that are no classes."
    ),
    fix="Cut logits at 0, or apply `torch.sigmoid` and cut at 0.5.",
    bad="""\
import torch
from torch import nn

def evaluate(model, valid_loader):
    loss_fn = nn.BCEWithLogitsLoss(reduction="sum")
    loss, correct = 0.0, 0
    model.eval()
    with torch.no_grad():
        for x, y in valid_loader:
            logits = model(x)
            loss += loss_fn(logits, y).item()
            correct += ((logits > 0.5) == y).sum().item()
    size = len(valid_loader.dataset)
    return loss / size, correct / size
""",
    good="""\
import torch
from torch import nn

def evaluate(model, valid_loader):
    loss_fn = nn.BCEWithLogitsLoss(reduction="sum")
    loss, correct = 0.0, 0
    model.eval()
    with torch.no_grad():
        for x, y in valid_loader:
            logits = model(x)
            loss += loss_fn(logits, y).item()
            correct += ((logits > 0) == y).sum().item()
    size = len(valid_loader.dataset)
    return loss / size, correct / size
""",
    source="PyTorch docs, nn.BCEWithLogitsLoss: the sigmoid is part of the loss.",
    check=check,
)
