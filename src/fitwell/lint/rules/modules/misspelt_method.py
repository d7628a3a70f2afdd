"""An `__init__` or `forward` that Python and PyTorch do not find."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from ..._model._classes import MODULES
from ..._model._file import File
from ..._model._tree import key
from ..._rule import Edit, Found, Rule
from ..._tensors._layers import functions_of, head, own_method

_INITS: Final = frozenset(
    {
        "__int__", "__init", "_init_", "init__", "_init__", "__init_", "__inti__", "__ini__",
        "__intit__", "__inint__", "__innit__", "__iniit__", "__init___", "___init__", "__nit__",
    }
)  # fmt: skip


def check(file: File) -> Iterator[Found]:
    """Look for methods of modules with nearly the right name, or inside of another method.

    Args:
        file: The file.
    """
    for node in file.modules:
        if not file.bases_known(node):
            continue
        names = set(file.methods(node))
        init = own_method(node, "__init__")
        for method in functions_of(node):
            if init is None and method.name in _INITS and _sets_up(method):
                yield _found(file, node, method, "__init__")
            elif "forward" not in names and _nearly_forward(method.name):
                if len(method.args.args) > 1 and not _called(file, method.name):
                    yield _found(file, node, method, "forward")
        if init is not None and "forward" not in names:
            yield from _inside(node, init)


def _sets_up(method: ast.FunctionDef) -> bool:
    """Say whether a method does what an `__init__` does."""
    text = ast.unparse(method)
    return "super()" in text or "super(" in text or ("self." in text and len(method.args.args) > 1)


def _nearly_forward(name: str) -> bool:
    """Say whether a name is `forward` with one or two letters missing, wrong or swapped."""
    lower = name.lower()
    if name == "forward" or not lower.startswith("f") or "_" in name:
        return False
    return lower == "forward" or _distance(lower, "forward") <= 2


def _distance(one: str, other: str) -> int:
    """Give how many letters have to be put in, left out or changed."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            best = min(row[j] + 1, row[j - 1] + 1, before + (letter != wanted))
            before, row[j] = row[j], best
    return row[-1]


def _called(file: File, name: str) -> bool:
    """Say whether any file of the project uses a method of that name."""
    return any(
        next(iter(one.method_calls(name)), None) is not None
        or any(use.attr == name for use in one.tree.each(ast.Attribute))
        for one in file.project.files
    )


def _inside(node: ast.ClassDef, init: ast.FunctionDef) -> Iterator[Found]:
    for one in init.body:
        if isinstance(one, ast.FunctionDef) and one.name == "forward" and not one.decorator_list:
            first = one.args.args[:1]
            if first and first[0].arg == "self" and not _used(init, one):
                yield Found(
                    head(one),
                    f"`forward` of `{node.name}` is indented into `__init__`: the class has none.",
                    "Indent it like `__init__`.",
                )


def _used(init: ast.FunctionDef, function: ast.FunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == function.name for one in ast.walk(init))


def _found(file: File, node: ast.ClassDef, method: ast.FunctionDef, wanted: str) -> Found:
    line = file.lines[method.lineno - 1]
    column = line.find(method.name, line.find("def "))
    edits: tuple[Edit, ...] = ()
    if column > 0 and not any(key(one) for one in method.decorator_list):
        start, end = (method.lineno, column), (method.lineno, column + len(method.name))
        edits = (Edit(start, end, wanted),)
    effect = "never runs" if wanted == "__init__" else "is never found"
    return Found(
        head(method),
        f"`{method.name}` of `{node.name}` {effect}: the method is called `{wanted}`.",
        f"Rename it to `{wanted}`.",
        edits=edits,
        certain=not file.derives(node, MODULES - {"torch.nn.Module", "lightning.LightningModule"}),
    )


RULE = Rule(
    name="misspelt-method",
    severity="error",
    title="`__init__` or `forward` is misspelt, or indented too far",
    why=(
        "Python calls `__init__` and PyTorch calls `forward`, by these names. With another"
        " name the layers are never made, or the module raises NotImplementedError: 'Module"
        ' [Net] is missing the required "forward" function\'. A `forward` that is indented into'
        " `__init__` is a local function."
    ),
    fix="Write `__init__` with two underscores on each side, and `forward`, both in the class.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def foward(self, x):
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
    source="PyTorch docs, torch.nn.Module.forward: it should be overridden by all subclasses.",
    check=check,
)
