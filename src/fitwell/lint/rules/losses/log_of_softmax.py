"""The logarithm of a softmax or of a sigmoid, computed in two steps."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._flow import Operation
from ..._model._tree import owner
from ..._rule import Edit, Found, Rule, replaced
from ..._training._losses import shown

_WRITTEN = ("torch.ones", "torch.zeros", "torch.full", "torch.tensor", "torch.arange")
_LOGS = ("torch.log", "numpy.log", "torch.log2", "torch.log10")


def check(file: File) -> Iterator[Found]:
    """Look for logarithms of what softmax or sigmoid gave.

    Args:
        file: The file.
    """
    given = [(call, call.args[0]) for call in file.calls(*_LOGS) if call.args]
    for call in file.method_calls("log"):
        on = owner(call)
        if on is not None and not call.args and not call.keywords:
            given.append((call, on))
    for call, value in given:
        done = file.flow.is_last(value, "softmax", "sigmoid")
        if done is None or _is_of_constants(file, done):
            continue
        better = "log_softmax" if done.kind == "softmax" else "logsigmoid"
        yield Found(
            call,
            f"{shown(call)} is the logarithm of a {done.kind}, which is minus infinity where the"
            f" {done.kind} is too small for its number format.",
            f"Use `{better}` of the logits instead.",
            edits=_edits(file, call, value, done),
            certain=_certain(file, call, value, done),
        )


def _is_of_constants(file: File, done: Operation) -> bool:
    """Say whether the logits are written down: ``torch.sigmoid(torch.ones(1))``."""
    inner = done.argument
    return isinstance(inner, ast.Call) and file.dotted(inner.func) in _WRITTEN


def _certain(file: File, call: ast.Call, value: ast.expr, done: Operation) -> bool:
    """Say whether softmax and logarithm are of the same function, and of no entropy."""
    same = done.file is file and file.tree.function(done.node) is file.tree.function(call)
    parent = file.tree.parent(call)
    weighted = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult)
    if weighted and parent is not None:
        weighted = file.text_of(parent).count(file.text_of(value)) > 1
    return same and done.argument is not None and not weighted


def _edits(file: File, call: ast.Call, value: ast.expr, done: Operation) -> tuple[Edit, ...]:
    """Give the change of ``torch.log(F.softmax(x, dim=1))``: its inner call with another name."""
    if done.node is not value or done.kind != "softmax" or not isinstance(value, ast.Call):
        return ()
    func = value.func
    if not isinstance(func, ast.Attribute) or file.dotted(call.func) not in ("torch.log", ""):
        return ()
    arguments = file.text_of(value)[len(file.text_of(func)) :]
    return (replaced(file, call, f"{file.text_of(func.value)}.log_softmax{arguments}"),)


RULE = Rule(
    name="log-of-softmax",
    severity="warning",
    title="The logarithm of a softmax or a sigmoid",
    why=(
        "In float32 a softmax is 0 as soon as its logit lies 104 below the largest one, and its "
        "logarithm is then minus infinity: the loss becomes inf and the gradients nan, once the "
        "model is sure of something wrong. `log_softmax` computes the same without that, and so "
        "does `logsigmoid`."
    ),
    fix="Use `log_softmax`, or `logsigmoid`.",
    bad="""\
import torch
import torch.nn.functional as F

def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        log_probs = torch.log(F.softmax(model(x), dim=1))
        loss = F.nll_loss(log_probs, y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
import torch.nn.functional as F

def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        log_probs = F.log_softmax(model(x), dim=1)
        loss = F.nll_loss(log_probs, y)
        loss.backward()
        optimizer.step()
""",
    source=(
        "PyTorch docs, log_softmax: doing the two operations separately is slower and numerically "
        "unstable."
    ),
    check=check,
)
