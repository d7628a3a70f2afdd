"""A layer that is made of a tensor in the place of being applied to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from ..._model._file import File
from ..._model._tree import method
from ..._rule import Edit, Found, Rule, span
from ..._tensors._layers import ACTIVATIONS, DROPOUTS, POOLS, is_tensor

_LAYERS: Final = ACTIVATIONS | DROPOUTS | POOLS | {"Flatten", "Identity"}
_ALIKE: Final = frozenset(
    {"ReLU", "ReLU6", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Sigmoid", "Tanh", "LeakyReLU"}
    | {"LogSigmoid", "Softplus", "Hardswish", "Flatten", "Hardtanh", "Hardsigmoid", "Identity"}
)
"""Layers that are made without arguments, and do the same in training and evaluation."""


def check(file: File) -> Iterator[Found]:
    """Look for ``nn.ReLU(x)``.

    Args:
        file: The file.
    """
    for call in file.calls(*(f"torch.nn.{short}" for short in _LAYERS)):
        if call.args and not _is_applied(file, call) and is_tensor(file, call.args[0]):
            text, name = ast.unparse(call), ast.unparse(call.func)
            short = name.rpartition(".")[2]
            yield Found(
                call,
                f"`{text}` makes a layer and takes the tensor for a setting of it.",
                f"Make the layer once and apply it: `{name}(...)({ast.unparse(call.args[0])})`."
                if short not in _ALIKE
                else f"Write `{name}()({ast.unparse(call.args[0])})`.",
                edits=_applied(file, call) if short in _ALIKE else (),
            )


def _is_applied(file: File, call: ast.Call) -> bool:
    """Say whether what is made is called, directly or as ``nn.Softmax(x).forward(x)``."""
    parent = file.tree.parent(call)
    if isinstance(parent, ast.Call) and parent.func is call:
        return True
    outer = file.tree.parent(parent) if isinstance(parent, ast.Attribute) else None
    return outer is not None and method(outer) == "forward"


def _applied(file: File, call: ast.Call) -> tuple[Edit, ...]:
    """Give ``nn.ReLU()(x)`` for ``nn.ReLU(x)``."""
    if call.keywords:
        return ()
    _, end = span(file, call.func)
    return (Edit(end, end, "()"),)


RULE = Rule(
    name="layer-called-as-function",
    severity="error",
    title="A layer is made of a tensor, and not applied to it",
    why=(
        "`nn.ReLU(x)` is not the function: it makes a layer, and takes `x` for its first"
        " setting (`inplace`; of `nn.Softmax` the `dim`, of `nn.Dropout` the `p`). What comes"
        " out is a module, so the error is raised later and elsewhere: 'ReLU' object has no"
        " attribute 'view', or a loss that is given a module."
    ),
    fix="Make the layer once and apply it, or use the function, such as `torch.relu(x)`.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        x = nn.ReLU(self.hidden(x))
        return self.out(x)
""",
    good="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.relu = nn.ReLU()
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        x = self.relu(self.hidden(x))
        return self.out(x)
""",
    source="PyTorch docs, torch.nn.ReLU and torch.nn.functional.relu.",
    check=check,
)
