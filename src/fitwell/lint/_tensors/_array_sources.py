"""What modules and data sets give: tensors, or nothing that is known."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

from .._model._project import Definition
from .._model._tree import argument, key
from .._model._values import Value, returns

if TYPE_CHECKING:
    from .._model._file import File

Library = Literal["torch", "numpy"]
_SEVERAL: Final = frozenset(
    {
        "LSTM", "GRU", "RNN", "LSTMCell", "MultiheadAttention", "AdaptiveLogSoftmaxWithLoss",
        "ModuleList", "ModuleDict", "FractionalMaxPool2d",
    }
)  # fmt: skip
"""Layers that give more than one tensor."""
_NAMED_OUTPUTS: Final = frozenset({"inception_v3", "googlenet"})


@final
@dataclass(frozen=True)
class Array:
    """A tensor or an array.

    Args:
        library: What it belongs to.
        dtype: Such as ``int64``; nothing where it is not known.
    """

    library: Library
    dtype: str = ""


Arrays = frozenset[Array] | None


def one_of(library: Library, dtype: str) -> Arrays:
    """Give a single array.

    Args:
        library: What it belongs to.
        dtype: Such as ``int64``.
    """
    return frozenset({Array(library, dtype)})


def union(parts: Iterable[Arrays]) -> Arrays:
    """Give all arrays of several sets; None if one of these is not known.

    Args:
        parts: The sets.
    """
    found: frozenset[Array] = frozenset()
    for part in parts:
        if part is None:
            return None
        found |= part
    return found


def of_data(file: File, data: ast.AST | None, path: tuple[int, ...]) -> Arrays:
    """Give what is at a place of the batches of a data set.

    Args:
        file: Where the data set is named.
        data: The data set.
        path: The place: ``1,`` for the labels of ``x, y``.
    """
    dataset = file.made(data, "dataset")
    if dataset is None or len(path) > 1:
        return None
    item = path[0] if path else None
    call, there = dataset.call, dataset.file
    if dataset.name == "torch.utils.data.TensorDataset":
        return there.arrays.all(argument(call, "", item)) if item is not None else None
    if dataset.name.startswith("torchvision.datasets.") and item in (0, 1):
        return one_of("torch", "int64" if item == 1 else "")
    owner = dataset.definition
    if owner is None or not isinstance(owner.node, ast.ClassDef):
        return None
    getitem = owner.file.methods(owner.node).get("__getitem__")
    if getitem is None:
        return None
    parts = [one if item is None else part_of(one, item) for one in returns(Definition(*getitem))]
    found = union(getitem[0].arrays.all(part) for part in parts)
    return None if found is None else frozenset(Array("torch", one.dtype) for one in found)


def given_by(value: Value) -> Arrays:
    """Give what a module or a loss gives.

    Args:
        value: What is called.
    """
    if value.kind == "loss":
        return one_of("torch", "")
    if value.kind != "module":
        return None
    owner = value.definition
    if owner is not None and isinstance(owner.node, ast.ClassDef):
        forward = owner.file.methods(owner.node).get("forward")
        if forward is None:
            return None
        return union(forward[0].arrays.all(one) for one in returns(Definition(*forward)))
    if value.name == "torch.nn.Sequential":
        last = value.call.args[-1] if value.call.args else None
        layers = value.file.values.of(last)
        return union(given_by(layer) for layer in layers) if layers else None
    library = value.name.startswith("torch.nn.") and value.short not in _SEVERAL
    model = value.name.count(".") == 2 and value.name.startswith("torchvision.models.")
    library = library or value.name == "timm.create_model"
    model = model and value.short not in _NAMED_OUTPUTS
    return one_of("torch", "") if library or model else None


def path_to(target: ast.AST, name: str) -> tuple[int, ...] | None:
    """Give the way to a name in what a loop assigns to; None if it is not there.

    Args:
        target: Such as ``i, (x, y)``.
        name: Such as ``y``, whose way is ``1, 1``.
    """
    if key(target) == name:
        return ()
    if isinstance(target, (ast.Tuple, ast.List)):
        for place, one in enumerate(target.elts):
            rest = path_to(one, name)
            if rest is not None:
                return (place, *rest)
    return None


def part_of(node: ast.expr | None, item: int) -> ast.expr | None:
    """Give an item of a tuple that is written out; None for anything else.

    Args:
        node: The tuple.
        item: Its place.
    """
    return node.elts[item] if isinstance(node, ast.Tuple) and item < len(node.elts) else None
