"""``volatile``, which switches nothing off any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for ``Variable(x, volatile=True)`` and ``x.volatile = True``.

    Args:
        file: The file.
    """
    fix = "Put the forward pass into `with torch.no_grad():`."
    message = "`volatile=True` has no effect any more: gradients are recorded all the same."
    for call in file.calls("torch.autograd.Variable"):
        if constant(argument(call, "volatile")) is True:
            yield Found(call, message, fix)
    for node in file.tree.each(ast.Assign):
        target = node.targets[0]
        if isinstance(target, ast.Attribute) and target.attr == "volatile":
            if constant(node.value) is True:
                yield Found(node, message, fix)


RULE = Rule(
    name="volatile-argument",
    severity="warning",
    title="volatile=True no longer switches gradients off",
    why=(
        "`volatile` was removed in PyTorch 0.4. The argument is still accepted, with a warning, and"
        " ignored: an evaluation that relies on it builds the graph of every batch, which costs"
        " memory and time."
    ),
    fix="Use `with torch.no_grad():` or `torch.inference_mode()`.",
    bad="""\
import torch
from torch.autograd import Variable

def probabilities(model, images):
    model.eval()
    x = Variable(images, volatile=True)
    return torch.sigmoid(model(x)).tolist()
""",
    good="""\
import torch

def probabilities(model, images):
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(images)).tolist()
""",
    source="PyTorch 0.4 migration guide; torch warns of it today.",
    check=check,
)
