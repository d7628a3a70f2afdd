"""``torch.load`` without saying what may be in the file."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant, has_stars, key
from ..._rule import Edit, Found, Rule, span

_OF_MODULES = frozenset(
    {"eval", "train", "parameters", "state_dict", "cuda", "to", "half", "requires_grad_", "modules"}
)
_FIX = "Save a `state_dict()`, and load it with `weights_only=True`."

_SAY = "Write `weights_only=True`."


def check(file: File) -> Iterator[Found]:
    """Look for ``torch.load`` without ``weights_only``, or with it switched off.

    Args:
        file: The file.
    """
    if any(file.calls("torch.serialization.add_safe_globals", "torch.serialization.safe_globals")):
        return
    for call in file.calls("torch.load"):
        given = argument(call, "weights_only")
        if has_stars(call) or constant(given) is True:
            continue
        if given is None:
            name = _whole_module(file, call)
            message = (
                f"`{name}` is used as a module, but `torch.load` takes only weights by default"
                " since PyTorch 2.6: it raises."
                if name
                else "What may be in the file is not said: before PyTorch 2.6 it may run any code,"
                " since then only weights are taken."
            )
            edits = () if name else (_named(file, call),)
            yield Found(call, message, _FIX if name else _SAY, edits=edits)
        elif constant(given) is False:
            yield Found(
                call,
                "`weights_only=False` runs whatever code the file holds.",
                _FIX,
                certain=False,
            )


def _named(file: File, call: ast.Call) -> Edit:
    """Write what is the default since PyTorch 2.6."""
    _, (line, column) = span(file, call)
    inside = file.text_of(call)[:-1].rstrip()
    comma = "" if inside.endswith((",", "(")) else ", "
    return Edit((line, column - 1), (line, column - 1), f"{comma}weights_only=True")


def _whole_module(file: File, call: ast.Call) -> str:
    """Give the name under which what is loaded is used as a module; empty if it is not."""
    assign = file.tree.parent(call)
    target = assign.targets[0] if isinstance(assign, ast.Assign) else None
    name = key(target)
    if not isinstance(target, ast.Name):
        return ""
    for use in file.uses(name):
        if file.tree.scope(use) is not file.tree.scope(call) or use is target:
            continue
        part = file.tree.parent(use)
        above = file.tree.parent(part) if part is not None else None
        is_method = isinstance(part, ast.Attribute) and part.attr in _OF_MODULES
        is_called = isinstance(above, ast.Call) and above.func is part
        if is_method and is_called and isinstance(part, ast.Attribute):
            if part.attr in ("to", "cuda", "half"):
                continue  # a tensor has these too
            bindings = file.values.bindings.reaching(use).bindings
            if bindings and all(one.value is call for one in bindings):
                return name
    return ""


RULE = Rule(
    name="torch-load-without-weights-only",
    severity="warning",
    title="torch.load does not say what may be in the file",
    why=(
        "Before PyTorch 2.6 `torch.load` unpickled anything by default, which runs code from the"
        " file. Since 2.6 `weights_only=True` is the default: that is safe, but a file that holds a"
        " whole module is refused with an UnpicklingError. A program that says neither behaves"
        " differently by version."
    ),
    fix="Save `state_dict()`s and load them with `weights_only=True`.",
    bad="""\
import torch

def probabilities(path, images):
    model = torch.load(path, map_location="cpu")
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(images)).tolist()
""",
    good="""\
import torch

def probabilities(model, path, images):
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.eval()
    with torch.no_grad():
        return torch.sigmoid(model(images)).tolist()
""",
    source="PyTorch docs, `torch.load`; release notes of 2.6.",
    check=check,
)
