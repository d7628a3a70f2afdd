"""A whole module is pickled, not its state."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._classes import MODULES
from ..._model._file import File
from ..._model._once import once
from ..._model._project import Project
from ..._model._tree import argument, constant, key, method, owner
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for ``torch.save(model, ...)`` and for modules in the dict that is saved.

    Args:
        file: The file.
    """
    for call in file.calls("torch.save"):
        for saved in _saved(file, argument(call, "obj", 0)):
            if not _is_module(file, saved):
                continue
            name = ast.unparse(saved)
            yield Found(
                call,
                f"`{name}` is saved as a whole: by default `torch.load` refuses such a file since"
                " PyTorch 2.6, and it depends on the code of today.",
                f"Save `{name}.state_dict()`.",
                certain=not _loads_code(file.project),
            )
            break


@once
def _loads_code(project: Project) -> bool:
    """Say whether files are loaded with anything in them, on purpose."""
    return any(
        constant(argument(call, "weights_only")) is False
        for one in project.files
        for call in one.calls("torch.load")
    )


def _saved(file: File, node: ast.expr | None) -> Iterator[ast.expr]:
    """Give what is saved, and the values of a dict that is."""
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        value = bindings[0].value if len(bindings) == 1 and bindings[0].how == "whole" else None
        if isinstance(value, ast.Dict):
            node = value
    if isinstance(node, ast.Dict):
        yield from (value for value in node.values if key(value))
    elif node is not None and key(node):
        yield node


def _is_module(file: File, node: ast.expr) -> bool:
    if key(node) == "self":
        home = file.tree.inside(node, ast.ClassDef)
        return home is not None and file.derives(home, MODULES)
    found = file.made(node, "module")
    if found is not None:
        return not found.name.startswith("torch.jit.")
    return not file.values.of(node) and _is_used_as_module(file, node)


def _is_used_as_module(file: File, node: ast.expr) -> bool:
    """Say whether a parameter of the function around is trained in it: an optimizer has it."""
    if file.values.bindings.reaching(node).rest != "parameter":
        return False
    scope = file.tree.scope(node)
    name, given = key(node), set()
    for call in file.method_calls("parameters", "train", "eval"):
        if key(owner(call)) == name and file.tree.scope(call) is scope:
            around = file.tree.parent(call)
            step = isinstance(around, ast.Call) and file.made(around, "optimizer") is not None
            given.add("optimizer" if step else method(call))
    return "optimizer" in given and bool(given & {"train", "eval"})


RULE = Rule(
    name="save-whole-module",
    severity="warning",
    title="A whole module is saved in place of its state",
    why=(
        "`torch.save(model, path)` pickles the object: the file names classes and modules by their"
        " paths, and loading breaks when code is renamed or moved. Since PyTorch 2.6 `torch.load`"
        " refuses it unless `weights_only=False` is given, which runs any code that the file holds."
    ),
    fix="Save `model.state_dict()`; make the model anew and call `load_state_dict()`.",
    bad="""\
import torch
from torch import nn

def main(path):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    torch.save(model, path)
""",
    good="""\
import torch
from torch import nn

def main(path):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    torch.save(model.state_dict(), path)
""",
    source="PyTorch docs, serialization semantics; saving and loading models tutorial.",
    check=check,
)
