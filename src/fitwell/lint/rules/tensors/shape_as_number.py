"""A shape that is called, indexed or counted in a way that it cannot be."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import constant, key, owner
from ..._rule import Found, Rule, replaced
from ..._tensors._tensor_batches import is_tensor


def check(file: File) -> Iterator[Found]:
    """Look for ``x.shape(0)``, ``x.size[0]`` and ``range(x.shape)``.

    Args:
        file: The file.
    """
    yield from _called(file)
    yield from _indexed(file)
    yield from _counted(file)


def _called(file: File) -> Iterator[Found]:
    for call in file.method_calls("shape"):
        on = owner(call)
        numbers = len(call.args) == 1 and isinstance(constant(call.args[0]), int)
        if on is None or not numbers or call.keywords or _is_module(file, on):
            continue
        if file.called(call) is not None or not (file.arrays.of(on) or isinstance(on, ast.Name)):
            continue
        text, place = ast.unparse(on), ast.unparse(call.args[0])
        yield Found(
            call,
            f"`{text}.shape` is a tuple and is called here like a function, which raises"
            " TypeError.",
            f"Write `{text}.shape[{place}]`, or `{text}.size({place})` of a tensor.",
            edits=(replaced(file, call, f"{text}.shape[{place}]"),),
        )


def _indexed(file: File) -> Iterator[Found]:
    for node in file.tree.each(ast.Subscript):
        value = node.value
        if not (isinstance(value, ast.Attribute) and value.attr == "size"):
            continue
        if not isinstance(node.ctx, ast.Load) or not is_tensor(file, value.value):
            continue
        text, place = ast.unparse(value.value), ast.unparse(node.slice)
        yield Found(
            node,
            f"`{text}.size` is a method and is indexed here like a tuple, which raises TypeError.",
            f"Write `{text}.size({place})` or `{text}.shape[{place}]`.",
            edits=(replaced(file, node, f"{text}.shape[{place}]"),),
        )


def _counted(file: File) -> Iterator[Found]:
    for call in file.calls("range"):
        size = call.args[0] if len(call.args) == 1 else None
        on = None
        if isinstance(size, ast.Attribute) and size.attr == "shape":
            on = size.value
        elif isinstance(size, ast.Call) and isinstance(size.func, ast.Attribute):
            if size.func.attr == "size" and not size.args and not size.keywords:
                on = size.func.value
        if size is None or on is None or not (file.arrays.of(on) or is_tensor(file, on)):
            continue
        yield Found(
            call,
            f"`{ast.unparse(size)}` holds the sizes of all dimensions, and `range` needs one"
            " number.",
            f"Name the dimension: `range({ast.unparse(on)}.shape[0])`.",
        )


def _is_module(file: File, node: ast.expr) -> bool:
    """Say whether ``np.shape(x)`` is a function of a library."""
    first = key(node).partition(".")[0]
    return bool(file.names.imported(first)) or not first


RULE = Rule(
    name="shape-as-number",
    severity="error",
    title="A shape is called, or a size is indexed",
    why=(
        "`x.shape` is a tuple: it is indexed, `x.shape[0]`. `x.size` of a tensor is a method: it is"
        " called, `x.size(0)`. Mixed up, both raise TypeError; in a branch that seldom runs, such"
        " as the evaluation after the first epoch, that happens hours later."
    ),
    fix="Write `x.shape[0]` or `x.size(0)`.",
    bad="""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        x = x.view(x.shape(0), -1)
        return self.fc(x)
""",
    good="""\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        x = x.view(x.shape[0], -1)
        return self.fc(x)
""",
    source="PyTorch docs, torch.Tensor.size and torch.Size; Hung-yi Lee 2021, PyTorch tutorial.",
    check=check,
)
