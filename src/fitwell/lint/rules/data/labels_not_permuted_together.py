"""Inputs that are brought into another order without their labels."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._roles import words_of
from ..._model._tree import key, method
from ..._rule import Found, Rule

_INPUTS = {
    "x", "data", "features", "images", "inputs", "texts", "sentences", "xs", "imgs", "samples",
    "files", "paths", "points", "feats",
}  # fmt: skip
_LABELS = {"y", "labels", "targets", "label", "target", "ys", "classes", "answers"}
_PAIRS = {"TensorDataset", "zip", "fit", "train_test_split"}


def check(file: File) -> Iterator[Found]:
    """Look for inputs that are shuffled alone, and paired with labels of before later.

    Args:
        file: The file.
    """
    for node, name in _shuffled(file):
        if file.tree.inside(node, ast.For, ast.While) is not None:
            continue
        label = _paired_with(file, node, name)
        if label:
            yield Found(
                node,
                f"`{name}` is brought into another order, but `{label}` keeps its own.",
                f"Use one permutation for both, as `{name}[order]` and `{label}[order]`.",
            )


def _shuffled(file: File) -> Iterator[tuple[ast.stmt, str]]:
    """Give the places that shuffle an array of inputs in place, or by an index."""
    for call in file.calls("random.shuffle", "numpy.random.shuffle"):
        statement = file.tree.statement(call)
        if isinstance(statement, ast.Expr) and call.args and _is(key(call.args[0]), _INPUTS):
            yield statement, key(call.args[0])
    for node in file.tree.each(ast.Assign):
        name, value = key(node.targets[0]), node.value
        if not (_is(name, _INPUTS) and isinstance(value, ast.Subscript)):
            continue
        if key(value.value) == name and _is_permutation(file, value.slice):
            yield node, name


def _is(name: str, words: set[str]) -> bool:
    return bool(set(words_of(name.rpartition(".")[2])) & words)


def _is_permutation(file: File, index: ast.expr) -> bool:
    if isinstance(index, ast.Name):
        bindings = file.values.bindings.reaching(index).bindings
        value = bindings[0].value if len(bindings) == 1 else None
        return value is not None and _is_permutation(file, value)
    return isinstance(index, ast.Call) and method(index) in ("randperm", "permutation")


def _paired_with(file: File, node: ast.stmt, name: str) -> str:
    """Give the labels that go with the inputs after a place, and kept their order."""
    scope, place = file.tree.scope(node), file.tree.place(node)
    for call in file.tree.own_calls(scope):
        names = [key(one) for one in call.args[:2]]
        paired = (method(call) or key(call.func)) in _PAIRS and file.tree.place(call) > place
        if not paired or len(names) < 2 or names[0] != name or not _is(names[1], _LABELS):
            continue
        if not _touched(file, scope, names[1], node):
            return names[1]
    return ""


def _touched(file: File, scope: ast.AST, label: str, node: ast.stmt) -> bool:
    """Say whether labels are put into order, or inputs are taken from what holds both."""
    for call in file.tree.own_calls(scope):
        if method(call) == "shuffle" and any(key(one) == label for one in call.args):
            return True
        if method(call) == "seed" or method(call) == "setstate":
            return True
    place = file.tree.place(node)
    for one in file.tree.own(scope):
        if not isinstance(one, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            continue
        targets = one.targets if isinstance(one, ast.Assign) else [one.target]
        names = {key(part) for target in targets for part in _parts(target)}
        if label in names and (file.tree.place(one) >= place or _indexed(one.value)):
            return True
    return False


def _parts(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]


def _indexed(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Subscript) and isinstance(value.slice, (ast.Name, ast.Call))


RULE = Rule(
    name="labels-not-permuted-together",
    severity="error",
    title="Inputs are shuffled without their labels",
    why=(
        "Every label then belongs to another input. Nothing is reported; the training loss goes"
        " down slowly, as the model learns pairs by heart, and the test score is that of"
        " guessing."
    ),
    fix="Draw one permutation and use it for both, or shuffle pairs in the loader.",
    bad="""\
import torch
from torch.utils.data import DataLoader, TensorDataset

def make_loader(x, y):
    order = torch.randperm(len(x))
    x = x[order]
    data = TensorDataset(x, y)
    return DataLoader(data, batch_size=64, shuffle=True)
""",
    good="""\
import torch
from torch.utils.data import DataLoader, TensorDataset

def make_loader(x, y):
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    data = TensorDataset(x, y)
    return DataLoader(data, batch_size=64, shuffle=True)
""",
    source="PyTorch forums, on shuffling two tensors alike; the mechanism is plain indexing.",
    check=check,
)
