"""A `forward` that computes an output and does not give it back."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key, method
from ..._rule import Found, Rule
from ..._tensors._layers import is_tensor, module_classes, own_method


def check(file: File) -> Iterator[Found]:
    """Look for `forward` methods whose last line computes a tensor, and that return nothing.

    Args:
        file: The file.
    """
    for node in module_classes(file):
        forward = own_method(node, "forward")
        if forward is None or forward.decorator_list or not _returns_nothing(file, forward):
            continue
        last = _last(forward.body)
        text = _computed(file, last)
        if text:
            yield Found(
                last,
                f"`forward` of `{node.name}` ends here and returns None.",
                f"Return {text}.",
            )


def _returns_nothing(file: File, forward: ast.FunctionDef) -> bool:
    """Say whether a function only computes: gives nothing, raises nothing, keeps nothing."""
    for node in file.tree.own(forward):
        if isinstance(node, (ast.Yield, ast.YieldFrom, ast.Raise)):
            return False
        if isinstance(node, ast.Return) and node.value is not None:
            return False
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
            return False
        if isinstance(node, ast.Call):
            name = method(node)
            if name in (
                "append",
                "extend",
                "update",
                "copy_",
                "backward",
                "step",
                "register_buffer",
            ):
                return False
            if name.endswith("_") and not name.startswith("_") and name not in ("relu_",):
                return False
    return True


def _last(body: list[ast.stmt]) -> ast.stmt:
    last = body[-1]
    while isinstance(last, (ast.If, ast.With, ast.For)) and last.body:
        last = last.body[-1]
    return last


def _computed(file: File, last: ast.stmt) -> str:
    """Give what the last statement computes, as it is written; nothing if that is no tensor."""
    if isinstance(last, (ast.Assign, ast.AugAssign)):
        target = last.targets[0] if isinstance(last, ast.Assign) else last.target
        if isinstance(target, ast.Name) and _is_result(file, last.value):
            return f"`{target.id}`"
    if isinstance(last, ast.Expr):
        if isinstance(last.value, ast.Name) or _is_result(file, last.value):
            return f"`{ast.unparse(last.value)}`"
    return ""


def _is_result(file: File, value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        if key(value.func).startswith("self.") and file.called(value) is None:
            return True
    return is_tensor(file, value)


RULE = Rule(
    name="forward-without-return",
    severity="error",
    title="`forward` returns nothing",
    why=(
        "A function without `return` gives None. The error comes where the output is used:"
        " the next layer or the loss says that it was given NoneType."
    ),
    fix="End `forward` with `return`.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        x = self.hidden(x).relu()
        x = self.out(x)
""",
    good="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        x = self.hidden(x).relu()
        x = self.out(x)
        return x
""",
    source="PyTorch docs, torch.nn.Module.forward.",
    check=check,
)
