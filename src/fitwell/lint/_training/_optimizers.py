"""Which optimizers a file makes, of whose parameters, and what comes before what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from .._model._tree import SCOPES, argument, key, method, owner

if TYPE_CHECKING:
    from .._model._file import File

_NAMES: Final = (
    "SGD", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop",
    "Rprop", "LBFGS", "SparseAdam", "Adafactor", "Muon",
)  # fmt: skip
OPTIMIZERS: Final = (*(f"torch.optim.{name}" for name in _NAMES), "transformers.AdamW")
NO_PARAMETERS: Final = frozenset(
    {
        "Identity", "ReLU", "ReLU6", "LeakyReLU", "GELU", "SiLU", "ELU", "Tanh", "Sigmoid",
        "Softmax", "LogSoftmax", "Softplus", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d",
        "Flatten", "Unflatten", "MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d", "Upsample",
        "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "ZeroPad2d", "PixelShuffle",
        "CosineSimilarity", "PairwiseDistance", "Hardtanh", "Fold", "Unfold", "ModuleList",
        "ModuleDict", "AlphaDropout",
    }
)  # fmt: skip
"""Modules of ``torch.nn`` that have no parameters of their own."""
_WHOLE: Final = ("parameters", "named_parameters")
_DEPTH: Final = 4


@final
@dataclass(frozen=True)
class Made:
    """An optimizer.

    Args:
        call: Where it is made.
        name: What it is assigned to; empty if to nothing simple.
        kind: Such as ``Adam``.
        owners: What ``parameters()`` is called on for it, such as ``model`` or ``self.net.fc``.
    """

    call: ast.Call
    name: str
    kind: str
    owners: tuple[ast.expr, ...]


def optimizers(file: File) -> Iterator[Made]:
    """Give the optimizers that a file makes.

    Args:
        file: The file.
    """
    for call in file.calls(*OPTIMIZERS):
        parent = file.tree.parent(call)
        targets = parent.targets if isinstance(parent, ast.Assign) else []
        name = key(targets[0]) if len(targets) == 1 else ""
        given = argument(call, "params", 0)
        owners = tuple(_owners(file, given, 0)) if given is not None else ()
        yield Made(call, name, file.dotted(call.func).rpartition(".")[2], owners)


def _owners(file: File, node: ast.AST, depth: int) -> Iterator[ast.expr]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and method(inner) in _WHOLE:
            on = owner(inner)
            if on is not None and key(on):
                yield on
        elif isinstance(inner, ast.Name) and depth < _DEPTH and isinstance(inner.ctx, ast.Load):
            parent = file.tree.parent(inner)
            if isinstance(parent, ast.Attribute):
                continue
            for binding in file.values.bindings.reaching(inner).bindings:
                if binding.value is not None and binding.how == "whole":
                    yield from _owners(file, binding.value, depth + 1)


def follows(file: File, first: ast.AST, then: ast.AST) -> bool:
    """Say whether one place surely ran before another when that runs, in the same scope.

    Args:
        file: The file.
        first: The earlier one in the text.
        then: The later one.
    """
    tree = file.tree
    if tree.scope(first) is not tree.scope(then) or tree.place(first) >= tree.place(then):
        return False
    block = file.values.bindings.block(tree.statement(first))
    around = [tree.statement(then), *tree.above(then)]
    return any(
        isinstance(one, ast.stmt) and file.values.bindings.block(one) == block for one in around
    )


def steps_after(file: File, made: Made, place: ast.AST) -> ast.AST | None:
    """Give where an optimizer is used to train after a place in its scope; None if it is not.

    Args:
        file: The file.
        made: The optimizer, with a name.
        place: Where to begin.
    """
    tree = file.tree
    for use in file.uses(made.name):
        if tree.place(use) > tree.place(place) and _trains(file, use):
            if tree.scope(use) is tree.scope(place) and not _holds(file, use, made):
                continue
            if not made.name.startswith("self."):
                within = [tree.scope(use), *(a for a in tree.above(use) if isinstance(a, SCOPES))]
                if tree.scope(place) not in within:
                    continue
            return use
    if made.name.startswith("self."):
        home = tree.inside(place, ast.ClassDef)
        for use in file.uses(made.name):
            if tree.inside(use, ast.ClassDef) is home and _trains(file, use):
                if tree.function(use) is not tree.function(place):
                    return use
    return None


def _holds(file: File, use: ast.expr, made: Made) -> bool:
    bindings = file.values.bindings.reaching(use).bindings
    statement = file.tree.statement(made.call)
    return any(binding.statement is statement for binding in bindings)


def _trains(file: File, use: ast.expr) -> bool:
    """Say whether an optimizer is stepped, or given to a function, at a use of its name."""
    parent = file.tree.parent(use)
    if isinstance(parent, ast.Attribute):
        return parent.attr == "step"
    if isinstance(parent, ast.keyword):
        parent = file.tree.parent(parent)
    if not isinstance(parent, ast.Call) or parent.func is use:
        return False
    name = file.dotted(parent.func)
    return not name.startswith(("torch.optim.", "torch.save", "print", "len", "isinstance", "type"))


def base(node: ast.AST) -> ast.AST:
    """Give what an attribute or an item belongs to: of ``model.fc[0]``, ``model``.

    Of ``self.net.fc`` that is ``self.net``.

    Args:
        node: The expression.
    """
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Attribute) and key(node.value) == "self":
            return node
        node = node.value
    return node
