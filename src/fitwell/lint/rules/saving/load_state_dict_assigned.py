"""What ``load_state_dict`` returns is taken for the model."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key, method, owner
from ..._rule import Edit, Found, Rule, span

_OF_MODULES = frozenset({"eval", "train", "to", "cuda", "cpu", "parameters", "half", "state_dict"})


def check(file: File) -> Iterator[Found]:
    """Look for ``model = model.load_state_dict(...)`` and ``load_state_dict(...).eval()``.

    Args:
        file: The file.
    """
    for call in file.method_calls("load_state_dict"):
        on, parent = owner(call), file.tree.parent(call)
        if on is None or file.called(call) is not None:
            continue
        if isinstance(parent, ast.Attribute) and parent.attr in _OF_MODULES:
            above = file.tree.parent(parent)
            if isinstance(above, ast.Call) and above.func is parent:
                yield _found(
                    call, f"`.{parent.attr}()` is called on what `load_state_dict()` returns"
                )
        target = parent.targets[0] if isinstance(parent, ast.Assign) else None
        if not isinstance(parent, ast.Assign) or not key(target) or len(parent.targets) > 1:
            continue
        name = key(target)
        if name == key(on):
            start, _ = span(file, parent)
            _, before = span(file, call)
            text = file.text_of(call)
            edits = (Edit(start, before, text),) if text else ()
            what = "an optimizer" if file.values.is_a(on, "optimizer") else "a model"
            yield _found(parent, f"`{name}` is no longer {what} after this line", edits)
        elif file.made(on, "module") and (isinstance(on, ast.Call) or _is_used(file, parent, name)):
            yield _found(parent, f"`{name}` is what `load_state_dict()` returns, not the model")


def _found(node: ast.AST, what: str, edits: tuple[Edit, ...] = ()) -> Found:
    return Found(
        node,
        f"{what}: that is a report of keys, or None.",
        "Call `load_state_dict()` as a statement of its own.",
        edits=edits,
    )


def _is_used(file: File, assign: ast.Assign, name: str) -> bool:
    """Say whether the result is called, or used like a module."""
    for use in file.uses(name):
        if file.tree.scope(use) is not file.tree.scope(assign):
            continue
        bindings = file.values.bindings.reaching(use).bindings
        if not bindings or any(one.statement is not assign for one in bindings):
            continue
        part = file.tree.parent(use)
        if isinstance(part, ast.Call) and part.func is use:
            return True
        above = file.tree.parent(part) if isinstance(part, ast.Attribute) else None
        if isinstance(part, ast.Attribute) and isinstance(above, ast.Call):
            if above.func is part and method(above) in _OF_MODULES:
                return True
    return False


RULE = Rule(
    name="load-state-dict-assigned",
    severity="error",
    title="The result of load_state_dict is taken for the model",
    why=(
        "`load_state_dict()` changes the module in place and returns a report of missing and"
        " unexpected keys; that of an optimizer returns None. Assigned to the name of the model,"
        " the model is gone, and the next call raises that the report is not callable."
    ),
    fix="Call `model.load_state_dict(state)` without an assignment.",
    bad="""\
import torch
from torch import nn

def main(path, images):
    model = nn.Linear(8, 4)
    model = model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.eval()
    with torch.no_grad():
        return model(images).tolist()
""",
    good="""\
import torch
from torch import nn

def main(path, images):
    model = nn.Linear(8, 4)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.eval()
    with torch.no_grad():
        return model(images).tolist()
""",
    source="PyTorch docs, `nn.Module.load_state_dict`.",
    check=check,
)
