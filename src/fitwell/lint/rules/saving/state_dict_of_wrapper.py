"""The state of a wrapper is saved, and its names do not fit the model."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, key, method, owner
from ..._rule import Found, Rule

_WRAPPERS = {
    "torch.nn.DataParallel": "module.",
    "torch.nn.parallel.DataParallel": "module.",
    "torch.nn.parallel.DistributedDataParallel": "module.",
    "torch.compile": "_orig_mod.",
}
_SAME = ("to", "cuda", "train", "eval")


def check(file: File) -> Iterator[Found]:
    """Look for ``torch.save(model.state_dict())`` where ``model`` is wrapped.

    Args:
        file: The file.
    """
    if not any(file.calls(*_WRAPPERS)):
        return
    saves = [*file.calls("torch.save"), *file.method_calls("save")]
    seen: set[ast.AST] = set()
    for save in saves:
        for call in _states(file, save):
            on = owner(call)
            prefixes = _wrapped(file, on) - {""} if on is not None else set()
            if not prefixes or call in seen or on is None:
                continue
            seen.add(call)
            prefix = min(prefixes)
            if any(
                f'"{prefix}' in one.text or f"'{prefix}" in one.text for one in file.project.files
            ):
                continue  # the prefix is taken off somewhere
            inner = "module" if prefix == "module." else "_orig_mod"
            yield Found(
                call,
                f"`{key(on)}` is wrapped: the names in its state begin with `{prefix}` and do not"
                " fit the model itself.",
                f"Save `{key(on)}.{inner}.state_dict()`.",
                certain=_is_loaded_plain(file, on),
            )


def _states(file: File, save: ast.Call) -> Iterator[ast.Call]:
    """Give the calls of ``state_dict`` whose results are saved."""
    node = argument(save, "obj", 0)
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        values = [one.value for one in bindings if one.how == "whole" and one.value is not None]
    else:
        values = [node] if node is not None else []
    for value in values:
        parts = value.values if isinstance(value, ast.Dict) else [value]
        for part in parts:
            if isinstance(part, ast.Call) and method(part) == "state_dict" and key(owner(part)):
                yield part


def _wrapped(file: File, node: ast.AST | None) -> set[str]:
    """Give the prefixes that names in the state of a module may have: empty text for none."""
    while isinstance(node, ast.Call) and method(node) in _SAME:
        node = owner(node)
    if isinstance(node, ast.Call):
        return {_WRAPPERS.get(file.dotted(node.func), "")}
    if node is None or not key(node):
        return set()
    found: set[str] = set()
    for binding in file.values.bindings.reaching(node).bindings:
        value = binding.value if binding.how == "whole" else None
        while isinstance(value, ast.Call) and method(value) in _SAME:
            inner = owner(value)
            if key(inner) == key(node):
                break
            value = inner
        if isinstance(value, ast.Call):
            found.add(_WRAPPERS.get(file.dotted(value.func), ""))
    return found


def _is_loaded_plain(file: File, saved: ast.expr) -> bool:
    """Say whether the project loads a state from a file into the same model without a wrapper."""
    names = {value.name for value in file.values.of(saved)}
    for one in file.project.files:
        for call in one.method_calls("load_state_dict"):
            on = owner(call)
            if on is None or not _is_from_file(one, argument(call, "state_dict", 0)):
                continue
            if any(keyword.arg == "strict" for keyword in call.keywords):
                continue
            if _wrapped(one, on) == {""} and names & {value.name for value in one.values.of(on)}:
                return True
    return False


def _is_from_file(file: File, node: ast.expr | None) -> bool:
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        node = bindings[0].value if len(bindings) == 1 else None
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Call) and file.dotted(node.func) == "torch.load"


RULE = Rule(
    name="state-dict-of-wrapper",
    severity="warning",
    title="The state of a wrapped model is saved with the names of the wrapper",
    why=(
        "`DataParallel` and `DistributedDataParallel` hold the model as `module`, `torch.compile`"
        " as `_orig_mod`, and their `state_dict()` has that before each name. Loading it into the"
        " model itself raises of missing and unexpected keys; with `strict=False` it loads nothing"
        " and says nothing."
    ),
    fix="Save `model.module.state_dict()`, of a compiled model `model._orig_mod.state_dict()`.",
    bad="""\
import torch
from torch import nn

def save(path, state):
    model = nn.DataParallel(nn.Linear(8, 4))
    model.load_state_dict(state)
    torch.save(model.state_dict(), path)

def probabilities(path, images):
    model = nn.Linear(8, 4)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(images)).tolist()
""",
    good="""\
import torch
from torch import nn

def save(path, state):
    model = nn.DataParallel(nn.Linear(8, 4))
    model.load_state_dict(state)
    torch.save(model.module.state_dict(), path)

def probabilities(path, images):
    model = nn.Linear(8, 4)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(images)).tolist()
""",
    source="PyTorch docs, saving and loading models: saving torch.nn.DataParallel models.",
    check=check,
)
