"""Anomaly detection of autograd that runs in every step."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for `set_detect_anomaly` and `detect_anomaly` that no condition guards.

    Args:
        file: The file.
    """
    for call in file.calls("torch.autograd.set_detect_anomaly", "torch.autograd.detect_anomaly"):
        mode = argument(call, "mode", 0)
        if mode is not None and constant(mode) is not True and "set_" in file.dotted(call.func):
            continue
        if mode is None and "set_" in file.dotted(call.func):
            continue
        if file.tree.conditional(call, file.tree.root):
            continue
        if file.tree.inside(call, ast.ExceptHandler) is None and any(file.steps):
            yield Found(
                call,
                "Anomaly detection stays on for the whole training: each operation records a"
                " stack trace, and each gradient is checked.",
                "Take it out once the fault is found, or put it under a flag.",
                certain=False,
            )


RULE = Rule(
    name="anomaly-detection-left-on",
    severity="hint",
    title="Anomaly detection is left on",
    why=(
        "`detect_anomaly` stores the Python stack of every forward operation and searches every"
        " gradient for NaN. It is for debugging: steps of small networks take several times as"
        " long with it."
    ),
    fix="Use it to find a NaN, then take it out, or put it under a flag.",
    bad="""\
import torch
from torch import nn

torch.autograd.set_detect_anomaly(True)

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, debug=False):
    torch.autograd.set_detect_anomaly(debug)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.autograd: anomaly detection slows down the execution.",
    check=check,
)
