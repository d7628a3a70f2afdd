"""A result that is returned after the first batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._training._passes import innermost
from ..._training._sums import name_of, sums


def check(file: File) -> Iterator[Found]:
    """Look for an unconditional `return` of a sum in the loop that adds to it.

    Args:
        file: The file.
    """
    seen: set[ast.AST] = set()
    for one in sums(file):
        loop = one.loop.node
        for statement in loop.body:
            if not isinstance(statement, ast.Return) or statement.value is None:
                continue
            used = {name_of(node) for node in ast.walk(statement.value)}
            used |= {
                name_of(inner)
                for node in ast.walk(loop)
                if isinstance(node, ast.Assign) and any(name_of(t) in used for t in node.targets)
                for inner in ast.walk(node.value)
            }
            if one.name not in used or statement in seen or innermost(file, statement) is not loop:
                continue
            if _starts_in(file, loop, one.name):
                continue
            seen.add(statement)
            yield Found(
                statement,
                f"`return` stands inside of the loop over `{ast.unparse(one.loop.loader)}`: it"
                f" ends after the first batch, and `{one.name}` holds that batch alone.",
                "Move `return` behind the loop.",
            )


def _starts_in(file: File, loop: ast.AST, name: str) -> bool:
    """Say whether the sum is set within the loop, so that it is one of something else."""
    return any(
        isinstance(node, ast.Assign)
        and any(name_of(target) == name for target in node.targets)
        and not isinstance(node.value, ast.BinOp)
        for node in file.tree.own(loop)
    )


RULE = Rule(
    name="return-inside-loop",
    severity="error",
    title="The result is returned after the first batch",
    why=(
        "A `return` that is indented one step too far ends the loop after its first batch. The"
        " metric is that of one batch: noisy, always of the same few examples, and quick to"
        " compute, which is the only sign."
    ),
    fix="Move `return` one step to the left, behind the loop.",
    bad="""\
import torch

def accuracy(model, loader):
    correct, seen = 0, 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
            seen += len(y)
            return correct / seen
""",
    good="""\
import torch

def accuracy(model, loader):
    correct, seen = 0, 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
            seen += len(y)
    return correct / seen
""",
    source="Course tutorial (Hung-yi Lee 2021): the result is returned behind the loop.",
    check=check,
)
