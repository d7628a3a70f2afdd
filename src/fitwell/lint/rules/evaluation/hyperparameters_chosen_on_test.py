"""Settings of a training chosen by the result on the test set."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._roles import words_of
from ..._model._tree import argument, key
from ..._rule import Found, Rule
from ..._training._selection import by_test, choices, saves

_EPOCHS = frozenset({"epoch", "epochs", "ep", "step", "iteration", "it", "round", "batch"})


def check(file: File) -> Iterator[Found]:
    """Look for loops over settings, and for trials, that keep what is best on test data.

    Args:
        file: The file.
    """
    for one in choices(file):
        settings = _settings(file, one.node)
        kept = {
            key(name)
            for statement in one.kept
            if isinstance(statement, ast.Assign)
            for name in ast.walk(statement.value)
        }
        if settings & kept and not saves(file, one.kept):
            yield _found(one.node.test, one.metric, f"`{min(settings & kept)}`")
    yield from _best_of_results(file)
    yield from _trials(file)


def _settings(file: File, node: ast.AST) -> set[str]:
    """Give the names that the loops around a node give to settings."""
    names: set[str] = set()
    for above in file.tree.above(node):
        if isinstance(above, ast.For):
            told = {one.id for one in ast.walk(above.target) if isinstance(one, ast.Name)}
            names |= {name for name in told if not set(words_of(name)) & _EPOCHS}
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
            break
    return names


def _best_of_results(file: File) -> Iterator[Found]:
    """Find ``results[lr] = test_acc`` with ``max(results, key=results.get)`` later."""
    taken = {
        key(call.args[0])
        for call in file.calls("max", "min")
        if call.args and key(argument(call, "key")) == f"{key(call.args[0])}.get"
    }
    for node in file.tree.each(ast.Assign):
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and key(target.value) in taken - {""}:
            inside = _settings(file, node) & {key(one) for one in ast.walk(target.slice)}
            if inside and by_test(file, node.value):
                yield _found(node, node.value, f"`{min(inside)}`")


def _trials(file: File) -> Iterator[Found]:
    """Find objectives of a search that return a test result."""
    functions = {
        file.tree.function(call)
        for name in ("suggest_float", "suggest_int", "suggest_categorical", "suggest_loguniform")
        for call in file.method_calls(name)
    }
    for function in functions:
        if function is None:
            continue
        for node in file.tree.own(function):
            if (
                isinstance(node, ast.Return)
                and node.value is not None
                and by_test(file, node.value)
            ):
                yield _found(node, node.value, "the setting of a trial")


def _found(node: ast.AST, metric: ast.expr, what: str) -> Found:
    return Found(
        node,
        f"`{ast.unparse(metric)}` comes from the test data, and {what} is chosen by it: the test"
        " result is no longer one on unseen data.",
        "Choose by validation data or by cross-validation, and test the chosen setting once.",
    )


RULE = Rule(
    name="hyperparameters-chosen-on-test",
    severity="warning",
    title="Hyper-parameters are chosen by the test set",
    why=(
        "The best of many settings on the test set is best partly by chance on these examples."
        " Its test accuracy is too high, the more settings are tried, the more, and another"
        " setting may be better on new data."
    ),
    fix="Choose by validation data or by cross-validation, and test the chosen setting once.",
    bad="""\
import torch
from torch import nn

def search(build, fit, accuracy, train_loader, test_loader):
    best_acc, best_lr = 0.0, None
    for lr in [0.1, 0.01, 0.001]:
        model = build()
        fit(model, train_loader, torch.optim.SGD(model.parameters(), lr=lr))
        test_acc = accuracy(model, test_loader)
        if test_acc > best_acc:
            best_acc = test_acc
            best_lr = lr
    return best_lr
""",
    good="""\
import torch
from torch import nn

def search(build, fit, accuracy, train_loader, valid_loader):
    best_acc, best_lr = 0.0, None
    for lr in [0.1, 0.01, 0.001]:
        model = build()
        fit(model, train_loader, torch.optim.SGD(model.parameters(), lr=lr))
        valid_acc = accuracy(model, valid_loader)
        if valid_acc > best_acc:
            best_acc = valid_acc
            best_lr = lr
    return best_lr
""",
    source="Hung-yi Lee 2021, guidelines: split the training set, and select by validation alone.",
    check=check,
)
