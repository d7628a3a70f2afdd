"""By what the sums of loops over batches are divided afterwards: by batches or by examples."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from .._model._bindings import parameters
from .._model._tree import argument, constant, key, method, owner
from ._sums import SAME, Sum, is_batch_size, name_of, sums

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._loops import Loop

Per = Literal["batches", "examples", "unknown"]


@final
@dataclass(frozen=True, eq=False)
class Division:
    """A sum divided by something, or the mean of a list.

    Args:
        sum: What is divided.
        node: Where.
        per: What it is divided by.
        by: The text of that.
    """

    sum: Sum
    node: ast.AST
    per: Per
    by: str


def divisions(file: File) -> Iterator[Division]:
    """Find the sums of loops over batches that are divided after the loop, in the same function.

    Args:
        file: The file.
    """
    found: dict[str, list[Sum]] = {}
    for one in sums(file):
        found.setdefault(one.name, []).append(one)
    if not found:
        return
    for node in file.tree.each(ast.BinOp):
        if isinstance(node.op, ast.Div):
            for name in _parts(node.left):
                yield from _divided(file, node, node.right, found.get(name, []))
    for statement in file.tree.each(ast.AugAssign):
        if isinstance(statement.op, ast.Div):
            name = name_of(statement.target)
            yield from _divided(file, statement, statement.value, found.get(name, []))
    for call in file.calls("numpy.mean", "statistics.mean", "statistics.fmean"):
        if len(call.args) == 1:
            yield from _averaged(file, call, name_of(call.args[0]), found)
    for call in file.method_calls("mean"):
        if not call.args:
            yield from _averaged(file, call, _collected(file, owner(call)), found)


def _parts(node: ast.expr) -> Iterator[str]:
    """Give the names that may be the sum in what is divided: alone, or times a constant."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(one, ast.Constant):
                yield from _parts(other)
    elif isinstance(node, ast.Call) and (
        key(node.func) in ("float", "sum") and len(node.args) == 1
    ):
        yield from _parts(node.args[0])
    elif isinstance(node, ast.Call) and method(node) in SAME:
        inner = owner(node)
        if inner is not None:
            yield from _parts(inner)
    elif name_of(node):
        yield name_of(node)


def _divided(file: File, node: ast.AST, by: ast.expr, candidates: list[Sum]) -> Iterator[Division]:
    one = _last(file, node, candidates)
    if one is None:
        return
    if one.listed:
        inner = (
            by.args[0] if isinstance(by, ast.Call) and key(by.func) == "len" and by.args else None
        )
        per: Per = "batches" if inner is not None and name_of(inner) == one.name else "unknown"
        summed = isinstance(node, ast.BinOp) and key(getattr(node.left, "func", None)) == "sum"
        if summed:
            yield Division(one, node, per, ast.unparse(by))
        return
    yield Division(one, node, divisor(file, one.loop, by), ast.unparse(by))


def _averaged(
    file: File, call: ast.Call, name: str, found: dict[str, list[Sum]]
) -> Iterator[Division]:
    one = _last(file, call, [each for each in found.get(name, []) if each.listed])
    if one is not None:
        yield Division(one, call, "batches", f"the length of `{name}`")


def _collected(file: File, node: ast.expr | None) -> str:
    """Give the list in ``torch.stack(values)`` or ``torch.tensor(values)``."""
    if isinstance(node, ast.Call) and len(node.args) == 1:
        if file.dotted(node.func) in ("torch.stack", "torch.tensor", "numpy.array", "torch.Tensor"):
            return name_of(node.args[0])
    return ""


def _last(file: File, node: ast.AST, candidates: list[Sum]) -> Sum | None:
    """Give the last of some sums that is complete before a node in the same scope."""
    tree = file.tree
    done = [
        one
        for one in candidates
        if tree.scope(one.node) is tree.scope(node)
        and tree.place(one.loop.node) < tree.place(node)
        and not tree.holds(one.loop.node, node)
    ]
    return max(done, key=lambda one: tree.place(one.node), default=None)


def divisor(file: File, loop: Loop, node: ast.expr) -> Per:
    """Say whether a number is that of the batches of a loop, or of its examples.

    Args:
        file: The file.
        loop: The loop.
        node: What is divided by.
    """
    if isinstance(node, ast.Call) and key(node.func) == "len" and len(node.args) == 1:
        inner = node.args[0]
        if ast.unparse(inner) in (ast.unparse(loop.loader), ast.unparse(loop.node.iter)):
            return "batches" if is_loader(file, loop.loader) else "unknown"
        if isinstance(inner, ast.Attribute) and inner.attr == "dataset":
            same = ast.unparse(inner.value) == ast.unparse(loop.loader)
            return "examples" if same else "unknown"
        return "examples" if file.values.is_a(inner, "dataset") else "unknown"
    if isinstance(node, ast.Call) and key(node.func) in ("max", "float", "int"):
        kinds = {divisor(file, loop, one) for one in node.args if constant(one) is None}
        return kinds.pop() if len(kinds) == 1 else "unknown"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and constant(node.right) == 1:
        return "batches" if _is_index(loop, node.left) else "unknown"
    if isinstance(node, ast.Name):
        return _counted(file, loop, node)
    return "unknown"


def _is_index(loop: Loop, node: ast.expr) -> bool:
    """Say whether a name is the index that `enumerate` gives."""
    target, around = loop.node.target, loop.node.iter
    counts = isinstance(around, ast.Call) and "enumerate" in ast.unparse(around)
    first = target.elts[0] if isinstance(target, ast.Tuple) and target.elts else None
    return counts and bool(key(node)) and key(first) == key(node)


def _counted(file: File, loop: Loop, node: ast.Name) -> Per:
    """Say what a name counts: all that is assigned to it."""
    scope = file.tree.scope(node)
    if node.id in parameters(scope):
        return "unknown"
    kinds: set[Per] = set()
    for binding in file.values.bindings.reaching(node).bindings:
        statement, value = binding.statement, binding.value
        if isinstance(statement, ast.AugAssign):
            if not file.tree.holds(loop.node, statement) or not isinstance(statement.op, ast.Add):
                return "unknown"
            one = constant(statement.value) == 1
            size = is_batch_size(file, statement.value)
            kinds.add("batches" if one else "examples" if size else "unknown")
        elif value is not None and binding.how == "whole" and constant(value) not in (0, 0.0):
            kinds.add(divisor(file, loop, value) if not isinstance(value, ast.Name) else "unknown")
    return kinds.pop() if len(kinds) == 1 else "unknown"


def is_loader(file: File, node: ast.expr) -> bool:
    """Say whether an expression certainly gives batches of several examples.

    Args:
        file: The file.
        node: What a loop goes over.
    """
    values = file.values.of(node)
    if values:
        return all(one.kind == "loader" and has_batches(one.call) for one in values)
    last = key(node).rpartition(".")[2].lower()
    return "loader" in last or last.endswith(("_dl", "batches", "_iter"))


def has_batches(call: ast.Call) -> bool:
    """Say whether a loader gives batches of several examples, as far as it shows.

    Args:
        call: What makes the loader.
    """
    if any(one.arg is None for one in call.keywords) or len(call.args) > 1:
        return True
    size = argument(call, "batch_size", 1)
    if size is None:
        return argument(call, "batch_sampler") is not None
    return constant(size) != 1 and not (isinstance(size, ast.Constant) and size.value is None)


def may_be_short(file: File, loader: ast.expr) -> bool:
    """Say whether the last batch of a loader may have fewer examples than the others.

    Args:
        file: The file.
        loader: What a loop goes over.
    """
    values = file.values.of(loader)
    if any(one.kind != "loader" for one in values):
        return False
    return not values or any(_call_may_be_short(one.file, one.call) for one in values)


def _call_may_be_short(file: File, call: ast.Call) -> bool:
    drop = argument(call, "drop_last")
    if any(one.arg is None for one in call.keywords) or argument(call, "batch_sampler") is not None:
        return False
    if drop is not None and constant(drop) is not False:
        return False
    size = argument(call, "batch_size", 1)
    if not has_batches(call) or (isinstance(size, ast.Call) and key(size.func) == "len"):
        return False
    return not _fits(file, argument(call, "dataset", 0), size)


def _fits(file: File, data: ast.expr | None, size: ast.expr | None) -> bool:
    """Say whether data made in the file have a length that is a multiple of the batch size."""
    for made in file.values.of(data):
        first = made.call.args[0] if made.short == "TensorDataset" and made.call.args else None
        if isinstance(first, ast.Name):
            bindings = made.file.values.bindings.reaching(first).bindings
            first = bindings[0].value if len(bindings) == 1 else None
        shape = first.args[0] if isinstance(first, ast.Call) and first.args else None
        shape = shape.elts[0] if isinstance(shape, (ast.Tuple, ast.List)) and shape.elts else shape
        length, batch = constant(shape), constant(size)
        if isinstance(length, int) and isinstance(batch, int) and batch > 0 and length % batch == 0:
            return True
    return False
