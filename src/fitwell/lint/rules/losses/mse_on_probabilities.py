"""A squared error where the target is a probability."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._labels import are_indices, stripped
from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._tensors._dims import tensor
from ..._training._losses import LossCall, is_last, shown


def check(file: File) -> Iterator[Found]:
    """Look for squared errors whose target, or whose output, is a probability.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind != "mse" or loss.input is None or loss.target is None or _measures(loss):
            continue
        squashed = is_last(file, loss.input, "softmax", "sigmoid")
        one_hot = tensor(file, loss.target).hot or is_last(file, loss.target, "one_hot") is not None
        labels = squashed is not None and are_indices(file, loss.target)
        if one_hot or labels:
            what = "one-hot rows" if one_hot else "classes"
            yield Found(
                loss.call,
                f"`{loss.name}` compares {shown(loss.input)} with {what}: its gradient vanishes"
                " where the model is sure and wrong.",
                "Use a cross entropy of the logits.",
            )
        elif squashed is None and is_last(file, loss.target, "softmax"):
            if is_last(file, loss.input, "linear"):
                yield Found(
                    loss.call,
                    f"The target {shown(loss.target)} of `{loss.name}` holds probabilities, but the"
                    " output is not bounded.",
                    "Use a cross entropy, or `F.kl_div` of the output's log_softmax.",
                    certain=False,
                )


def _measures(loss: LossCall) -> bool:
    """Say whether it is a measure and no loss that is trained on: no gradient, or a Brier score."""
    tree = loss.file.tree
    words = [getattr(tree.function(loss.call), "name", "")]
    statement = tree.statement(loss.call)
    if isinstance(statement, ast.Assign):
        words += [key(target) for target in statement.targets]
    for around in tree.above(loss.call):
        if isinstance(around, (ast.With, ast.AsyncWith)):
            words += [ast.unparse(item.context_expr) for item in around.items]
        if isinstance(around, (ast.FunctionDef, ast.AsyncFunctionDef)):
            words += [ast.unparse(one) for one in around.decorator_list]
    text = " ".join(words).lower()
    if any(word in text for word in ("brier", "no_grad", "inference_mode", "metric", "eval")):
        return True
    return key(stripped(loss.file, loss.target)) == key(stripped(loss.file, loss.input)) != ""


RULE = Rule(
    name="mse-on-probabilities",
    severity="warning",
    title="A squared error of probabilities",
    why=(
        "The gradient of a squared error goes through the slope of the softmax or sigmoid, which "
        "is almost 0 where the model is sure, right or wrong: the worst predictions learn least. "
        "The gradient of a cross entropy stays in proportion to the error. The Brier score, as a "
        "measure after training, is another matter."
    ),
    fix="Use a cross entropy of the logits.",
    bad="""\
import torch
from torch import nn
import torch.nn.functional as F

def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(torch.softmax(model(x), dim=1), F.one_hot(y, 10).float())
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn
import torch.nn.functional as F

def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source=(
        "Hung-yi Lee 2021, lecture 1: cross entropy when y is a probability. Hung-yi Lee 2021, "
        "classification: squared error and cross entropy on softmax."
    ),
    check=check,
)
