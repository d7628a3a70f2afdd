"""Numbers of another type than the weights are given to a layer."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._project import Definition
from ..._model._tree import method, owner
from ..._model._values import Value
from ..._rule import Edit, Found, Rule, span
from ..._tensors._dtypes import is_whole

_WEIGHTED = frozenset(
    {
        "Linear", "Conv1d", "Conv2d", "Conv3d", "LSTM", "GRU", "RNN", "ConvTranspose1d",
        "ConvTranspose2d", "ConvTranspose3d", "BatchNorm1d", "BatchNorm2d",
    }
)  # fmt: skip
_SOURCES = ("numpy", "sklearn", "torch.tensor(", "arange(", "randint(", "float64", "double")
_CASTS = ("double", "half", "bfloat16", "type", "set_default_dtype", "set_default_tensor_type")


def check(file: File) -> Iterator[Found]:
    """Look for tensors of float64 or of whole numbers that are given to float32 layers.

    Args:
        file: The file.
    """
    if not any(word in one.text for one in file.project.files for word in _SOURCES):
        return
    for call in file.tree.each(ast.Call):
        if len(call.args) != 1:
            continue
        given = call.args[0]
        if isinstance(given, (ast.Constant, ast.Starred)):
            continue
        layers = file.values.of(call.func)
        if not layers or not all(_wants_float32(layer) for layer in layers):
            continue
        found = file.arrays.of(given)
        if found is None or not found.dtype:
            continue
        wrong = found.dtype == "float64" or (is_whole(found.dtype) and found.dtype != "bool")
        if not wrong or _converted(file, call):
            continue
        text = ast.unparse(given)
        end = span(file, given)[1]
        if found.library == "numpy":
            fix = f"Convert it: `torch.from_numpy({text}).float()`."
            message = (
                f"`{text}` is an array of numpy, and `{ast.unparse(call.func)}` takes tensors."
            )
            yield Found(call, message, fix)
            continue
        closed = isinstance(given, (ast.Name, ast.Call, ast.Attribute, ast.Subscript))
        yield Found(
            call,
            f"`{text}` holds {found.dtype} and the weights of `{ast.unparse(call.func)}` hold"
            " float32: mixed types raise RuntimeError.",
            f"Convert it: `{text}.float()`." if closed else "Convert it with `float()`.",
            edits=(Edit(end, end, ".float()"),) if closed else (),
        )


def _wants_float32(value: Value, depth: int = 0) -> bool:
    """Say whether a module multiplies what it is given with float32 weights."""
    if value.kind != "module" or depth > 6 or _is_cast(value):
        return False
    if value.name.startswith("torch.nn.") and value.short in _WEIGHTED:
        return not any(one.arg == "dtype" for one in value.call.keywords)
    if value.name == "torch.nn.Sequential" and value.call.args:
        first = value.file.values.of(value.call.args[0])
        if isinstance(value.call.args[0], ast.Starred):
            return False
        flat = [one.short in ("Flatten", "Dropout", "Unflatten") for one in first]
        if first and all(flat) and len(value.call.args) > 1:
            first = value.file.values.of(value.call.args[1])
        return bool(first) and all(_wants_float32(one, depth + 1) for one in first)
    owner_ = value.definition
    if owner_ is None or not isinstance(owner_.node, ast.ClassDef):
        return False
    forward = owner_.file.methods(owner_.node).get("forward")
    return forward is not None and _takes_float(Definition(*forward), depth)


def _takes_float(forward: Definition, depth: int) -> bool:
    """Say whether `forward` gives its first argument as it is to a layer with weights."""
    node, file = forward.node, forward.file
    if not isinstance(node, ast.FunctionDef) or len(node.args.args) < 2:
        return False
    name = node.args.args[1].arg
    for call in file.tree.own_calls(node):
        first = call.args[0] if call.args else None
        while isinstance(first, ast.Call) and method(first) in ("view", "flatten", "reshape"):
            inner = owner(first)
            first = first.args[0] if file.dotted(inner) == "torch" and first.args else inner
        if not isinstance(first, ast.Name) or first.id != name:
            continue
        reaching = file.values.bindings.reaching(first)
        if not all(_keeps(one.value, name) for one in reaching.bindings):
            continue
        layers = file.values.of(call.func)
        if layers and all(_wants_float32(layer, depth + 1) for layer in layers):
            return True
    return False


def _keeps(node: ast.expr | None, name: str) -> bool:
    """Say whether an assignment only changes the shape of a parameter."""
    if not isinstance(node, ast.Call) or method(node) not in ("view", "flatten", "reshape"):
        return False
    return ast.unparse(owner(node) or node) == name or (
        bool(node.args) and ast.unparse(node.args[0]) == name
    )


def _is_cast(value: Value) -> bool:
    """Say whether the weights may have another type than float32."""
    text = value.file.text
    return any(f"{word}(" in text for word in _CASTS) or "float64" in _casting(text)


def _casting(text: str) -> str:
    return " ".join(line for line in text.splitlines() if ".to(" in line and "float64" in line)


def _converted(file: File, call: ast.Call) -> bool:
    """Say whether an automatic choice of types may be at work."""
    return "autocast" in file.text or any(
        isinstance(above, (ast.Try,)) for above in file.tree.above(call)
    )


RULE = Rule(
    name="dtype-mixed",
    severity="error",
    title="Input and weights have different types",
    why=(
        "numpy counts in float64, the layers of torch in float32, and a product of the two raises"
        " RuntimeError (mat1 and mat2 must have the same dtype). `torch.from_numpy` and"
        " `torch.tensor` of an array keep float64, and `torch.tensor([1, 2, 3])` holds whole"
        " numbers."
    ),
    fix="Convert the data once: `torch.from_numpy(x).float()` or `x.astype(np.float32)`.",
    bad="""\
import numpy as np
import torch
from torch import nn

points = np.random.rand(100, 3)
model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
model.eval()
with torch.no_grad():
    heights = model(torch.from_numpy(points))
print(heights.mean())
""",
    good="""\
import numpy as np
import torch
from torch import nn

points = np.random.rand(100, 3).astype(np.float32)
model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
model.eval()
with torch.no_grad():
    heights = model(torch.from_numpy(points))
print(heights.mean())
""",
    source="PyTorch docs, tensor attributes: dtype; Hung-yi Lee 2021, PyTorch"
    " tutorial: data types.",
    check=check,
)
