"""A layer or parameter in the body of the class in the place of `__init__`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._tensors._layers import has_weights, is_parameter, module_classes


def check(file: File) -> Iterator[Found]:
    """Look for ``layer = nn.Linear(...)`` directly in the body of a module.

    Args:
        file: The file.
    """
    for node in module_classes(file):
        if node.decorator_list:
            continue
        for statement in node.body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                name = key(statement.targets[0])
            elif isinstance(statement, ast.AnnAssign):
                name = key(statement.target)
            else:
                continue
            value = statement.value
            if not name or not isinstance(value, ast.Call):
                continue
            made = file.made(value, "module")
            if not (is_parameter(file, value) or (made is not None and has_weights(made))):
                continue
            if file.values.bindings.everywhere(node, f"self.{name}") or _registered(file, name):
                continue
            yield Found(
                statement,
                f"`{name}` belongs to the class `{node.name}`: its objects do not register it.",
                f"Assign it to `self.{name}` in `__init__`.",
            )


def _registered(file: File, name: str) -> bool:
    """Say whether an object takes the layer over with `add_module` or `setattr`."""
    for call in file.method_calls("add_module", "register_module", "register_parameter"):
        if any(key(one).rpartition(".")[2] == name for one in call.args):
            return True
    return False


RULE = Rule(
    name="layer-as-class-attribute",
    severity="error",
    title="A layer is an attribute of the class",
    why=(
        "A module registers what is assigned to `self`. A layer in the body of the class"
        " works in `forward`, but is missing from `parameters()` and `state_dict()` of each"
        " object, is never trained nor moved by `to(device)`, and is one and the same for all"
        " objects of the class."
    ),
    fix="Make layers in `__init__`, after `super().__init__()`.",
    bad="""\
from torch import nn

class Net(nn.Module):
    hidden = nn.Linear(8, 16)

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        return self.out(self.hidden(x).relu())
""",
    good="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        return self.out(self.hidden(x).relu())
""",
    source="PyTorch docs, torch.nn.Module: submodules are regular attributes of objects.",
    check=check,
)
