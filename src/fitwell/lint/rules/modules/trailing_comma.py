"""A layer or a result followed by a comma, which makes it a tuple."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Edit, Found, Rule, replaced, span

_MADE = ("module", "loss", "optimizer", "scheduler", "loader", "dataset", "scaler")
_TAKES_TUPLES = frozenset(
    {
        "len", "list", "tuple", "set", "enumerate", "zip", "sorted", "iter", "reversed", "map",
        "sum", "ModuleList", "ConcatDataset", "ChainDataset", "StackDataset", "Compose",
        "ChainedScheduler",
    }
)  # fmt: skip
_NO_ARITHMETIC = (ast.Sub, ast.Div, ast.MatMult, ast.Pow)


def check(file: File) -> Iterator[Found]:
    """Look for ``name = made(...),`` where what is made has no use in a tuple.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Assign, ast.AnnAssign):
        value = node.value
        if not (isinstance(value, ast.Tuple) and len(value.elts) == 1):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        _, (row, column) = span(file, value)
        is_open = file.lines[row - 1][:column].endswith(",")
        name = ast.unparse(targets[0])
        if not all(key(target) for target in targets):
            continue  # taken apart
        if not is_open:  # written as a tuple, perhaps by a formatter
            if any(_is_called(file, one) for one in _uses(file, node)):
                yield from _bracketed(file, value, name)
            continue
        found = _holds(file, node, value.elts[0])
        if found:
            yield Found(
                value,
                f"`{name}` is a tuple that holds {found}: the line ends with a comma.",
                "Delete the comma.",
                edits=(Edit((row, column - 1), (row, column), ""),),
                certain=not _is_plural(name)
                or any(_is_called(file, one) for one in _uses(file, node)),
            )


def _bracketed(file: File, value: ast.Tuple, name: str) -> Iterator[Found]:
    """Report a tuple of one layer that is called as if it were the layer."""
    made = file.made(value.elts[0], *_MADE)
    if made is not None:
        yield Found(
            value,
            f"`{name}` is a tuple that holds {made.short}, but is called like the {made.kind}.",
            "Delete the comma and the brackets.",
            edits=(replaced(file, value, file.text_of(value.elts[0])),),
        )


def _holds(file: File, node: ast.Assign | ast.AnnAssign, element: ast.expr) -> str:
    """Say what is in the tuple, if it is certainly not meant to be one."""
    made = file.made(element, *_MADE)
    if made is not None:
        used = any(_as_tuple(file, use) for use in _uses(file, node))
        return "" if used else f"{made.short}, not the {made.kind}"
    if isinstance(element, ast.Call) and any(_as_tensor(file, use) for use in _uses(file, node)):
        text = ast.unparse(element)
        return f"the result of `{text if len(text) < 50 else ast.unparse(element.func) + '(...)'}`"
    return ""


def _uses(file: File, node: ast.Assign | ast.AnnAssign) -> Iterator[ast.expr]:
    """Give where the name that is assigned is used, if nothing else can be meant there."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    name = key(target)
    around = file.tree.inside(node, ast.ClassDef) if "." in name else file.tree.scope(node)
    last = name.rpartition(".")[2]
    kind: type[ast.expr] = ast.Attribute if "." in name else ast.Name
    for use in file.tree.each(kind):
        if getattr(use, "id", getattr(use, "attr", "")) != last or key(use) != name:
            continue
        is_read = isinstance(getattr(use, "ctx", None), ast.Load)
        if is_read and file.tree.holds(around or file.tree.root, use):
            found = file.values.bindings.reaching(use).bindings
            if [one.statement for one in found] == [node]:
                yield use


def _is_plural(name: str) -> bool:
    """Say whether a name is that of several things, which may well be in a tuple."""
    return name.endswith("s") and not name.endswith("ss")


def _is_called(file: File, use: ast.expr) -> bool:
    parent = file.tree.parent(use)
    return isinstance(parent, ast.Call) and parent.func is use


def _as_tuple(file: File, use: ast.expr) -> bool:
    parent = file.tree.parent(use)
    if isinstance(parent, (ast.Starred, ast.For, ast.comprehension, ast.AugAssign)):
        return True
    if isinstance(parent, ast.Subscript):
        return parent.value is use
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, (ast.Add, ast.Mult))
    if isinstance(parent, ast.Assign):
        return isinstance(parent.targets[0], (ast.Tuple, ast.List))
    if isinstance(parent, ast.Call) and use is not parent.func:
        return file.dotted(parent.func).rpartition(".")[2] in _TAKES_TUPLES
    return False


def _as_tensor(file: File, use: ast.expr) -> bool:
    parent = file.tree.parent(use)
    if isinstance(parent, ast.Attribute):
        called = file.tree.parent(parent)
        return isinstance(called, ast.Call) and parent.attr not in ("count", "index")
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, _NO_ARITHMETIC)
    if not (isinstance(parent, ast.Call) and parent.args and parent.args[0] is use):
        return False
    if file.dotted(parent.func).startswith("torch.nn.functional."):
        return True
    values = file.values.of(parent.func)
    return bool(values) and all(
        value.kind in ("module", "loss") and value.definition is None for value in values
    )


RULE = Rule(
    name="trailing-comma",
    severity="error",
    title="A comma at the end of the line makes a tuple of a layer",
    why=(
        "`self.linear = nn.Linear(8, 4),` assigns a tuple. The layer is not registered: its"
        " weights are missing from `parameters()`, so nothing trains them, and calling it"
        " raises \"'tuple' object is not callable\", perhaps hours later. `loss = criterion(out,"
        " y),` is the same with a result."
    ),
    fix="Delete the comma.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16),
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
    source="A listing of the course's PyTorch tutorial (Hung-yi Lee 2021 to 2023) has it.",
    check=check,
)
