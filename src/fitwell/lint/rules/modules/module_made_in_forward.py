"""A layer with weights that is made anew for each batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._loops import LOOPS
from ..._model._tree import key, method, owner
from ..._rule import Found, Rule
from ..._tensors._layers import DROPOUTS, functions_of, has_weights, module_classes

_RUN = ("forward", "training_step", "validation_step")
_SAME = ("to", "cuda", "float", "double", "half", "train", "eval", "requires_grad_")


def check(file: File) -> Iterator[Found]:
    """Look for layers that are made and applied in `forward` or in a loop over batches.

    Args:
        file: The file.
    """
    for node in module_classes(file):
        runs = {one.name: one for one in functions_of(node) if one.name in _RUN}
        for function in list(runs.values()):
            for call in file.tree.own_calls(function):
                called = file.called(call) if key(owner(call)) == "self" else None
                if called is not None and isinstance(called.node, ast.FunctionDef):
                    if called.file is file and not file.tree.conditional(call, function):
                        runs.setdefault(called.node.name, called.node)
        for function in runs.values():
            yield from _look(file, function, "call of `forward`")
    for loop in file.loops:
        if not any(isinstance(one, LOOPS) for one in file.tree.own(loop.node)):
            yield from _look(file, loop.node, "batch")


def _look(file: File, within: ast.AST, when: str) -> Iterator[Found]:
    for call in file.tree.own_calls(within):
        made = file.made(call, "module")
        if made is None or made.call is not call or file.tree.conditional(call, within):
            continue
        dropout = made.name.startswith("torch.nn.") and made.short in DROPOUTS
        if not dropout and not (has_weights(made) and made.name != "torch.nn.ModuleList"):
            continue
        last, changed = _climbed(file, call)
        if dropout and changed:
            continue
        applied = _is_function(file, last) or _applied_by_name(file, within, last)
        if not applied:
            continue
        what = f"`{ast.unparse(call.func)}(...)`"
        if dropout:
            message = (
                f"{what} is made anew in each {when}, in training mode: it drops in `eval()` too."
            )
        else:
            message = f"{what} is made anew in each {when}: its weights are never trained."
        yield Found(
            call,
            message,
            "Make it once, in `__init__` or before the loop, and apply that one here.",
            certain=made.short not in ("LayerNorm", "GroupNorm", "RMSNorm", "PReLU"),
        )


def _climbed(file: File, call: ast.Call) -> tuple[ast.expr, bool]:
    """Give ``nn.Linear(2, 2).to(device)`` for ``nn.Linear(2, 2)``, and whether its mode is set."""
    node: ast.expr = call
    changed = False
    while True:
        above = file.tree.parent(node)
        outer = file.tree.parent(above) if isinstance(above, ast.Attribute) else None
        if not (isinstance(outer, ast.Call) and method(outer) in _SAME and outer.func is above):
            return node, changed
        changed = changed or method(outer) in ("train", "eval")
        node = outer


def _is_function(file: File, node: ast.expr) -> bool:
    parent = file.tree.parent(node)
    return isinstance(parent, ast.Call) and parent.func is node


def _applied_by_name(file: File, within: ast.AST, node: ast.expr) -> bool:
    """Say whether a layer is given a name, applied under it, and nothing else is done to it."""
    parent = file.tree.parent(node)
    if not (isinstance(parent, ast.Assign) and len(parent.targets) == 1):
        return False
    name = key(parent.targets[0])
    if not name or (name.startswith("self.") and _asked_before(file, within, parent, name)):
        return False
    if len([one for one in _bound(file, parent, name)]) != 1:
        return False
    applied = False
    for use in file.tree.each(ast.Name, ast.Attribute):
        if key(use) != name or not file.tree.holds(within, use):
            continue
        above = file.tree.parent(use)
        if isinstance(above, ast.Call) and above.func is use:
            applied = True
        elif not (isinstance(use.ctx, ast.Store) or _only_moved(above)):
            return False
    return applied


def _bound(file: File, statement: ast.Assign, name: str) -> list[object]:
    bindings = file.values.bindings
    home = file.tree.inside(statement, ast.ClassDef)
    scope = home if name.startswith("self.") and home else file.tree.scope(statement)
    return list(bindings.everywhere(scope, name))


def _only_moved(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in _SAME


def _asked_before(file: File, within: ast.AST, statement: ast.stmt, name: str) -> bool:
    """Say whether a test before asks for the layer: it is made in the first call only."""
    for one in file.tree.own(within):
        if isinstance(one, (ast.If, ast.Try)) and file.tree.place(one) < file.tree.place(statement):
            text = file.text_of(one)
            if name in text or f'"{name[5:]}"' in text or f"'{name[5:]}'" in text:
                return True
    return False


RULE = Rule(
    name="module-made-in-forward",
    severity="error",
    title="A layer with weights is made in `forward`",
    why=(
        "Each call makes new random weights, uses them once and throws them away. They are in"
        " no optimizer, so nothing is learned in that layer, and the output for the same input"
        " differs from call to call. A dropout that is made there is always in training mode:"
        " `eval()` does not reach it. Activations without parameters may be made anywhere."
    ),
    fix="Make layers in `__init__`, and apply them in `forward`.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)

    def forward(self, x):
        x = self.hidden(x).relu()
        return nn.Linear(16, 4)(x)
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
        return self.out(x)
""",
    source="PyTorch docs, torch.nn.Module: submodules are assigned in `__init__`.",
    check=check,
)
