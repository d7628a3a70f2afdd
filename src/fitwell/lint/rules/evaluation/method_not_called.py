"""A method that is named but not called: the parentheses are missing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._roles import words_of
from ..._model._tree import key
from ..._rule import Edit, Found, Rule, replaced

_ALWAYS = frozenset({"zero_grad", "backward"})
_WORDS = {
    "eval": frozenset({"model", "net", "network", "classifier", "generator", "discriminator"}),
    "train": frozenset({"model", "net", "network", "classifier", "generator", "discriminator"}),
    "step": frozenset(
        {"optimizer", "optim", "opt", "optimiser", "scheduler", "sched", "adam", "sgd"}
    ),
}
_KINDS = {"eval": ("module",), "train": ("module",), "step": ("optimizer", "scheduler")}


def check(file: File) -> Iterator[Found]:
    """Look for statements such as ``model.eval``.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Expr):
        value = node.value
        if not isinstance(value, ast.Attribute) or value.attr not in _ALWAYS | set(_WORDS):
            continue
        if isinstance(file.tree.parent(node), ast.Try):
            continue  # asks whether it is there
        text = ast.unparse(value)
        yield Found(
            value,
            f"`{text}` names the method and does not call it: nothing happens.",
            f"Write `{text}()`.",
            edits=_edits(file, value),
            certain=_known(file, value),
        )


def _known(file: File, node: ast.Attribute) -> bool:
    if node.attr in _ALWAYS:
        return True
    if file.made(node.value, *_KINDS[node.attr]) is not None:
        return True
    return bool(set(words_of(key(node.value).rpartition(".")[2])) & _WORDS[node.attr])


def _edits(file: File, node: ast.Attribute) -> tuple[Edit, ...]:
    """Give the call, where it certainly needs no argument."""
    if not _known(file, node):
        return ()
    if node.attr == "step":
        made = file.made(node.value, "optimizer", "scheduler")
        if made is None or made.short in ("LBFGS", "ReduceLROnPlateau"):
            return ()
    return (replaced(file, node, f"{file.text_of(node)}()"),)


RULE = Rule(
    name="method-not-called",
    severity="error",
    title="A method is named but not called",
    why=(
        "`model.eval` without parentheses is an expression whose value is thrown away. The model"
        " stays in training mode; `optimizer.step` updates nothing, `optimizer.zero_grad` clears"
        " nothing, `loss.backward` computes nothing. Python reports none of it."
    ),
    fix="Add the parentheses.",
    bad="""\
import torch

def evaluate(model, loader):
    correct = 0
    model.eval
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)
""",
    good="""\
import torch

def evaluate(model, loader):
    correct = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)
""",
    source="Python language reference, expression statements; PyTorch docs, nn.Module.eval.",
    check=check,
)
