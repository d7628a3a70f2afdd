"""What the batches of a loader hold: which expressions of the project their parts come from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from .._model._project import Definition
from .._model._tree import argument, constant, has_stars, key
from .._model._values import returns

if TYPE_CHECKING:
    from .._model._bindings import Binding
    from .._model._file import File
    from .._model._loops import Loop

Place = int | str | None
_INDEXED: Final = frozenset(
    {
        "MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10", "ImageFolder",
        "ImageNet", "USPS", "QMNIST", "Flowers102", "Food101", "GTSRB",
    }
)  # fmt: skip
"""Data sets of torchvision whose labels are class indices."""
_DEPTH: Final = 10


@final
@dataclass(frozen=True)
class Part:
    """A part of a batch.

    Args:
        file: The file of the expression.
        node: The expression that it comes from; None where it is not seen.
        added: Number of dimensions that batches add to it.
        indices: Whether it holds the class indices of a known data set.
    """

    file: File = field(repr=False)
    node: ast.expr | None
    added: int = 0
    indices: bool = False


def loop_of(file: File, node: ast.AST) -> Loop | None:
    """Give the loop over batches that a statement is.

    Args:
        file: The file.
        node: The statement.
    """
    return next((loop for loop in file.loops if loop.node is node), None)


def place_in_batch(loop: Loop, name: str) -> tuple[bool, Place]:
    """Give whether a name holds (a part of) a batch, and which part: None for all of it.

    Args:
        loop: The loop.
        name: One of its names.
    """
    target = loop.node.target
    around = loop.node.iter
    counted = isinstance(around, ast.Call) and key(around.func) == "enumerate"
    if isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) == 2:
        counted = counted or isinstance(target.elts[1], (ast.Tuple, ast.List))
        if counted:
            target = target.elts[1]
    if key(target) == name:
        return True, None
    if isinstance(target, (ast.Tuple, ast.List)):
        names = [key(one) for one in target.elts]
        if name in names:
            return True, names.index(name)
    return False, None


def part_of_batch(
    file: File, node: ast.AST | None, depth: int = 0
) -> tuple[ast.expr, Place] | None:
    """Give the loader that a value is a part of a batch of, and which part; None if not known.

    Args:
        file: Where the expression stands; the loader stands there too.
        node: A name, or a part of a batch such as ``batch["label"]``.
        depth: How far it was followed.
    """
    if node is None or depth > _DEPTH:
        return None
    if isinstance(node, ast.Subscript):
        place = constant(node.slice)
        whole = part_of_batch(file, node.value, depth + 1)
        if whole is None or whole[1] is not None or not isinstance(place, (int, str)):
            return None
        return whole[0], place
    if isinstance(node, ast.Call) and key(node.func) == "next" and len(node.args) == 1:
        inner = node.args[0]
        inner = inner.args[0] if isinstance(inner, ast.Call) and inner.args else inner
        return (inner, None) if file.values.is_a(inner, "loader") else None
    bindings = file.values.bindings.reaching(node).bindings if key(node) else ()
    if len(bindings) != 1:
        return None
    return _part_bound(file, bindings[0], key(node), depth)


def _part_bound(
    file: File, binding: Binding, name: str, depth: int
) -> tuple[ast.expr, Place] | None:
    loop = loop_of(file, binding.statement)
    if loop is not None:
        known, place = place_in_batch(loop, name)
        return (loop.loader, place) if known else None
    if binding.value is None or binding.how == "each":
        return None
    whole = part_of_batch(file, binding.value, depth + 1)
    if whole is None or binding.index is None:
        return whole
    return (whole[0], binding.index) if whole[1] is None else None


def batch_parts(file: File, loader: ast.expr, place: Place) -> Iterator[Part]:
    """Give the expressions that a part of the batches of a loader comes from.

    Args:
        file: The file of the loader.
        loader: The loader.
        place: Which part: its number, or its key.
    """
    for one in file.values.of(loader):
        known = one.name == "torch.utils.data.DataLoader" and not has_stars(one.call)
        if known and argument(one.call, "collate_fn") is None:
            yield from _samples(one.file, argument(one.call, "dataset", 0), place, 0)
        else:
            yield Part(one.file, None)


def _samples(file: File, node: ast.AST | None, place: Place, depth: int) -> Iterator[Part]:
    """Give the same for a data set."""
    made = file.values.of(node)
    split = None if made or depth > _DEPTH else _split(file, node)
    if split is not None:
        yield from _samples(file, split, place, depth + 1)
    elif not made:
        yield Part(file, None)
    for value in made:
        if value.name == "torch.utils.data.TensorDataset" and isinstance(place, int):
            args = value.call.args
            seen = 0 <= place < len(args) and not has_stars(value.call)
            yield Part(value.file, args[place] if seen else None)
        elif value.name == "torch.utils.data.Subset" and depth < _DEPTH:
            inner = argument(value.call, "dataset", 0)
            yield from _samples(value.file, inner, place, depth + 1)
        elif value.name.startswith("torchvision.datasets.") and value.short in _INDEXED:
            plain = place == 1 and argument(value.call, "target_transform") is None
            yield Part(value.file, None, indices=plain)
        elif value.definition is not None:
            yield from _of_own(value.definition, place)
        else:
            yield Part(value.file, None)


def _split(file: File, node: ast.AST | None) -> ast.expr | None:
    """Give the data set that ``train_set, _ = random_split(data, ...)`` takes a part of."""
    bindings = file.values.bindings.reaching(node).bindings if node and key(node) else ()
    value = bindings[0].value if len(bindings) == 1 else None
    if isinstance(value, ast.Call) and value.args:
        if file.dotted(value.func) == "torch.utils.data.random_split":
            return value.args[0]
    return None


def _of_own(data: Definition, place: Place) -> Iterator[Part]:
    """Give the same for a class of the project: what its ``__getitem__`` returns."""
    node = data.node
    item = (
        method_definition(data.file, node, "__getitem__")
        if isinstance(node, ast.ClassDef)
        else None
    )
    if item is None:
        yield Part(data.file, None)
        return
    for one in returns(item):
        yield Part(item.file, _part(one, place), 1)


def _part(node: ast.AST | None, place: Place) -> ast.expr | None:
    if isinstance(node, ast.Tuple) and isinstance(place, int):
        return node.elts[place] if 0 <= place < len(node.elts) else None
    if isinstance(node, ast.Dict) and isinstance(place, str):
        for name, value in zip(node.keys, node.values, strict=True):
            if constant(name) == place:
                return value
    return None


def method_definition(file: File, node: ast.ClassDef, name: str) -> Definition | None:
    """Give a method of a class, its own or one of a base class in the project.

    Args:
        file: The file of the class.
        node: The class.
        name: Of the method.
    """
    found = file.methods(node).get(name)
    return Definition(*found) if found else None


def columns(node: ast.AST | None) -> int | None:
    """Give the number of dimensions of what is taken from a table by names: ``table["y"]``.

    Args:
        node: What ``.values`` or ``to_numpy()`` is asked of.
    """
    if not isinstance(node, ast.Subscript):
        return None
    if isinstance(node.slice, (ast.List, ast.ListComp)):
        return 2
    return 1 if isinstance(constant(node.slice), str) else None


def split_from(file: File, binding: Binding) -> ast.expr | None:
    """Give the array that a name got a part of from scikit-learn's ``train_test_split``.

    Args:
        file: The file.
        binding: Of the name.
    """
    call = binding.value
    if not isinstance(call, ast.Call) or binding.index is None or has_stars(call):
        return None
    name = file.dotted(call.func)
    known = name == "sklearn.model_selection.train_test_split"
    return call.args[binding.index // 2] if known and binding.index < 2 * len(call.args) else None
