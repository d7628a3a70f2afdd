"""A view that merges dimensions which a permutation tore apart in memory."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant, method, owner
from ..._rule import Edit, Found, Rule, span

_SWAPS = ("permute", "transpose", "swapaxes", "t", "movedim")
_STRIDED = ("scaled_dot_product_attention", "einsum", "channels_last", "as_strided")


def check(file: File) -> Iterator[Found]:
    """Look for ``x.permute(...).view(...)`` that cannot be a view of the same memory.

    Args:
        file: The file.
    """
    if any(word in file.text for word in _STRIDED):
        return  # there the memory itself may be in another order
    for call in file.method_calls("view"):
        swap = _swap(file, owner(call))
        sizes = call.args
        if len(sizes) == 1 and isinstance(sizes[0], (ast.Tuple, ast.List)):
            sizes = sizes[0].elts
        if swap is None or not sizes or any(isinstance(one, ast.Starred) for one in sizes):
            continue
        if file.dotted(sizes[0]).startswith("torch."):
            continue  # as another dtype
        pieces = _pieces(swap)
        needed = len([one for one in sizes if constant(one) != 1])
        if pieces is None or needed >= pieces + _merged(swap, sizes):
            continue
        func = call.func
        start = end = None
        if isinstance(func, ast.Attribute):
            end = span(file, func)[1]
            start = (end[0], end[1] - len("view"))
        yield Found(
            call,
            f"`{method(swap)}` leaves the memory in the old order, and this `view` merges"
            " dimensions that are no neighbors there, which raises RuntimeError.",
            "Use `reshape`, or `contiguous()` before `view`.",
            edits=(Edit(start, end, "reshape"),) if start and end else (),
        )


def _swap(file: File, node: ast.expr | None) -> ast.Call | None:
    """Give the call of `permute` or `transpose` that an expression is."""
    if isinstance(node, ast.Name):
        reaching = file.values.bindings.reaching(node)
        if len(reaching.bindings) != 1 or reaching.rest != "nothing":
            return None
        binding = reaching.bindings[0]
        if binding.how != "whole" or isinstance(binding.statement, ast.AugAssign):
            return None
        node = binding.value
    if not isinstance(node, ast.Call) or method(node) not in _SWAPS:
        return None
    inner = owner(node)
    if isinstance(inner, ast.Call) and method(inner) in _SWAPS:
        return None  # perhaps back again
    if isinstance(inner, ast.Name):
        bindings = file.values.bindings.reaching(inner).bindings
        values = [one.value for one in bindings]
        if any(isinstance(v, ast.Call) and method(v) in _SWAPS for v in values):
            return None
    return node


def _pieces(swap: ast.Call) -> int | None:
    """Give the number of pieces at least that stay together in memory; None if not known."""
    name, args = method(swap), swap.args
    if len(args) == 1 and isinstance(args[0], (ast.Tuple, ast.List)):
        args = args[0].elts
    places = [constant(one) for one in args]
    numbers = [one for one in places if isinstance(one, int)]
    if len(numbers) != len(places):
        return None
    if name == "t":
        return 2
    if name == "permute":
        size = len(numbers)
        order = [one % size for one in numbers] if size else []
        return _runs(order) if sorted(order) == list(range(size)) else None
    if name in ("transpose", "swapaxes") and len(numbers) == 2:
        first, second = sorted(numbers)
        if first < 0 <= second:
            return None
        if second < 0:
            return _runs(_with_swapped(-first, 0, second - first)) if first == -2 else None
        return _runs(_with_swapped(second + 1, first, second))
    return None


def _with_swapped(size: int, first: int, second: int) -> list[int]:
    order = list(range(size))
    order[first], order[second] = order[second], order[first]
    return order


def _runs(order: list[int]) -> int:
    """Give the number of pieces of an order in which each number follows the one before."""
    return 1 + sum(two != one + 1 for one, two in itertools.pairwise(order))


def _merged(swap: ast.Call, sizes: list[ast.expr]) -> int:
    """Give 1 if heads are surely merged: ``transpose(1, 2).view(b, t, heads * size)``."""
    numbers = sorted(str(constant(one)) for one in swap.args)
    last = sizes[-1]
    product = isinstance(last, ast.BinOp) and isinstance(last.op, ast.Mult)
    whole = argument(swap, "dim0") is None and numbers == ["1", "2"] and method(swap) != "permute"
    return int(whole and product and len(sizes) == 3)


RULE = Rule(
    name="permute-then-view",
    severity="error",
    title="`view` after `permute` or `transpose`",
    why=(
        "`permute` and `transpose` change only how the memory is read. A `view` that merges"
        " dimensions which are no neighbors in memory cannot be made without a copy: it raises"
        " RuntimeError (view size is not compatible with input tensor's size and stride). Where"
        " the merged dimensions are still neighbors it works, and this rule is silent."
    ),
    fix="Use `reshape`, which copies where it must, or `contiguous().view`.",
    bad="""\
import torch
from torch import nn

class Head(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.score = nn.Linear(channels * 49, classes)

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = x.view(x.size(0), -1)
        return self.score(x)
""",
    good="""\
import torch
from torch import nn

class Head(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.score = nn.Linear(channels * 49, classes)

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = x.reshape(x.size(0), -1)
        return self.score(x)
""",
    source="PyTorch docs, torch.Tensor.view: contiguity conditions; Hung-yi Lee 2022, tutorial.",
    check=check,
)
