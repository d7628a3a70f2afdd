"""A sum or a list of losses that keeps the graph of each step."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._bindings import Binding
from ..._model._events import loss_of
from ..._model._file import File
from ..._model._loops import Step, is_backward
from ..._model._project import Definition
from ..._model._tree import key, method, owner
from ..._model._values import returns
from ..._rule import Found, Rule

_DETACHED = frozenset({"item", "detach", "tolist", "numpy", "clone_detach"})


def check(file: File) -> Iterator[Found]:
    """Look for ``total += loss`` and ``losses.append(loss)`` of a loss that is back-propagated.

    Args:
        file: The file.
    """
    for step in file.steps:
        names = _losses(step)
        if not step.in_loop or not names:
            continue
        for node, total, value in _gathered(file, step):
            loss = _kept(file, value, names)
            if loss is None or not _is_outside(file, step, node, total):
                continue
            if _is_used_as_loss(file, step, total):
                continue
            yield Found(
                node,
                f"`{total}` keeps the graph of every `{key(loss)}`: the memory grows with each"
                " step.",
                f"Use `{key(loss)}.item()`, or `{key(loss)}.detach()` to stay on the device.",
                certain=not _is_reset(file, step, total),
            )


def _losses(step: Step) -> set[str]:
    """Give the names of what is back-propagated in a loop, also in functions that return it."""
    file = step.file
    found = {
        event.about for event in step.of("backward") if event.call is event.site and event.about
    }
    lifted = {event.site for event in step.of("backward") if event.call is not event.site}
    for site in lifted:
        definition, parent = file.called(site), file.tree.parent(site)
        if definition is None or not isinstance(parent, ast.Assign):
            continue
        if parent.value is site and _returns_its_loss(definition):
            found |= {key(target) for target in parent.targets if isinstance(target, ast.Name)}
    return found


def _returns_its_loss(definition: Definition) -> bool:
    there, results = definition.file, list(returns(definition))
    back = [call for call in there.tree.own_calls(definition.node) if is_backward(call)]
    names = {key(loss_of(call)) for call in back} - {""}
    return bool(results) and all(
        isinstance(one, ast.Name) and one.id in names and not _is_detached(there, one)
        for one in results
    )


def _gathered(file: File, step: Step) -> Iterator[tuple[ast.AST, str, ast.expr]]:
    """Look for what is added to a name or a list: the place, the name, the value."""
    for node in file.tree.own(step.node):
        if file.tree.inside(node, ast.For, ast.While, ast.AsyncFor) is not step.node:
            continue
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and key(node.target):
            yield node, key(node.target), node.value
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
            name = key(node.targets[0])
            if name and any(key(part) == name for part in ast.walk(node.value)):
                yield node, name, node.value
        elif isinstance(node, ast.Call) and method(node) == "append" and len(node.args) == 1:
            target = owner(node)
            while isinstance(target, ast.Subscript):
                target = target.value
            if key(target):
                yield node, key(target), node.args[0]


def _kept(file: File, value: ast.expr, names: set[str]) -> ast.expr | None:
    """Give the loss in a value that holds its graph."""
    if isinstance(value, ast.BinOp):
        return _kept(file, value.left, names) or _kept(file, value.right, names)
    if isinstance(value, ast.Call) and method(value) in ("mean", "sum") and not value.args:
        inner = owner(value)
        return _kept(file, inner, names) if inner is not None else None
    if isinstance(value, (ast.Name, ast.Attribute)) and key(value) in names:
        return None if _is_detached(file, value) else value
    return None


def _is_detached(file: File, use: ast.expr) -> bool:
    """Say whether a name may hold a number, or a tensor without a graph, where it is used."""
    reaching = file.values.bindings.reaching(use)
    if reaching.rest != "nothing" and "." not in key(use):
        return True
    return any(_cuts(binding) for binding in reaching.bindings)


def _cuts(binding: Binding) -> bool:
    value = binding.value
    if value is None:
        return not isinstance(binding.statement, ast.AugAssign)
    for part in ast.walk(value):
        if isinstance(part, ast.Call) and (method(part) in _DETACHED or key(part.func) == "float"):
            return True
        if isinstance(part, ast.Attribute) and part.attr == "data":
            return True
    return False


def _is_outside(file: File, step: Step, node: ast.AST, total: str) -> bool:
    """Say whether a sum lives longer than one pass of the loop."""
    if total.startswith("self."):
        home = file.tree.inside(node, ast.ClassDef)
        lightning = isinstance(home, ast.ClassDef) and file.is_lightning(home)
        return not lightning
    first = total.partition(".")[0]
    scope = file.tree.scope(node)
    found = file.values.bindings.everywhere(scope, first)
    plain = [one for one in found if not isinstance(one.statement, ast.AugAssign)]
    return any(not file.tree.holds(step.node, one.statement) for one in plain)


def _is_reset(file: File, step: Step, total: str) -> bool:
    """Say whether a sum is set to zero in the loop itself, now and then."""
    for node in file.tree.own(step.node):
        if isinstance(node, ast.Assign) and any(key(target) == total for target in node.targets):
            if not any(key(part) == total for part in ast.walk(node.value)):
                return True
    return any(
        method(call) == "clear" and key(owner(call)) == total
        for call in file.tree.own_calls(step.node)
    )


def _is_used_as_loss(file: File, step: Step, total: str) -> bool:
    """Say whether the sum itself is back-propagated, or part of something that is."""
    scope = file.tree.function(step.node) or file.tree.root
    backwards = [call for call in file.method_calls("backward") if file.tree.holds(scope, call)]
    names = {key(loss_of(call)) for call in backwards}
    if total in names:
        return True
    for binding in (
        one for name in names for one in file.values.bindings.everywhere(scope, name) if name
    ):
        if binding.value is None:
            continue
        if any(key(part) == total for part in ast.walk(binding.value)):
            return True
    return False


RULE = Rule(
    name="loss-accumulated-with-graph",
    severity="warning",
    title="Losses are gathered together with their graphs",
    why=(
        "`total += loss` makes `total` a tensor whose graph reaches back to every step."
        " `backward()` has freed the large saved tensors, but the graph itself stays: about a"
        " kilobyte of memory per operation and step, so a deep net loses gigabytes in the course"
        " of a training."
    ),
    fix="Add `loss.item()`, or `loss.detach()` to avoid waiting for the device.",
    bad="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss
    return total / len(loader.dataset)
""",
    good="""\
import torch
from torch import nn

def train(model, loader):
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader.dataset)
""",
    source="PyTorch docs, FAQ: my model reports out of memory, do not accumulate history.",
    check=check,
)
