"""Old constructors of tensors, which take a number for a size and cut fractions off."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from ..._model._file import File
from ..._model._tree import constant, key, method
from ..._rule import Found, Rule
from ..._tensors._dtypes import is_floating, literal

_FLOATS = ("torch.Tensor", "torch.FloatTensor", "torch.DoubleTensor")
_WHOLE = ("torch.LongTensor", "torch.IntTensor", "torch.ShortTensor", "torch.ByteTensor")


_FILLS: Final = re.compile(r"init|\.data\b|(uniform|normal|zero|fill|copy)_\(")


def check(file: File) -> Iterator[Found]:
    """Look for `torch.Tensor(5)`, `torch.Tensor(0.5)` and `torch.LongTensor([0.5])`.

    Args:
        file: The file.
    """
    for call in file.calls(*_FLOATS, *_WHOLE):
        name = f"torch.{file.dotted(call.func).rpartition('.')[2]}"
        if len(call.args) == 1 and not call.keywords:
            value = constant(call.args[0])
            if isinstance(value, float) or isinstance(value, bool):
                yield _refused(call, name)
                continue
            fractions = file.arrays.of(call.args[0])
            cut = fractions is not None and fractions.library == "numpy"
            cut = cut and fractions is not None and is_floating(fractions.dtype)
            if name in _WHOLE and (cut or literal(call.args[0]) == "float32"):
                yield Found(
                    call,
                    f"`{name}` cuts the fractions off `{ast.unparse(call.args[0])}`.",
                    "Use `torch.tensor`, which keeps the type of the numbers.",
                )
                continue
        if _is_sizes(call) and not _is_filled(file, call):
            single = len(call.args) == 1
            text = ast.unparse(call.args[0])
            yield Found(
                call,
                f"`{name}({', '.join(map(ast.unparse, call.args))})` makes a tensor of this size"
                " from whatever the memory holds.",
                f"Use `torch.tensor({text})` for the number or `torch.zeros({text})` for the size."
                if single
                else "Use `torch.zeros`, or fill it with a function of `torch.nn.init`.",
                certain=single or _is_parameter(file, call),
            )


def _refused(call: ast.Call, name: str) -> Found:
    text = ast.unparse(call.args[0])
    return Found(
        call,
        f"`{name}({text})` raises TypeError: it takes a size or a sequence.",
        f"Use `torch.tensor({text})`.",
    )


def _is_sizes(call: ast.Call) -> bool:
    """Say whether only sizes are given: whole numbers, or several names."""
    if call.keywords or not call.args:
        return False
    numbers = [isinstance(constant(one), int) for one in call.args]
    names = [bool(key(one)) or number for one, number in zip(call.args, numbers, strict=True)]
    return all(numbers) if len(call.args) == 1 else all(names)


def _is_parameter(file: File, call: ast.Call) -> bool:
    around = file.tree.parent(call)
    return isinstance(around, ast.Call) and file.dotted(around.func) == "torch.nn.Parameter"


def _is_filled(file: File, call: ast.Call) -> bool:
    """Say whether a tensor may be given values after it is made."""
    around = file.tree.parent(call)
    if isinstance(around, ast.Attribute):
        return True  # torch.Tensor(5).fill_(0)
    if _is_parameter(file, call) and around is not None:
        around = file.tree.parent(around)
    elif isinstance(around, ast.Call):
        return True  # given to a function, which may fill it
    if not isinstance(around, ast.Assign) or len(around.targets) != 1:
        return not isinstance(around, ast.Assign)
    if any(map(_fills_all, file.project.files)):
        return True
    target = key(around.targets[0])
    home = file.tree.inside(call, ast.ClassDef) if target.startswith("self.") else None
    text = file.text_of(home).replace("__init__", "") if home is not None else ""
    if any(word in text for word in ("init", "parameters()", ".data", "_(")):
        return True
    scope = home or file.tree.scope(call)
    for node in file.tree.own(scope):
        if isinstance(node, ast.Call):
            inner = [key(one) for one in node.args]
            filled = method(node).endswith("_") and key(getattr(node.func, "value", None)) == target
            if filled or (target in inner and not _only_reads(file, node)):
                return True
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for one in targets:
                if isinstance(one, ast.Subscript) and key(one.value) == target:
                    return True
    return False


def _fills_all(file: File) -> bool:
    """Say whether a file gives values to all the parameters of some model."""
    for call in file.method_calls("parameters", "named_parameters"):
        loop = file.tree.parent(call)
        if isinstance(loop, ast.For) and _FILLS.search(file.text_of(loop)):
            return True
    return False


def _only_reads(file: File, call: ast.Call) -> bool:
    """Say whether a function certainly leaves a tensor as it is."""
    name = file.dotted(call.func)
    return name in ("print", "len", "str", "float", "repr") or (
        name.startswith("torch.") and not name.endswith("_")
    )


RULE = Rule(
    name="legacy-tensor-constructor",
    severity="warning",
    title="An old constructor of tensors",
    why=(
        "`torch.Tensor(5)` is no tensor with the number 5, but one of five elements that hold what"
        " the memory held: often zeros, now and then 1e38 or NaN. `torch.Tensor(0.5)` raises, and"
        " `torch.LongTensor([0.7])` cuts the fraction off without a word."
    ),
    fix="Use `torch.tensor` for values, `torch.zeros` or `torch.empty` for sizes.",
    bad="""\
import torch
from torch import nn

class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.Tensor(1))

    def forward(self, x):
        return x * self.weight
""",
    good="""\
import torch
from torch import nn

class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x):
        return x * self.weight
""",
    source="PyTorch docs, torch.Tensor: use torch.tensor or torch.empty in"
    " place of the constructor.",
    check=check,
)
