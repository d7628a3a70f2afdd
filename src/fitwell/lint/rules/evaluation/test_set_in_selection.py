"""A checkpoint, a learning rate or the end of training chosen by the test set."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, key
from ..._rule import Found, Rule
from ..._training._selection import by_test, choices, saves


def check(file: File) -> Iterator[Found]:
    """Look for models kept, schedules and early stops that follow a metric of test data.

    Args:
        file: The file.
    """
    for one in choices(file):
        if saves(file, one.kept):
            yield _found(one.node.test, one.metric, "the model is kept that is best by")
    for call in file.method_calls("step"):
        metric = argument(call, "metrics", 0)
        on = call.func.value if isinstance(call.func, ast.Attribute) else None
        made = file.made(on, "scheduler")
        if made is not None and made.short == "ReduceLROnPlateau" and metric is not None:
            if by_test(file, metric):
                yield _found(call, metric, "the learning rate follows")
    if "stop" not in file.text.lower():
        return
    for call in file.tree.each(ast.Call):
        if call.args and _stops(file, call) and by_test(file, call.args[0]):
            yield _found(call, call.args[0], "the end of training follows")


def _stops(file: File, call: ast.Call) -> bool:
    """Say whether a call asks for early stopping."""
    name = key(call.func).lower().replace("_", "")
    if "earlystop" in name:
        return True
    on, _, last = name.rpartition(".")
    if last in ("step", "update", "check", "shouldstop"):
        return on.endswith(("stopper", "stopping"))
    return name.endswith("stopper")


def _found(node: ast.AST, metric: ast.expr, what: str) -> Found:
    return Found(
        node,
        f"`{ast.unparse(metric)}` comes from the test data, and {what} it: the test result is no"
        " longer one on unseen data.",
        "Choose by validation data split off the training data, and test once, at the end.",
    )


RULE = Rule(
    name="test-set-in-selection",
    severity="warning",
    title="The test set takes part in the selection",
    why=(
        "The best of many epochs on the test set is best partly by chance on these examples. Its"
        " test accuracy is too high: the more epochs, the more. Nothing shows it before new data"
        " arrive. The same holds for early stopping and for a schedule that follows the test"
        " loss."
    ),
    fix="Split validation data off the training data, choose by them, and test once, at the end.",
    bad="""\
import torch
from torch import nn

def measure(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)

def fit(model, train_one_epoch, test_loader):
    best_acc = 0.0
    for epoch in range(20):
        train_one_epoch(model)
        test_acc = measure(model, test_loader)
        if test_acc > best_acc:
            best_acc = test_acc
            torch.save(model.state_dict(), "best.pt")
""",
    good="""\
import torch
from torch import nn

def measure(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)

def fit(model, train_one_epoch, valid_loader, test_loader):
    best_acc = 0.0
    for epoch in range(20):
        train_one_epoch(model)
        valid_acc = measure(model, valid_loader)
        if valid_acc > best_acc:
            best_acc = valid_acc
            torch.save(model.state_dict(), "best.pt")
    model.load_state_dict(torch.load("best.pt", weights_only=True))
    print(measure(model, test_loader))
""",
    source="Hung-yi Lee 2021, guidelines: split the training set, and select by validation alone.",
    check=check,
)
