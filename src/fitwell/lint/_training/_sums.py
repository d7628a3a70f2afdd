"""What loops over batches add up: means over batches, or sums over examples."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, final

from .._model._loops import Loop
from .._model._once import once
from .._model._project import Definition
from .._model._roles import words_of
from .._model._tree import argument, constant, key, method, owner
from .._model._values import returns
from ._passes import batch_loops, innermost

if TYPE_CHECKING:
    from .._model._file import File

Amount = Literal["mean", "sum", "unknown"]

SAME: Final = frozenset(
    {"item", "cpu", "detach", "numpy", "float", "tolist", "to", "double", "clone", "int", "long"}
)
_LOSS_FUNCTIONS: Final = frozenset(
    {
        "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
        "binary_cross_entropy", "binary_cross_entropy_with_logits",
    }
)  # fmt: skip
_LOSS_NAMES: Final = frozenset(
    {"criterion", "loss_fn", "loss_func", "loss_function", "crit", "lossfn", "objective"}
)
_BATCH_METRICS: Final = frozenset(
    {
        "sklearn.metrics.accuracy_score",
        "sklearn.metrics.f1_score",
        "sklearn.metrics.precision_score",
    }
)
_DEPTH: Final = 6


@final
@dataclass(frozen=True, eq=False)
class Sum:
    """Something that a loop over batches adds up.

    Args:
        loop: The loop.
        node: Where it is added: ``total += ...`` or ``values.append(...)``.
        name: Text of what holds the sum, such as ``total`` or ``self.total``.
        value: What is added.
        amount: Whether that is the mean over a batch, or the sum over its examples.
        listed: Whether it is kept in a list.
        file: The file.
    """

    loop: Loop
    node: ast.stmt
    name: str
    value: ast.expr
    amount: Amount
    listed: bool
    file: File = field(repr=False)


def name_of(node: ast.AST | None) -> str:
    """Give the text of what may hold a sum: a name, an attribute, an item by a constant.

    Args:
        node: An expression.
    """
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return ast.unparse(node) if key(node.value) else ""
    return key(node)


@once
def sums(file: File) -> tuple[Sum, ...]:
    """Find what loops over batches add up.

    Args:
        file: The file.
    """
    return tuple(_sums(file))


def _sums(file: File) -> Iterator[Sum]:
    loops: dict[ast.AST | None, Loop] = {loop.node: loop for loop in batch_loops(file)}
    if not loops:
        return
    for node in file.tree.each(ast.AugAssign):
        loop = loops.get(innermost(file, node))
        name = name_of(node.target)
        if loop is not None and name and isinstance(node.op, ast.Add):
            yield Sum(loop, node, name, node.value, amount(file, node.value), False, file)
    for given in file.tree.each(ast.Assign):
        value, name = given.value, name_of(given.targets[0])
        if not (name and isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add)):
            continue
        loop = loops.get(innermost(file, given))
        if loop is not None and name_of(value.left) == name:
            yield Sum(loop, given, name, value.right, amount(file, value.right), False, file)
    for call in file.method_calls("append"):
        loop = loops.get(innermost(file, call))
        on = owner(call)
        if loop is not None and len(call.args) == 1 and name_of(on):
            kind = amount(file, call.args[0])
            yield Sum(loop, file.tree.statement(call), name_of(on), call.args[0], kind, True, file)


def amount(file: File, node: ast.AST | None, depth: int = 0) -> Amount:
    """Say whether a number is the mean over a batch, or a sum over its examples.

    Args:
        file: The file.
        node: The expression.
        depth: How many names were followed.
    """
    if depth > _DEPTH or node is None:
        return "unknown"
    if isinstance(node, ast.Call):
        return _of_call(file, node, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        sides = (node.left, node.right)
        for one, other in (sides, sides[::-1]):
            if is_batch_size(file, other):
                return "sum" if amount(file, one, depth + 1) == "mean" else "unknown"
        return "unknown"
    if isinstance(node, ast.Attribute) and node.attr == "loss" and isinstance(node.value, ast.Name):
        return "mean"  # of the output of a model of transformers
    if isinstance(node, ast.Attribute) and node.attr == "data":
        return amount(file, node.value, depth + 1)
    if isinstance(node, ast.Name):
        found = file.values.bindings.reaching(node)
        if found.rest != "nothing" or not found.bindings:
            return "unknown"
        kinds = {
            amount(file, one.value, depth + 1) if one.how == "whole" else "unknown"
            for one in found.bindings
            if not (isinstance(one.statement, ast.AugAssign))
        }
        return kinds.pop() if len(kinds) == 1 else "unknown"
    return "unknown"


def _of_call(file: File, call: ast.Call, depth: int) -> Amount:
    name, short = file.dotted(call.func), method(call)
    on = owner(call)
    if name in ("float", "int") and call.args:
        return amount(file, call.args[0], depth + 1)
    if name in ("torch.sum", "numpy.sum", "sum") and len(call.args) == 1:
        return _summed(file, call.args[0])
    if name in ("torch.mean", "numpy.mean") and len(call.args) == 1 and not call.keywords:
        return "mean"
    if name in _BATCH_METRICS:
        return "mean"
    if name.startswith("torch.nn.functional.") and name.rpartition(".")[2] in _LOSS_FUNCTIONS:
        return _reduced(call)
    values = file.values.of(call.func)
    if values:
        if all(one.kind == "loss" and one.name.startswith("torch.nn.") for one in values):
            kinds = {_reduced(one.call) for one in values}
            return kinds.pop() if len(kinds) == 1 else "unknown"
        return "unknown"
    definition = file.called(call)
    if definition is not None:
        return _returned(definition, depth)
    if key(call.func).rpartition(".")[2] in _LOSS_NAMES and len(call.args) >= 2:
        return "mean" if _is_parameter(file, call.func) else "unknown"
    if short in SAME and on is not None:
        return amount(file, on, depth + 1)
    if short == "mean" and on is not None and not call.args and not call.keywords:
        return "mean"
    if short == "sum" and on is not None and not call.args and not call.keywords:
        return _summed(file, on)
    return "unknown"


def _is_parameter(file: File, func: ast.expr) -> bool:
    """Say whether a loss comes from outside, so that nothing is known but its name."""
    if isinstance(func, ast.Name):
        reaching = file.values.bindings.reaching(func)
        return reaching.rest == "parameter" and not reaching.bindings
    home = file.tree.inside(func, ast.ClassDef)
    return home is not None and all(
        binding.value is not None and key(binding.value) == key(func).rpartition(".")[2]
        for binding in file.values.bindings.everywhere(home, key(func))
    )


def _returned(definition: Definition, depth: int) -> Amount:
    if isinstance(definition.node, ast.ClassDef):
        return "unknown"
    kinds = {amount(definition.file, value, depth + 1) for value in returns(definition)}
    return kinds.pop() if len(kinds) == 1 else "unknown"


def _reduced(call: ast.Call) -> Amount:
    """Give what a loss of torch does with the examples of a batch."""
    if any(one.arg in (None, "size_average", "reduce") for one in call.keywords):
        return "unknown"
    how = argument(call, "reduction")
    if how is None or constant(how) == "mean":
        return "mean"
    return "sum" if constant(how) == "sum" else "unknown"


def _summed(file: File, node: ast.expr, depth: int = 0) -> Amount:
    """Say whether a sum counts examples: one of a comparison."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
        return "sum"
    if isinstance(node, ast.Call):
        if method(node) == "eq" or file.dotted(node.func) == "torch.eq":
            return "sum"
        on = owner(node)
        if method(node) in (*SAME, "type") and on is not None:
            return _summed(file, on, depth)
    if isinstance(node, ast.Name) and depth < _DEPTH:
        found = file.values.bindings.reaching(node).bindings
        if len(found) == 1 and found[0].how == "whole" and found[0].value is not None:
            return _summed(file, found[0].value, depth + 1)
    return "unknown"


def is_batch_size(file: File, node: ast.AST | None) -> bool:
    """Say whether an expression is the number of examples in a batch.

    Args:
        file: The file.
        node: Such as ``x.size(0)``.
    """
    if isinstance(node, ast.Call):
        if method(node) == "size":
            return constant(argument(node, "dim", 0)) == 0
        return key(node.func) == "len" and len(node.args) == 1
    if isinstance(node, ast.Subscript) and constant(node.slice) == 0:
        if isinstance(node.value, ast.Attribute):
            return node.value.attr == "shape"
        return isinstance(node.value, ast.Call) and method(node.value) == "size"
    if isinstance(node, ast.Attribute):
        return node.attr == "batch_size"
    if isinstance(node, ast.Name):
        found = file.values.bindings.reaching(node).bindings
        return any(one.how == "whole" and is_batch_size(file, one.value) for one in found) or (
            words_of(node.id)[-2:] == ["batch", "size"]
        )
    return False
