"""Whether the order in which a loader gives its data matters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .._model._loops import Loop
from .._model._project import Definition
from .._model._roles import words_of
from .._model._tree import key, method
from .._model._values import Value
from ._loaders import Loader
from ._sources import sources

if TYPE_CHECKING:
    from .._model._file import File

_WRITES: Final = frozenset(
    {"to_csv", "writerow", "writerows", "savetxt", "to_parquet", "to_excel", "to_json", "DataFrame"}
)
_KEEPS: Final = ("append", "extend")
_ORDERED: Final = frozenset(
    {
        "series", "timeseries", "time", "window", "windows", "windowed", "forecast", "bptt",
        "forecasting", "stock", "sequence", "sequences", "sequential", "language", "lm", "corpus",
        "stream", "streaming", "online", "continual", "replay", "buffer", "rollout", "episode",
        "trajectory", "curriculum", "ordered", "chunk", "chunks", "lstm", "gru", "rnn", "char",
        "market", "frames", "shuffle", "shuffled", "permuted",
    }
)  # fmt: skip
_MIXES: Final = ("shuffle", "randperm", "permutation")


def may_be_ordered(loader: Loader) -> bool:
    """Say whether the order of the data may be meant: a series, a text, a stream.

    Args:
        loader: Of training data.
    """
    data = loader.data
    texts = [loader.target, "" if data is None else ast.unparse(data.node)]
    for file in {loader.file, loader.made_file}:
        texts += [node.name for node in file.tree.each(ast.ClassDef)]
    return any(word in _ORDERED for text in texts for word in words_of(text))


def mixed_by_hand(loader: Loader) -> bool:
    """Say whether a program may shuffle itself: in a loop, or in the class of the data.

    Args:
        loader: Of training data.
    """
    tree = loader.made_file.tree
    for call in loader.made_file.method_calls(*_MIXES):
        if tree.inside(call, ast.For, ast.While, ast.ClassDef) is not None:
            return True
    data = loader.data
    for value in data.file.values.of(data.node) if data is not None else ():
        if value.definition is not None and not _uses_index(value.definition):
            return True
    return False


def _uses_index(definition: Definition) -> bool:
    """Say whether ``__getitem__`` looks at the index that it is given."""
    if not isinstance(definition.node, ast.ClassDef):
        return True
    found = definition.file.methods(definition.node).get("__getitem__")
    if found is None or len(found[1].args.args) < 2:
        return True
    name = found[1].args.args[1].arg
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(found[1]))


def is_map_style(loader: Loader) -> bool:
    """Say whether a loader's data are certainly found by their index.

    Args:
        loader: The loader.
    """
    data = loader.data
    if data is None:
        return False
    made = data.file.values.of(data.node)
    if made:
        return all(
            value.kind == "dataset" and "Iterable" not in value.name and not _iterates(value)
            for value in made
        )
    return _is_split(data.file, data.node)


def _iterates(value: Value) -> bool:
    definition = value.definition
    if definition is None or not isinstance(definition.node, ast.ClassDef):
        return False
    return definition.file.derives(definition.node, frozenset({"torch.utils.data.IterableDataset"}))


def _is_split(file: File, node: ast.expr) -> bool:
    if not key(node):
        return False
    reaching = file.values.bindings.reaching(node)
    values = [binding.value for binding in reaching.bindings]
    known = bool(values) and reaching.rest == "nothing"
    return known and all(
        isinstance(value, ast.Call)
        and file.dotted(value.func) in ("torch.utils.data.random_split", "torch.utils.data.Subset")
        for value in values
    )


def written_in_order(loader: Loader) -> Loop | None:
    """Give the loop that writes what a loader's data lead to, but not which data they were.

    Args:
        loader: The loader.
    """
    for file, loop in loader.placed_loops:
        if not loop.trains and loop.batch and _forgets(file, loop) and _writes(file, loop):
            return loop
    return None


def _forgets(file: File, loop: Loop) -> bool:
    """Say whether results are collected and all but the first part of the batch is left alone."""
    if not any(method(call) in _KEEPS for call in file.tree.own_calls(loop.node)):
        return False
    used: set[str] = set()
    for node in _body(file, loop):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            if isinstance(node.slice.value, str) or node.slice.value:
                return False  # batch["id"], batch[1]
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add(node.id)
    return len(used & set(loop.batch)) == 1


def _body(file: File, loop: Loop) -> Iterator[ast.AST]:
    for statement in loop.node.body:
        yield from file.tree.own(statement)


def _writes(file: File, loop: Loop) -> bool:
    function = file.tree.function(loop.node)
    scopes: list[tuple[File, ast.AST]] = [(file, function or file.tree.root)]
    if function is not None:
        for site in file.sites(function):
            scopes.append((site.file, site.file.tree.function(site.call) or site.file.tree.root))
    for there, scope in scopes:
        for call in there.tree.own_calls(scope):
            if (method(call) or key(call.func)) in _WRITES:
                return True
    return False


def breaks_off(loader: Loader) -> bool:
    """Say whether a loader is only looked at: all loops over it stop early, or only `iter` has it.

    Args:
        loader: The loader.
    """
    over = loader.loops
    if over:
        return all(any(isinstance(one, ast.Break) for one in ast.walk(loop.node)) for loop in over)
    file, name = loader.file, loader.target
    uses = [
        node
        for node in file.tree.each(ast.Name, ast.Attribute)
        if key(node) == name and isinstance(node.ctx, ast.Load)
    ]
    calls = (file.tree.parent(node) for node in uses)
    return bool(uses) and all(
        isinstance(call, ast.Call) and key(call.func) == "iter" for call in calls
    )


def is_full_batch(loader: Loader) -> bool:
    """Say whether one batch holds all data, or the data set makes the batches.

    Args:
        loader: The loader.
    """
    size = loader.given("batch_size")
    if size is None:
        return False
    found = sources(size.file, size.node).only
    node = size.node if found is None else found.node
    if isinstance(node, ast.Constant):
        return node.value is None
    text = ast.unparse(node)
    return "len(" in text or ".shape[0]" in text or ".size(0)" in text
