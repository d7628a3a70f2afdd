"""A module that does not set up `nn.Module` before it is given layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key, method, owner
from ..._rule import Edit, Found, Rule
from ..._tensors._layers import head, is_parameter, module_classes, own_method

_REGISTERS = ("register_buffer", "register_parameter", "add_module", "register_module")
_PLAIN = frozenset({"torch.nn.Module", "lightning.LightningModule"})


def check(file: File) -> Iterator[Found]:
    """Look for `__init__` of modules without ``super().__init__()``, or with it after a layer.

    Args:
        file: The file.
    """
    for node in module_classes(file):
        init = own_method(node, "__init__")
        if init is None or node.keywords or own_method(node, "__new__") is not None:
            continue
        calls = [call for call in file.tree.own_calls(init) if method(call) == "__init__"]
        wrong = [call for call in calls if _passes_over(file, call)]
        right = [call for call in calls if call not in wrong]
        first = _first_layer(file, init)
        if not right:
            if wrong:
                yield Found(
                    wrong[0],
                    f"`{ast.unparse(wrong[0])}` does not run the `__init__` of `nn.Module`.",
                    "Write `super().__init__()`.",
                )
            elif (first or own_method(node, "forward")) and not _elsewhere(file, init):
                yield Found(
                    head(init),
                    f"`__init__` of `{node.name}` never calls `super().__init__()`.",
                    "Write `super().__init__()` as its first line.",
                    edits=_inserted(file, node, init),
                )
        elif first is not None and file.tree.place(first) < file.tree.place(right[0]):
            if not file.tree.conditional(right[0], init):
                yield Found(
                    first,
                    f"`{ast.unparse(first).splitlines()[0]}` comes before"
                    f" `{ast.unparse(right[0])}`.",
                    f"Move `{ast.unparse(right[0])}` to the top of `__init__`.",
                )


def _passes_over(file: File, call: ast.Call) -> bool:
    """Say whether a call of an `__init__` is certainly not that of `nn.Module`."""
    on = owner(call)
    if isinstance(on, ast.Call) and key(on.func) == "super":
        if len(on.args) == 1:
            return True  # not bound to an object: sets up the proxy itself
        return len(on.args) == 2 and file.dotted(on.args[0]) == "torch.nn.Module"
    return key(on) == "object"


def _first_layer(file: File, init: ast.FunctionDef) -> ast.stmt | None:
    for node in file.tree.own(init):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            on_self = any(key(target).startswith("self.") for target in targets)
            made = file.made(node.value, "module")
            if on_self and (made is not None or is_parameter(file, node.value)):
                return node
        if isinstance(node, ast.Call) and method(node) in _REGISTERS:
            if key(owner(node)) == "self":
                return file.tree.statement(node)
    return None


def _elsewhere(file: File, init: ast.FunctionDef) -> bool:
    """Say whether it may be set up in another way, or is not meant to be made at all."""
    if any(isinstance(node, ast.Raise) for node in init.body):
        return True
    text = file.text_of(init)
    if "__setstate__" in text or "__dict__" in text or "exec(" in text:
        return True
    for call in file.tree.own_calls(init):
        found = file.called(call)
        if found is not None and isinstance(found.node, ast.FunctionDef):
            if "__init__(" in found.file.text_of(found.node):
                return True
    return False


def _inserted(file: File, node: ast.ClassDef, init: ast.FunctionDef) -> tuple[Edit, ...]:
    """Give the missing line, where the only base takes no arguments."""
    if len(node.bases) != 1 or file.dotted(node.bases[0]) not in _PLAIN:
        return ()
    first = init.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if is_text and len(init.body) > 1:
        first = init.body[1]
    if first.lineno == init.lineno or (is_text and first is init.body[0]):
        return ()
    if file.lines[first.lineno - 1][: first.col_offset].strip():
        return ()
    start = (first.lineno, first.col_offset)
    return (Edit(start, start, "super().__init__()\n" + " " * first.col_offset),)


RULE = Rule(
    name="missing-super-init",
    severity="error",
    title="`super().__init__()` is missing, or comes after the first layer",
    why=(
        "`nn.Module.__init__` makes the tables in which layers and parameters are registered."
        ' Without them the first `self.layer = nn.Linear(...)` raises "cannot assign module'
        ' before Module.__init__() call", and a module with no layers of its own fails when it'
        " is called. `super(nn.Module, self)` passes over `nn.Module` and has the same effect."
    ),
    fix="Call `super().__init__()` in the first line of `__init__`.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self, width=16):
        self.hidden = nn.Linear(8, width)
        self.out = nn.Linear(width, 4)

    def forward(self, x):
        return self.out(self.hidden(x).relu())
""",
    good="""\
from torch import nn

class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.hidden = nn.Linear(8, width)
        self.out = nn.Linear(width, 4)

    def forward(self, x):
        return self.out(self.hidden(x).relu())
""",
    source="PyTorch docs, torch.nn.Module; course tutorial (Hung-yi Lee 2021).",
    check=check,
)
