"""A mean of whole numbers or truth values, which torch refuses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, owner
from ..._rule import Edit, Found, Rule, span
from ..._tensors._dtypes import is_whole
from ..._tensors._tensor_batches import is_tensor

_METHODS = ("mean", "std", "var", "softmax", "norm", "log_softmax")


def check(file: File) -> Iterator[Found]:
    """Look for `mean`, `std` and the like of tensors of whole numbers.

    Args:
        file: The file.
    """
    functions = [f"torch.{name}" for name in _METHODS]
    calls = [(call, call.args[0]) for call in file.calls(*functions) if call.args]
    for call in file.method_calls(*_METHODS):
        on = owner(call)
        if on is not None and file.dotted(call.func) not in functions:
            calls.append((call, on))
    for call, on in calls:
        kind = _kind(file, on)
        if not kind or argument(call, "dtype") is not None:
            continue
        end = span(file, on)[1]
        closed = isinstance(on, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
        name = ast.unparse(call.func).rpartition(".")[2]
        yield Found(
            call,
            f"`{name}` of `{ast.unparse(on)}` raises RuntimeError: its elements are {kind}.",
            f"Convert it first: `.float().{name}(...)`.",
            edits=(Edit(end, end, ".float()"),) if closed else (),
        )


def _kind(file: File, node: ast.expr) -> str:
    """Say what the elements of a tensor are, if they certainly have no fractions."""
    found = file.arrays.of(node)
    if found is not None:
        whole = found.library == "torch" and is_whole(found.dtype)
        return ("truth values" if found.dtype == "bool" else "whole numbers") if whole else ""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        sides = (node.left, node.comparators[0])
        equal = isinstance(node.ops[0], (ast.Eq, ast.NotEq, ast.Gt, ast.Lt, ast.GtE, ast.LtE))
        if equal and any(is_tensor(file, side) for side in sides):
            return "truth values"
    return ""


RULE = Rule(
    name="integer-tensor-mean",
    severity="error",
    title="The mean of whole numbers or truth values",
    why=(
        "numpy takes the mean of whole numbers and of truth values, torch does not:"
        " `(pred == y).mean()` and `torch.tensor([1, 2, 3]).mean()` raise RuntimeError (could not"
        " infer output dtype). So do `std`, `var`, `norm` and `softmax`."
    ),
    fix="Convert first: `(pred == y).float().mean()`.",
    bad="""\
import torch

def accuracy(model, loader, device):
    model.eval()
    right, seen = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            pred = model(x).argmax(dim=1)
            right += (pred == y).mean().item() * len(y)
            seen += len(y)
    return right / seen
""",
    good="""\
import torch

def accuracy(model, loader, device):
    model.eval()
    right, seen = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            pred = model(x).argmax(dim=1)
            right += (pred == y).float().mean().item() * len(y)
            seen += len(y)
    return right / seen
""",
    source="PyTorch docs, torch.mean: the input must be floating point or complex.",
    check=check,
)
