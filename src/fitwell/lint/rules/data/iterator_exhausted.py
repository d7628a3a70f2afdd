"""An iterator that is empty from the second epoch on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._project import Function
from ..._model._tree import key
from ..._model._values import arguments_of
from ..._rule import Found, Rule

_ONCE = {"iter", "zip", "map", "filter", "enumerate", "reversed"}
_WRAPS = {"enumerate", "tqdm", "zip"}
_ENDLESS = {"cycle", "count", "repeat"}


def check(file: File) -> Iterator[Found]:
    """Look for loops inside of a loop over what was made once, before both.

    Args:
        file: The file.
    """
    for inner in file.tree.each(ast.For):
        name = _iterated(file, inner.iter)
        if name is None or any(isinstance(one, (ast.Break, ast.Return)) for one in ast.walk(inner)):
            continue
        outer = _outer(file, inner)
        if outer is not None:
            yield from _found(file, file, name, outer, inner)
        function = file.tree.function(inner)
        if outer is None and function is not None:
            reaching = file.values.bindings.reaching(name)
            if reaching.rest != "parameter" or reaching.bindings:
                continue
            for there, value in arguments_of(file, function, name.id):
                call = None if value is None else there.tree.parent(value)
                around = _outer(there, call) if there is file and call is not None else None
                if isinstance(value, ast.Name) and around is not None:
                    yield from _found(file, there, value, around, inner)


def _iterated(file: File, node: ast.expr) -> ast.Name | None:
    """Give the name that a loop goes over."""
    for _ in range(3):
        if isinstance(node, ast.Name):
            return node
        if not (isinstance(node, ast.Call) and node.args):
            return None
        if file.dotted(node.func).rpartition(".")[2] not in _WRAPS:
            return None
        node = node.args[0]
    return None


def _outer(file: File, node: ast.AST) -> ast.For | None:
    """Give the loop over epochs around a place, in the same function."""
    function = file.tree.function(node)
    for above in file.tree.above(node):
        if above is function:
            return None
        if isinstance(above, ast.For) and file.tree.function(above) is function:
            text = ast.unparse(above.target).lower()
            if "epoch" in text or (
                isinstance(above.iter, ast.Call) and key(above.iter.func) in ("range", "trange")
            ):
                return above
    return None


def _found(
    file: File, there: File, name: ast.Name, outer: ast.For, inner: ast.For
) -> Iterator[Found]:
    reaching = there.values.bindings.reaching(name)
    if len(reaching.bindings) != 1 or reaching.rest != "nothing":
        return
    binding = reaching.bindings[0]
    if binding.how != "whole" or binding.index is not None or binding.value is None:
        return
    if there.tree.holds(outer, binding.statement) or not _once(there, binding.value):
        return
    if any(isinstance(one, ast.Break) for one in outer.body):
        return
    yield Found(
        inner,
        f"`{name.id}` is used up after the first epoch: this loop has no round after that.",
        f"Loop over what `{name.id}` was made from, or make it anew in each epoch.",
    )


def _once(file: File, value: ast.expr) -> bool:
    """Say whether a value can be gone through only once, and ends."""
    if isinstance(value, ast.GeneratorExp):
        return True
    if not isinstance(value, ast.Call):
        return False
    words = {one.attr for one in ast.walk(value) if isinstance(one, ast.Attribute)}
    words |= {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
    if words & _ENDLESS:
        return False
    if isinstance(value.func, ast.Name) and value.func.id in _ONCE:
        if value.func.id in file.top or file.names.imported(value.func.id):
            return False
        return not (value.func.id == "iter" and len(value.args) != 1)
    definition = file.called_by_name(value)
    if definition is None or not isinstance(definition.node, Function):
        return False
    nodes = list(definition.file.tree.own(definition.node))
    endless = any(isinstance(one, ast.While) for one in nodes)
    plain = not definition.node.decorator_list
    return (
        plain and not endless and any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in nodes)
    )


RULE = Rule(
    name="iterator-exhausted",
    severity="error",
    title="An iterator is used up after the first epoch",
    why=(
        "`iter`, `zip`, `map`, `enumerate` and generators give their items once. A loop over"
        " one that was made before the epochs runs in the first epoch and has no round in all"
        " others, without an error: the curves are flat, and the training is over after one"
        " epoch."
    ),
    fix=(
        "Loop over the loader or list itself; make `zip` and the like inside of the loop over"
        " epochs."
    ),
    bad="""\
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

def train(model, optimizer, train_set, epochs):
    batches = iter(DataLoader(train_set, batch_size=64, shuffle=True))
    model.train()
    for epoch in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    good="""\
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

def train(model, optimizer, train_set, epochs):
    batches = DataLoader(train_set, batch_size=64, shuffle=True)
    model.train()
    for epoch in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    source="Python docs, iterator: an exhausted iterator appears like an empty container.",
    check=check,
)
