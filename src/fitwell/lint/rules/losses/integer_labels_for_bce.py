"""Integers as the target of a binary cross entropy."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._origins import origin
from ..._model._file import File
from ..._rule import Found, Rule
from ..._tensors._dims import tensor
from ..._training._losses import shown


def check(file: File) -> Iterator[Found]:
    """Look for binary cross entropies whose target certainly holds integers.

    Args:
        file: The file.
    """
    for loss in file.loss_calls:
        if loss.kind not in ("bce", "bce_logits") or loss.target is None:
            continue
        dtype = tensor(file, loss.target).dtype
        if not tensor(file, loss.target).is_integer or origin(file, loss.target) == "output":
            continue
        yield Found(
            loss.call,
            f"The target {shown(loss.target)} of `{loss.name}` is `{dtype}`, but it has to be"
            " floating point like the output.",
            "Make the target `.float()`.",
        )


RULE = Rule(
    name="integer-labels-for-bce",
    severity="error",
    title="Integers as the target of a binary cross entropy",
    why=(
        'A binary cross entropy takes a target of the type of its input. Integers raise "Found '
        'dtype Long but expected Float" or "result type Float can\'t be cast to the desired output '
        'type Long".'
    ),
    fix="Make the target `.float()`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    loss_fn = nn.BCEWithLogitsLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x).squeeze(1)
        loss = loss_fn(logits, y.long())
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer):
    loss_fn = nn.BCEWithLogitsLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x).squeeze(1)
        loss = loss_fn(logits, y.float())
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, BCEWithLogitsLoss: the target holds numbers between 0 and 1.",
    check=check,
)
