"""A softmax over the samples of a batch of outputs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._origins import is_model_call, origin
from ..._model._file import File
from ..._model._tree import argument, constant, key, method, owner
from ..._rule import Found, Rule, replaced
from ..._tensors._dims import tensor

_NAMES = ("softmax", "log_softmax")
_LAYERS = ("torch.nn.Softmax", "torch.nn.LogSoftmax")
_SAME = frozenset({"to", "cpu", "cuda", "float", "detach"})


def check(file: File) -> Iterator[Found]:
    """Look for softmax over dimension 0 on what a model gives for a batch.

    Args:
        file: The file.
    """
    for call, dim, given in list(_candidates(file)):
        batch = given is not None and _is_batch_output(file, given)
        if not batch and (given is None or _is_output(file, given)):
            batch = any(_gives(there, call) for there in file.project.files)
        if batch:
            yield Found(
                call,
                f"`{file.text_of(call.func)}` with `dim=0` goes over the samples of the batch, not"
                " over the classes.",
                "Use `dim=1`, the dimension of the classes.",
                edits=(replaced(file, dim, "1"),) if given is not None else (),
            )


def _candidates(file: File) -> Iterator[tuple[ast.Call, ast.expr, ast.expr | None]]:
    """Give what goes over dimension 0, its dimension, and of functions what they are given."""
    for name in _NAMES:
        for call in file.calls(f"torch.nn.functional.{name}", f"torch.{name}"):
            dim, given = argument(call, "dim", 1), argument(call, "input", 0)
            if dim is not None and given is not None and constant(dim) == 0:
                yield call, dim, given
        for call in file.method_calls(name):
            dim, given = argument(call, "dim", 0), owner(call)
            known = dim is not None and len(call.args) < 2 and constant(dim) == 0
            if (
                known
                and dim is not None
                and given is not None
                and not key(given).startswith("torch")
            ):
                yield call, dim, given
    for call in file.calls(*_LAYERS):
        dim = argument(call, "dim", 0)
        if dim is not None and constant(dim) == 0:
            yield call, dim, None


def _plain(file: File, node: ast.expr, depth: int = 0) -> ast.Call | None:
    """Give the call that made a value, through names and what keeps its shape."""
    if depth > 6:
        return None
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        value = bindings[0].value if len(bindings) == 1 and bindings[0].how == "whole" else None
        return _plain(file, value, depth + 1) if value is not None else None
    if isinstance(node, ast.Call) and method(node) in _SAME and not is_model_call(file, node):
        inner = owner(node)
        return _plain(file, inner, depth + 1) if inner is not None else None
    return node if isinstance(node, ast.Call) else None


def _is_output(file: File, node: ast.expr) -> bool:
    """Say whether a value comes right from a layer."""
    made = _plain(file, node)
    known = made is not None and is_model_call(file, made)
    return known and file.flow.is_last(made, "linear", "norm", "relu", "model") is not None


def _is_batch_output(file: File, node: ast.expr) -> bool:
    """Say whether a value comes right from a model that was given a batch."""
    made = _plain(file, node)
    if made is None or not is_model_call(file, made) or not made.args:
        return False
    last = file.flow.is_last(made, "linear", "norm", "relu", "model")
    return last is not None and _is_batch(file, made.args[0])


def _is_batch(file: File, node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and method(node) == "unsqueeze":
        return constant(argument(node, "dim", 0)) == 0
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        value = bindings[0].value if len(bindings) == 1 and bindings[0].how == "whole" else None
        if isinstance(value, ast.Call) and method(value) == "unsqueeze":
            return _is_batch(file, value)
    return origin(file, node) == "batch" or (tensor(file, node).ndim or 0) > 1


def _gives(file: File, softmax: ast.Call) -> bool:
    """Say whether the output of a model for a batch was last given to a softmax."""
    for loop in file.loops:
        for call in file.tree.own_calls(loop.node):
            if call.args and is_model_call(file, call) and origin(file, call.args[0]) == "batch":
                if any(one.node is softmax for one in file.flow.last(call)):
                    return True
    for loss in file.loss_calls:
        made = _plain(file, loss.input) if loss.input is not None else None
        if made is not None and made.args and is_model_call(file, made):
            if any(one.node is softmax for one in file.flow.last(made)):
                return _is_batch(file, made.args[0])
    return False


RULE = Rule(
    name="softmax-over-batch",
    severity="error",
    title="A softmax over the samples of a batch",
    why=(
        "With `dim=0` the softmax of a batch of outputs goes over the samples: for each class the "
        "probabilities of different samples add up to 1, and those of one sample do not. The "
        "output of a sample depends on its batch. It trains, badly, and nothing is reported."
    ),
    fix="Use `dim=1`, or `dim=-1`: the dimension of the classes.",
    bad="""\
import torch
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(20, 4)

    def forward(self, x):
        return F.log_softmax(self.out(x), dim=0)

def train(loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(20, 4)

    def forward(self, x):
        return F.log_softmax(self.out(x), dim=1)

def train(loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
""",
    source=(
        "PyTorch docs, torch.nn.Softmax: `dim` is the dimension along which the values add up to 1."
    ),
    check=check,
)
