"""A method that gives a new tensor, which is thrown away."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import FUNCTIONS, argument, constant, owner
from ..._rule import Edit, Found, Rule, span
from ..._tensors._tensor_batches import is_tensor

_METHODS = (
    "to", "cuda", "cpu", "float", "double", "half", "long", "int", "bool", "view", "reshape",
    "permute", "transpose", "squeeze", "unsqueeze", "flatten", "detach", "clamp", "clone",
    "contiguous", "t", "expand", "repeat", "softmax", "log_softmax", "sigmoid", "relu", "tanh",
    "masked_fill", "type", "clip", "add", "mul", "sub", "div", "bfloat16",
)  # fmt: skip
_FUNCTIONS = (
    "relu", "sigmoid", "tanh", "softmax", "log_softmax", "flatten", "squeeze", "unsqueeze",
    "clamp", "reshape", "permute", "transpose", "dropout", "leaky_relu", "gelu", "normalize",
    "elu", "silu", "max_pool2d", "softplus",
)  # fmt: skip
_FULL = tuple(f"torch.{name}" for name in _FUNCTIONS)
_FULL += tuple(f"torch.nn.functional.{name}" for name in _FUNCTIONS)


def check(file: File) -> Iterator[Found]:
    """Look for ``x.to(device)`` and the like as a statement, where `x` is a tensor.

    Args:
        file: The file.
    """
    for call in file.method_calls(*_METHODS):
        statement = file.tree.parent(call)
        on = owner(call)
        if not isinstance(statement, ast.Expr) or on is None or _is_shown(file, statement):
            continue
        if not is_tensor(file, on):
            continue
        start = span(file, call)[0]
        text = ast.unparse(on)
        plain = isinstance(on, ast.Name) and isinstance(call.func, ast.Attribute)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        yield Found(
            call,
            f"`{text}.{name}(...)` gives a new tensor and leaves `{text}` as it is; its result is"
            " thrown away here.",
            f"Write `{text} = {ast.unparse(call)}`." if plain else "Assign the result.",
            edits=(Edit(start, start, f"{text} = "),) if plain else (),
        )
    for call in file.calls(*_FULL):
        statement = file.tree.parent(call)
        in_place = (
            constant(argument(call, "inplace")) or argument(call, "out") or len(call.args) > 2
        )
        if not isinstance(statement, ast.Expr) or in_place or _is_shown(file, statement):
            continue
        if not call.args or not isinstance(call.args[0], ast.Name):
            continue
        text = ast.unparse(call.args[0])
        start = span(file, call)[0]
        yield Found(
            call,
            f"`{ast.unparse(call.func)}` gives a new tensor and leaves `{text}` as it is; its"
            " result is thrown away here.",
            f"Write `{text} = {ast.unparse(call)}`.",
            edits=(Edit(start, start, f"{text} = "),),
        )


def _is_shown(file: File, statement: ast.Expr) -> bool:
    """Say whether a statement may be there for what it shows, or raises, or how long it takes."""
    cells = file.path.endswith(".ipynb") or "# %%" in file.text or "# In[" in file.text
    if cells and file.tree.inside(statement, *FUNCTIONS, ast.For, ast.While) is None:
        return True
    for above in file.tree.above(statement):
        if isinstance(above, (ast.Try, ast.Lambda)):
            return True
        if isinstance(above, ast.With):
            names = {file.dotted(getattr(item.context_expr, "func", None)) for item in above.items}
            if not all(name.startswith("torch.") and "profile" not in name for name in names):
                return True
        if isinstance(above, FUNCTIONS):
            name = getattr(above, "name", "").lower()
            return name.startswith(("test", "bench", "time", "warm"))
    return False


RULE = Rule(
    name="tensor-method-result-unused",
    severity="error",
    title="A new tensor is made and thrown away",
    why=(
        "`model.to(device)` moves the parameters of the module in place. `x.to(device)` of a"
        " tensor, and `float`, `view`, `clamp`, `detach` and nearly all methods without an"
        " underscore at the end, return a new tensor. Without an assignment nothing happens: the"
        " batch stays on the CPU, the values stay unclamped."
    ),
    fix="Assign the result: `x = x.to(device)`.",
    bad="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.CrossEntropyLoss()
    model.to(device)
    model.train()
    for images, labels in loader:
        images.to(device)
        labels = labels.to(device)
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    good="""\
import torch
from torch import nn

def train(model, loader, optimizer, device):
    criterion = nn.CrossEntropyLoss()
    model.to(device)
    model.train()
    for images, labels in loader:
        images = images.to(device)
        labels = labels.to(device)
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    source="PyTorch docs, torch.Tensor.to and torch.nn.Module.to.",
    check=check,
)
