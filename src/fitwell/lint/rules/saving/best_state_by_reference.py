"""The best state is kept by reference and changes with the model."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, key, method, owner
from ..._rule import Found, Rule

_LOOPS = (ast.For, ast.While)
_SHALLOW = frozenset({"dict", "copy.copy", "collections.OrderedDict"})
_LEAVES = (ast.Break, ast.Return, ast.Raise)


def check(file: File) -> Iterator[Found]:
    """Look for ``best = model.state_dict()`` without a copy, used after more training.

    Args:
        file: The file.
    """
    for call in file.method_calls("state_dict"):
        on = owner(call)
        assign = file.tree.statement(call)
        if on is None or not key(on) or not isinstance(assign, ast.Assign):
            continue
        name = key(assign.targets[0]) if len(assign.targets) == 1 else ""
        if not name or not _by_reference(file, assign.value, call):
            continue
        if _is_kept(file, assign, name, key(on)) or _is_reset(file, assign, name, key(on)):
            yield Found(
                assign,
                f"`{name}` shares its tensors with `{key(on)}`: it changes with every further step,"
                " and holds the last state in the end.",
                f"Keep a copy: `copy.deepcopy({key(on)}.state_dict())`.",
            )


def _by_reference(file: File, value: ast.expr, call: ast.Call) -> bool:
    """Say whether the tensors of a state are kept as they are."""
    if value is call:
        return True
    if isinstance(value, ast.Dict):
        return any(_by_reference(file, one, call) for one in value.values)
    if isinstance(value, ast.DictComp):
        every = value.generators[0].iter
        target = value.generators[0].target
        plain = isinstance(target, ast.Tuple) and len(target.elts) == 2
        same = plain and isinstance(target, ast.Tuple) and key(target.elts[1]) == key(value.value)
        return (
            bool(key(value.value)) and same and method(every) == "items" and owner_is(every, call)
        )
    if isinstance(value, ast.Call):
        if method(value) == "copy" and owner(value) is call:
            return True
        return file.dotted(value.func) in _SHALLOW and argument(value, "", 0) is call
    return False


def owner_is(node: ast.AST, call: ast.Call) -> bool:
    """Say whether a method is called on just this call.

    Args:
        node: The call of the method.
        call: What it should be called on.
    """
    return isinstance(node, ast.Call) and owner(node) is call


def _is_kept(file: File, assign: ast.Assign, name: str, model: str) -> bool:
    """Say whether a state of some epoch is used after training went on."""
    tree = file.tree
    loop = _training_loop(file, assign, model)
    if loop is None:
        return name.startswith("self.") and _is_kept_by_object(file, assign, name)
    if not tree.conditional(assign, loop) or _leaves(file, assign, loop):
        return False
    scope = tree.scope(assign)
    for use in file.uses(name):
        after = tree.place(use) > tree.place(assign) and (
            not tree.holds(loop, use) or _is_late(file, assign, loop, use)
        )
        same = name.startswith("self.") or tree.scope(use) is scope
        if after and same and _takes_state(file, use):
            bindings = file.values.bindings.reaching(use).bindings
            if any(binding.statement is assign for binding in bindings):
                return True
    return False


def _is_late(file: File, assign: ast.Assign, loop: ast.AST, use: ast.expr) -> bool:
    """Say whether a state of an earlier round is used, in a round that may not have kept one."""
    tree, name = file.tree, key(assign.targets[0])
    kept = tree.inside(assign, ast.If)
    if kept is None or not tree.holds(loop, kept) or tree.holds(kept, use):
        return False
    for other in file.uses(name):
        stored = isinstance(getattr(other, "ctx", None), ast.Store)
        if stored and tree.holds(loop, other) and not tree.holds(assign, other):
            return False
    words = _words(kept.test)
    for above in tree.above(use):
        if above is loop:
            return True
        if isinstance(above, ast.If) and words & _words(above.test):
            return False
    return False


def _words(node: ast.expr) -> set[str]:
    return {key(one) for one in ast.walk(node)} - {""}


def _is_kept_by_object(file: File, assign: ast.Assign, name: str) -> bool:
    """Say whether an object that is told of each epoch keeps the state, and gives it back later."""
    function = file.tree.function(assign)
    if function is None or function.name in ("__init__", "state_dict", "save", "save_checkpoint"):
        return False
    if not file.tree.conditional(assign, function):
        return False
    attribute = name.partition(".")[2]
    for one in file.project.files:
        for call in one.method_calls("load_state_dict"):
            given = argument(call, "state_dict", 0)
            if isinstance(given, ast.Attribute) and given.attr == attribute:
                if one is not file or file.tree.function(call) is not function:
                    return True
    return False


def _training_loop(file: File, assign: ast.Assign, model: str) -> ast.AST | None:
    """Give the outermost loop around a place that trains one and the same model."""
    found = None
    for loop in file.tree.above(assign):
        if isinstance(loop, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            break
        if not isinstance(loop, _LOOPS):
            continue
        if any(
            isinstance(getattr(use, "ctx", None), ast.Store) and file.tree.holds(loop, use)
            for use in file.uses(model)
        ):
            break
        if _trains(file, loop):
            found = loop
    return found


def _trains(file: File, node: ast.AST) -> bool:
    if any(event.what in ("step", "backward") for event in file.events(node)):
        return True
    for call in file.tree.own_calls(node):
        word = (method(call) or key(call.func)).lower()
        if word.startswith(("train_", "fit_")) or word in ("train_epoch", "fit", "train_one_epoch"):
            return True
    return False


def _leaves(file: File, assign: ast.Assign, loop: ast.AST) -> bool:
    """Say whether the loop ends right where the state is kept."""
    parent = file.tree.parent(assign)
    body = getattr(parent, "body", []) + getattr(parent, "orelse", [])
    return parent is not loop and any(isinstance(one, _LEAVES) for one in body)


def _takes_state(file: File, use: ast.expr) -> bool:
    """Say whether a state is loaded, saved or given back where a name is used."""
    part = file.tree.parent(use)
    while isinstance(part, (ast.Subscript, ast.Dict, ast.Tuple, ast.keyword)):
        part = file.tree.parent(part)
    if isinstance(part, ast.Return):
        return True
    if isinstance(part, ast.Call) and part.func is not use:
        return method(part) in ("load_state_dict", "save") or file.dotted(part.func) == "torch.save"
    return False


def _is_reset(file: File, assign: ast.Assign, name: str, model: str) -> bool:
    """Say whether a first state is kept to begin again from it, with training in between."""
    tree = file.tree
    if name.startswith("self.") or tree.inside(assign, *_LOOPS) is not None:
        return False
    for call in file.method_calls("load_state_dict"):
        if key(owner(call)) != model or key(argument(call, "state_dict", 0)) != name:
            continue
        if tree.scope(call) is not tree.scope(assign) or tree.place(call) < tree.place(assign):
            continue
        loop = tree.inside(call, *_LOOPS)
        if loop is None or not _trains(file, loop) or tree.place(loop) < tree.place(assign):
            continue
        stores = [
            use
            for use in (*file.uses(name), *file.uses(model))
            if isinstance(getattr(use, "ctx", None), ast.Store)
            and tree.place(use) > tree.place(assign.value)
            and tree.scope(use) is tree.scope(assign)
        ]
        if not stores:
            return True
    return False


RULE = Rule(
    name="best-state-by-reference",
    severity="error",
    title="The best state is kept by reference",
    why=(
        "`state_dict()` holds the tensors of the model themselves, and so does a shallow copy of"
        " it. Training changes them in place: the state that was kept as the best is the last one,"
        " and loading it does nothing. Early stopping then returns an overfitted model with the"
        " best score beside it."
    ),
    fix="Keep `copy.deepcopy(model.state_dict())`, or save it to a file at once.",
    bad="""\
import torch

def train(model, optimizer, loss_fn, loader, evaluate, epochs):
    best, best_state = 0.0, None
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        score = evaluate(model)
        if score > best:
            best = score
            best_state = model.state_dict()
    model.load_state_dict(best_state)
    return model
""",
    good="""\
import copy

import torch

def train(model, optimizer, loss_fn, loader, evaluate, epochs):
    best, best_state = 0.0, None
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        score = evaluate(model)
        if score > best:
            best = score
            best_state = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return model
""",
    source="PyTorch docs, saving and loading models: `best_model_state` must be copied.",
    check=check,
)
