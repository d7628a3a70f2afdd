"""Settings are compared, each from another random beginning."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import constant, key, method
from ..._rule import Found, Rule
from ..._training._seeds import has_seed, makes_module

_GRIDS = frozenset({"itertools.product", "sklearn.model_selection.ParameterGrid"})
_REPEATS = re.compile(r"seed|fold|epoch|run|trial|repeat|split|rep$", re.IGNORECASE)


def check(file: File) -> Iterator[Found]:
    """Look for ``for lr in [...]:`` with a new model and a training in it, where nothing is seeded.

    Args:
        file: The file.
    """
    for loop in file.tree.each(ast.For):
        names = [key(one) for one in ast.walk(loop.target) if isinstance(one, ast.Name)]
        if any(_REPEATS.search(name) for name in names) or not _settings(file, loop.iter):
            continue
        if not any(event.what == "backward" for event in file.events(loop)):
            continue
        if not makes_module(file, loop) or not _compares(file, loop) or has_seed(file.project):
            continue
        yield Found(
            loop,
            f"Each `{', '.join(names)}` begins with other random weights and other batches: part of"
            " the difference between the results is luck.",
            "Call `torch.manual_seed(0)` at the beginning of each turn, better with several seeds.",
        )


def _settings(file: File, node: ast.expr) -> bool:
    """Say whether a loop goes over two or more settings that are written down."""
    if isinstance(node, ast.Name):
        bindings = file.values.bindings.reaching(node).bindings
        value = bindings[0].value if len(bindings) == 1 and bindings[0].how == "whole" else None
        return value is not None and not isinstance(value, ast.Name) and _settings(file, value)
    if isinstance(node, (ast.List, ast.Tuple)):
        return len(node.elts) > 1 and all(_is_setting(one) for one in node.elts)
    if isinstance(node, ast.Dict):
        return len(node.keys) > 1
    if isinstance(node, ast.Call):
        if method(node) in ("items", "keys", "values") and isinstance(node.func, ast.Attribute):
            return _settings(file, node.func.value)
        if file.dotted(node.func) == "enumerate" and node.args:
            return _settings(file, node.args[0])
        return file.dotted(node.func) in _GRIDS
    return False


def _is_setting(node: ast.expr) -> bool:
    if isinstance(node, (ast.Dict, ast.Tuple, ast.List)):
        return True
    return isinstance(constant(node), (int, float, str)) or isinstance(node, ast.Attribute)


def _compares(file: File, loop: ast.For) -> bool:
    """Say whether results of the turns are kept, compared or printed."""
    for node in file.tree.own(loop):
        if isinstance(node, ast.Call):
            if method(node) == "append" or file.dotted(node.func) == "print":
                return True
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            return True
        if isinstance(node, ast.Compare) and any("best" in key(one) for one in node.comparators):
            return True
    return False


RULE = Rule(
    name="seed-missing",
    severity="warning",
    title="Settings are compared without a seed",
    why=(
        "Initial weights, the order of batches and dropout differ between two trainings of the same"
        " setting, often by more than two settings differ. Without a seed the comparison cannot be"
        " repeated, and the best one may be the luckiest one."
    ),
    fix="Seed each training, compare over several seeds, and report their spread.",
    bad="""\
import torch
from torch import nn

def compare(loader):
    results = {}
    for lr in [0.1, 0.01, 0.001]:
        model = nn.Linear(8, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        loss_fn = nn.MSELoss()
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        results[lr] = loss.item()
    return results
""",
    good="""\
import torch
from torch import nn

def compare(loader):
    results = {}
    for lr in [0.1, 0.01, 0.001]:
        torch.manual_seed(0)
        model = nn.Linear(8, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        loss_fn = nn.MSELoss()
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        results[lr] = loss.item()
    return results
""",
    source="PyTorch docs, reproducibility; Bouthillier et al. 2021, Accounting for variance.",
    check=check,
)
