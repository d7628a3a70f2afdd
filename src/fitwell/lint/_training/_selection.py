"""What a program chooses by a metric of test data: checkpoints, learning rates, settings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from .._model._roles import words_of
from .._model._tree import FUNCTIONS, key, method
from ._passes import batch_loops

if TYPE_CHECKING:
    from .._model._file import File

_TEST: Final = frozenset({"test", "testing", "tst", "testset", "testloader", "testdata", "holdout"})
_OTHER: Final = frozenset(
    {
        "val", "valid", "validation", "dev", "train", "training", "trn", "valloader", "trainloader",
        "smoke", "unit", "ttest",
    }
)  # fmt: skip
_BEST: Final = frozenset({"best", "min", "max", "lowest", "highest", "top"})
_DEPTH: Final = 4


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """An ``if`` that keeps what is best by a metric of test data.

    Args:
        node: The ``if``.
        metric: What is compared.
        kept: The statements that run where it is better.
        file: The file.
    """

    node: ast.If
    metric: ast.expr
    kept: tuple[ast.stmt, ...]
    file: File = field(repr=False)


def says_test(name: str) -> bool:
    """Say whether an identifier speaks of test data, and of no others.

    Args:
        name: Such as ``test_acc``.
    """
    words = set(words_of(name))
    return bool(words & _TEST) and not words & _OTHER


def by_test(file: File, node: ast.expr, depth: int = 0) -> bool:
    """Say whether a number certainly comes from test data alone, as far as names tell.

    Args:
        file: The file.
        node: A metric.
        depth: How many names were followed.
    """
    if depth > _DEPTH:
        return False
    if isinstance(node, ast.Subscript):
        inner = node.slice
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            return says_test(inner.value) or by_test(file, node.value, depth + 1)
        return by_test(file, node.value, depth + 1)
    if isinstance(node, ast.Call):
        if method(node) in ("item", "mean", "cpu", "compute") and isinstance(
            node.func, ast.Attribute
        ):
            return by_test(file, node.func.value, depth + 1)
        given = [*node.args, *(one.value for one in node.keywords)]
        named = [key(one).rpartition(".")[2] for one in given]
        if any(set(words_of(name)) & _OTHER for name in named):
            return False
        return any(says_test(name) for name in named)
    name = key(node)
    if not name:
        return False
    last = name.rpartition(".")[2]
    if says_test(last):
        return True
    if set(words_of(last)) & _OTHER:
        return False
    bindings = file.values.bindings.reaching(node).bindings
    values = [one.value for one in bindings if not _is_start(one.value)]
    return bool(values) and all(
        value is not None and (by_test(file, value, depth + 1) or _counted(file, value))
        for value in values
    )


def _is_start(node: ast.expr | None) -> bool:
    return isinstance(node, (ast.Constant, ast.UnaryOp))


def _counted(file: File, node: ast.expr) -> bool:
    """Say whether a number is computed from what a loop over test data adds up."""
    names = {key(one) for one in ast.walk(node) if isinstance(one, ast.Name)}
    scope = file.tree.scope(node)
    found = False
    for loop in batch_loops(file):
        if file.tree.scope(loop.node) is not scope or loop.trains:
            continue
        if file.tree.place(loop.node) > file.tree.place(node):
            continue
        added = any(
            isinstance(one, ast.AugAssign) and key(one.target) in names
            for one in file.tree.own(loop.node)
        )
        if added:
            if not says_test(key(loop.loader).rpartition(".")[2]):
                return False
            found = True
    return found


def choices(file: File) -> Iterator[Choice]:
    """Find where something is kept because a metric of test data is the best so far.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.If):
        tests = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
        for test in tests:
            if not (isinstance(test, ast.Compare) and len(test.ops) == 1):
                continue
            if not isinstance(test.ops[0], (ast.Gt, ast.Lt, ast.GtE, ast.LtE)):
                continue
            left, right = test.left, test.comparators[0]
            for best, metric in ((left, right), (right, left)):
                if not _is_best(best) or _is_best(metric):
                    continue
                keeps = any(_assigns(one, best) for one in node.body)
                if keeps and by_test(file, metric) and not _of_training(file, metric):
                    yield Choice(node, metric, tuple(node.body), file)


def _is_best(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        return _is_best(node.left)
    return bool(set(words_of(key(node).rpartition(".")[2])) & _BEST)


def _assigns(statement: ast.stmt, best: ast.expr) -> bool:
    name = key(best.left) if isinstance(best, ast.BinOp) else key(best)
    if not isinstance(statement, ast.Assign):
        return False
    return any(key(one) == name for target in statement.targets for one in ast.walk(target))


def _of_training(file: File, metric: ast.expr) -> bool:
    """Say whether a test is one of hypotheses, or the like: nothing is measured there."""
    function = file.tree.inside(metric, *FUNCTIONS)
    name = getattr(function, "name", "")
    return isinstance(name, str) and bool({"ttest", "pvalue"} & set(words_of(name)))


def saves(file: File, statements: tuple[ast.stmt, ...]) -> bool:
    """Say whether statements keep a model: in a file, or as a copy.

    Args:
        file: The file.
        statements: Of an ``if``.
    """
    for statement in statements:
        for node in ast.walk(statement):
            if not isinstance(node, ast.Call):
                continue
            last = key(node.func).rpartition(".")[2] or method(node)
            words = set(words_of(last))
            if last in ("state_dict", "deepcopy", "get_weights") or "checkpoint" in words:
                return True
            if "save" in words and words.isdisjoint({"fig", "figure", "plot", "txt", "csv"}):
                return True
    return False
