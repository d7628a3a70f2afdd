"""The class taken by `argmax` over the batch instead of over the classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant, key, method
from ..._rule import Found, Rule
from ..._training._averages import is_loader
from ..._training._outputs import comparisons, is_label, loop_around, output_of, source

_SHAPES = frozenset(
    {"view", "reshape", "squeeze", "cpu", "detach", "long", "numpy", "to", "view_as"}
)


def check(file: File) -> Iterator[Found]:
    """Look for predictions `argmax(0)` or `argmax()` of a batch that are compared with labels.

    Args:
        file: The file.
    """
    seen: set[ast.AST] = set()
    for taken in file.method_calls("argmax"):
        if _dim(file, taken) == 0 and _meets_labels(file, taken):
            seen.add(taken)
            yield _over_batch(taken)
    for left, right, _ in comparisons(file):
        for side, other in ((left, right), (right, left)):
            call, output = _argmax(file, source(file, side))
            if call is None or call in seen or output_of(file, output) is None:
                continue
            loop = loop_around(file, call)
            if loop is None or not is_label(file, loop, other):
                continue
            if not is_loader(file, loop.loader):
                continue
            dim = _dim(file, call)
            known = bool(file.values.of(loop.loader))
            if dim == 0:
                yield _over_batch(call)
            elif dim == "none":
                yield Found(
                    call,
                    f"`{ast.unparse(call)}` without `dim` gives one index into the whole batch,"
                    " not a class for each example.",
                    "Take it over the classes, with `dim=1`.",
                    certain=known,
                )


def _over_batch(call: ast.Call) -> Found:
    return Found(
        call,
        f"`{ast.unparse(call)}` takes the example with the largest value for each class, not the"
        " class of each example: dimension 0 is the batch.",
        "Take it over the classes, with `dim=1`.",
    )


def _meets_labels(file: File, call: ast.Call) -> bool:
    """Say whether what `argmax` gives is used together with the labels of the batch."""
    loop = loop_around(file, call)
    if loop is None or len(loop.batch) < 2 or not is_loader(file, loop.loader):
        return False
    _, output = _argmax(file, call)
    if output_of(file, output) is None:
        return False
    statement = file.tree.statement(call)
    names = {"", *(key(one) for one in getattr(statement, "targets", []))} - {""}
    return any(
        loop.batch[-1] in used and names & used
        for node in loop.node.body
        for used in [{one.id for one in ast.walk(node) if isinstance(one, ast.Name)}]
        if node is not statement
    )


def _argmax(file: File, node: ast.expr) -> tuple[ast.Call | None, ast.expr | None]:
    """Give the call that takes an index of a maximum, and what of."""
    for _ in range(4):
        if isinstance(node, ast.Subscript) and constant(node.slice) == 1:
            node = node.value  # torch.max(outputs, 0)[1]
        elif isinstance(node, ast.Attribute) and node.attr == "indices":
            node = node.value
        elif isinstance(node, ast.Call) and method(node) in _SHAPES:
            inner = node.func.value if isinstance(node.func, ast.Attribute) else node
            node = source(file, inner)
    if not isinstance(node, ast.Call):
        return None, None
    name = file.dotted(node.func)
    if name in ("torch.argmax", "torch.max"):
        return node, argument(node, "input", 0)
    if method(node) in ("argmax", "max") and isinstance(node.func, ast.Attribute):
        return node, node.func.value
    return None, None


def _dim(file: File, call: ast.Call) -> object:
    """Give the dimension; `none` where `argmax` has no such argument."""
    is_function = file.dotted(call.func) in ("torch.argmax", "torch.max")
    given = argument(call, "dim", int(is_function)) or argument(call, "axis")
    if given is None:
        takes_all = method(call) == "argmax" and not call.keywords
        return "none" if takes_all else None
    return constant(given) if type(constant(given)) is int else None


RULE = Rule(
    name="argmax-over-batch",
    severity="error",
    title="The predicted class is taken over the batch",
    why=(
        "Outputs of a classifier have the shape (batch, classes). `argmax(0)` looks for the"
        " largest value over the examples, and gives one index per class; `argmax()` gives one"
        " index for all. Compared with the labels it raises, or, where both sizes fit or one is"
        " 1, it gives a meaningless accuracy."
    ),
    fix="Use `argmax(dim=1)`.",
    bad="""\
import torch

def accuracy(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=0) == y).sum().item()
    return correct / len(loader.dataset)
""",
    good="""\
import torch

def accuracy(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)
""",
    source="PyTorch docs, torch.argmax: without dim, the index into the flattened tensor.",
    check=check,
)
