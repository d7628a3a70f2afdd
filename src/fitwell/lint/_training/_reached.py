"""What a loss is computed from: the calls whose results go into it with their graphs."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from .._model._project import Definition
from .._model._tree import key, method
from ._gradmode import may_switch
from ._roots import roots

if TYPE_CHECKING:
    from .._model._file import File

_ENDS: Final = frozenset({"detach", "item", "tolist", "numpy", "argmax"})
_LIMIT: Final = 400


def trained_calls(file: File) -> set[ast.Call]:
    """Give the calls that the losses of a file, on which `backward` is called, are computed from.

    Args:
        file: The file.
    """
    found: set[ast.Call] = set()
    seen: set[ast.AST] = set()
    for _, root in roots(file):
        _follow(file, root, found, seen)
    for home in file.classes:
        step = file.methods(home).get("training_step") if file.is_lightning(home) else None
        if step is not None and step[0] is file:
            _follow_returns(Definition(*step), found, seen)
    return found


def _follow_returns(function: Definition, found: set[ast.Call], seen: set[ast.AST]) -> None:
    for node in function.file.tree.own(function.node):
        if isinstance(node, ast.Return) and node.value is not None:
            _follow(function.file, node.value, found, seen)


def _follow(file: File, root: ast.AST, found: set[ast.Call], seen: set[ast.AST]) -> None:
    todo: list[ast.AST] = [root]
    while todo and len(seen) < _LIMIT:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, ast.Call):
            if method(node) in _ENDS or may_switch(file, node):
                continue
            found.add(node)
            definition = file.called(node)
            if definition is not None and not isinstance(definition.node, ast.ClassDef):
                _follow_returns(definition, found, seen)
            for value in file.values.of(node.func):
                owner = value.definition
                if owner is not None and isinstance(owner.node, ast.ClassDef):
                    forward = owner.file.methods(owner.node).get("forward")
                    if forward is not None:
                        _follow_returns(Definition(*forward), found, seen)
            if key(node.func) == "self":
                home = file.tree.inside(node, ast.ClassDef)
                own = file.methods(home).get("forward") if home is not None else None
                if own is not None:
                    _follow_returns(Definition(*own), found, seen)
        if isinstance(node, ast.Attribute) and node.attr == "data":
            continue
        if isinstance(node, (ast.Name, ast.Attribute)) and key(node):
            for binding in file.values.bindings.reaching(node).bindings:
                if binding.how == "each":
                    continue
                changed = binding.statement
                source = changed.value if isinstance(changed, ast.AugAssign) else binding.value
                todo += [] if source is None else [source]
        todo += ast.iter_child_nodes(node)
