"""An average that is computed in the loop that still adds to its sum."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._passes import innermost
from ..._training._sums import Sum, name_of, sums


def check(file: File) -> Iterator[Found]:
    """Look for sums divided by a length of the whole in the loop that adds to them.

    Args:
        file: The file.
    """
    for one in sums(file):
        loop = one.loop.node
        if one.listed or any(isinstance(node, ast.Return) for node in loop.body):
            continue
        for statement in loop.body:
            node = _average(one, statement)
            if node is None or _set_again(file, one):
                continue
            name = name_of(_target(statement))
            shown = name != one.name and bool(name) and _read(loop, statement, name)
            yield Found(
                statement,
                f"`{ast.unparse(node)}` is computed for each batch, while `{one.name}` still grows:"
                + _effect(one, name),
                "Move the line behind the loop.",
                certain=not shown,
            )


def _effect(one: Sum, name: str) -> str:
    if name == one.name:
        return " the sum is divided again and again."
    return " only the last value is the average."


def _target(statement: ast.stmt) -> ast.expr | None:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return statement.targets[0]
    return statement.target if isinstance(statement, (ast.AugAssign, ast.AnnAssign)) else None


def _average(one: Sum, statement: ast.stmt) -> ast.AST | None:
    """Give the division of the sum by a length, if a statement keeps it."""
    if isinstance(statement, ast.AugAssign):
        whole = isinstance(statement.op, ast.Div) and _is_length(one, statement.value)
        return statement if whole and name_of(statement.target) == one.name else None
    value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        call = statement.value
        if isinstance(call.func, ast.Attribute) and call.func.attr == "append" and call.args:
            value = call.args[0]
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        sides = (value.left, value.right)
        value = next((side for side in sides if isinstance(side, ast.BinOp)), None)
    if not (isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div)):
        return None
    left = {name_of(inner) for inner in ast.walk(value.left)}
    return value if one.name in left and _is_length(one, value.right) else None


def _is_length(one: Sum, node: ast.expr) -> bool:
    """Say whether a number is the length of the data, the same in all rounds of the loop."""
    if not (isinstance(node, ast.Call) and key(node.func) == "len" and len(node.args) == 1):
        return False
    inner = node.args[0]
    loader = ast.unparse(one.loop.loader)
    if ast.unparse(inner) in (loader, f"{loader}.dataset"):
        return True
    return one.file.values.is_a(inner, "dataset") or one.file.values.is_a(inner, "loader")


def _set_again(file: File, one: Sum) -> bool:
    """Say whether the sum starts anew within the loop."""
    return any(
        isinstance(node, ast.Assign)
        and node is not one.node
        and any(name_of(target) == one.name for target in node.targets)
        and innermost(file, node) is one.loop.node
        and isinstance(node.value, ast.Constant)
        for node in file.tree.own(one.loop.node)
    )


def _read(loop: ast.AST, statement: ast.stmt, name: str) -> bool:
    """Say whether the average is used in the loop."""
    inner = set(ast.walk(statement))
    return any(
        name_of(node) == name and isinstance(getattr(node, "ctx", None), ast.Load)
        for node in ast.walk(loop)
        if node not in inner
    )


RULE = Rule(
    name="average-inside-loop",
    severity="warning",
    title="The average of an epoch is computed inside of the loop over its batches",
    why=(
        "While the loop runs, the sum holds only some of the batches, but it is divided by the"
        " length of all of them. Each value but the last is too small. `total /= len(loader)` in"
        " the loop is worse: it divides what was divided before. A list that takes the values"
        " gets one per batch, not per epoch."
    ),
    fix="Compute the average once, after the loop: one step to the left.",
    bad="""\
import torch
from torch import nn

def validate(model, dv_set, device):
    criterion = nn.MSELoss(reduction="mean")
    model.eval()
    total_loss = 0
    for x, y in dv_set:
        x, y = x.to(device), y.to(device)
        with torch.no_grad():
            pred = model(x)
            loss = criterion(pred, y)
        total_loss += loss.cpu().item() * len(x)
        avg_loss = total_loss / len(dv_set.dataset)
    return avg_loss
""",
    good="""\
import torch
from torch import nn

def validate(model, dv_set, device):
    criterion = nn.MSELoss(reduction="mean")
    model.eval()
    total_loss = 0
    for x, y in dv_set:
        x, y = x.to(device), y.to(device)
        with torch.no_grad():
            pred = model(x)
            loss = criterion(pred, y)
        total_loss += loss.cpu().item() * len(x)
    avg_loss = total_loss / len(dv_set.dataset)
    return avg_loss
""",
    source="The validation listing of the course's tutorial (Hung-yi Lee 2021 to 2023) has it.",
    check=check,
)
