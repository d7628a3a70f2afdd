"""A file as rules see it: its tree, what names and expressions are, where it trains."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePath
from typing import Final, final

from .._tensors._arrays import Tensors
from .._training._losses import LossCall, loss_calls
from ._classes import DATASETS, LIGHTNING, MODULES, bases, methods
from ._events import Event, events_in
from ._flow import Flow
from ._loops import Loop, Step, loops, steps
from ._names import Names
from ._project import CallSite, Definition, Project
from ._roles import Role, role
from ._tree import SCOPES, Tree, key
from ._values import Value, Values

_LIBRARIES: Final = (
    "torch",
    "torchvision",
    "lightning",
    "pytorch_lightning",
    "accelerate",
    "transformers",
    "sklearn",
)

_WORDS: Final = (".backward(", "zero_grad", "no_grad", ".eval()", "state_dict", "loader")
"""In a file that imports none of them, such as one with a loop alone."""
_OTHERS: Final = ("mxnet", "tensorflow", "keras", "paddle", "jax", "flax", "mindspore", "jittor")
"""Other frameworks: a file that imports one of them, and none of the first, is theirs."""


@final
class File:
    """A parsed file of a project.

    Args:
        path: As it was named.
        text: Its source.

    Raises:
        SyntaxError: The text is not Python.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.lines = text.split("\n")
        self.tree = Tree(ast.parse(text, filename=path))
        where = PurePath(path).with_suffix("")
        self.module_parts = where.parts[:-1] if where.name == "__init__" else where.parts
        package = self.module_parts if where.name == "__init__" else self.module_parts[:-1]
        self.names = Names(self.tree, ".".join(package))
        self.top = _defined(self.tree.root)
        self.project = Project()
        self.answers: dict[object, object] = {}  # of functions that are asked once
        self._called: dict[ast.Call, Definition | None] = {}
        self._dotted: dict[ast.AST, str] = {}
        self.roles: dict[ast.AST, frozenset[Role]] = {}
        self._defined: dict[ast.AST, dict[str, ast.AST]] = {}
        self._events: dict[ast.AST, tuple[Event, ...]] = {}

    @cached_property
    def values(self) -> Values:
        """What expressions are; asked once all files of the project are known."""
        return Values(self)

    @cached_property
    def flow(self) -> Flow:
        """What a name holds at a place, and what was last done to it."""
        return Flow(self)

    @cached_property
    def arrays(self) -> Tensors:
        """Which expressions are certainly tensors or arrays, and of which dtype."""
        return Tensors(self)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The bodies that make one step of a training."""
        return tuple(steps(self))

    @cached_property
    def loops(self) -> tuple[Loop, ...]:
        """The loops over batches."""
        return tuple(loops(self))

    @cached_property
    def loss_calls(self) -> tuple[LossCall, ...]:
        """The places where losses are computed."""
        return tuple(loss_calls(self))

    @cached_property
    def classes(self) -> tuple[ast.ClassDef, ...]:
        """All classes of the file."""
        return tuple(self.tree.each(ast.ClassDef))

    @cached_property
    def modules(self) -> tuple[ast.ClassDef, ...]:
        """Classes of this file that are modules."""
        return tuple(node for node in self.classes if self.derives(node, MODULES))

    @cached_property
    def datasets(self) -> tuple[ast.ClassDef, ...]:
        """Classes of this file that are data sets."""
        return tuple(node for node in self.classes if self.derives(node, DATASETS))

    @cached_property
    def _bases(self) -> dict[ast.ClassDef, set[str]]:
        return {}

    def derives(self, node: ast.ClassDef, roots: frozenset[str]) -> bool:
        """Say whether a class of this file derives from one of some.

        Args:
            node: The class.
            roots: Full names.
        """
        if node not in self._bases:
            self._bases[node] = bases(self, node)
        return bool(self._bases[node] & roots)

    def bases_known(self, node: ast.ClassDef) -> bool:
        """Say whether all that a class derives from is in the project, in torch or in Lightning.

        Args:
            node: The class.
        """
        if node not in self._bases:
            self._bases[node] = bases(self, node)
        return all(
            name in MODULES or name == "object" or self.find(name) is not None
            for name in self._bases[node]
        )

    def is_lightning(self, node: ast.ClassDef) -> bool:
        """Say whether a class of this file is a Lightning module.

        Args:
            node: The class.
        """
        return self.derives(node, LIGHTNING)

    def methods(self, node: ast.ClassDef) -> dict[str, tuple[File, ast.FunctionDef]]:
        """Give the methods of a class with the files that they stand in.

        Args:
            node: A class of this file.
        """
        return methods(self, node)

    def find(self, name: str) -> Definition | None:
        """Give the class, function or value of the project that a name stands for.

        Args:
            name: As `dotted` gives it.
        """
        return self.project.find(self, name)

    def dotted(self, node: ast.AST | None) -> str:
        """Give the full name that an expression stands for: ``torch.nn.Linear``; or nothing.

        Args:
            node: The expression.
        """
        if node is None:
            return ""
        if node not in self._dotted:
            self._dotted[node] = self.names.dotted(node)
        return self._dotted[node]

    def called(self, call: ast.Call) -> Definition | None:
        """Give the function, method or class of the project that is called.

        Args:
            call: The call.
        """
        if call not in self._called:
            self._called[call] = self.called_by_name(call) or self._method_of_value(call)
        return self._called[call]

    def called_by_name(self, call: ast.Call) -> Definition | None:
        """Give what is called, as far as the names alone tell: methods of ``self`` too.

        Args:
            call: The call.
        """
        func = call.func
        if isinstance(func, ast.Attribute) and key(func.value) in ("self", "cls"):
            home = self.tree.inside(call, ast.ClassDef)
            found = self.methods(home).get(func.attr) if home is not None else None
            return Definition(*found) if found else None
        if isinstance(func, ast.Name):
            scope = self.tree.scope(call)
            while scope is not self.tree.root:
                inner = (
                    self._inner(scope).get(func.id) if not isinstance(scope, ast.ClassDef) else None
                )
                if inner is not None:
                    return Definition(self, inner)
                scope = self.tree.scope(scope)
        definition = self.find(self.dotted(func))
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return definition if definition is not None and isinstance(definition.node, kinds) else None

    def _inner(self, scope: ast.AST) -> dict[str, ast.AST]:
        if scope not in self._defined:
            self._defined[scope] = _defined(scope)
        return self._defined[scope]

    def _method_of_value(self, call: ast.Call) -> Definition | None:
        """Give the method that is called on an instance of a class of the project."""
        if not isinstance(call.func, ast.Attribute):
            return None
        found: set[Definition] = set()
        for value in self.values.of(call.func.value):
            owner = value.definition
            if owner is None or not isinstance(owner.node, ast.ClassDef):
                return None
            method = owner.file.methods(owner.node).get(call.func.attr)
            if method is None:
                return None
            found.add(Definition(*method))
        return found.pop() if len(found) == 1 else None

    def forget(self) -> None:
        """Look again at what was asked before: more of the project is known now."""
        self._called.clear()
        self.values.forget()

    def sites(self, definition: ast.AST) -> list[CallSite]:
        """Give the calls of a function or class of this file in the whole project.

        Args:
            definition: The function or class.
        """
        return self.project.sites(definition)

    @cached_property
    def _calls(self) -> dict[str, list[ast.Call]]:
        found: dict[str, list[ast.Call]] = {}
        for call in self.tree.each(ast.Call):
            found.setdefault(self.dotted(call.func), []).append(call)
        return found

    @cached_property
    def _method_calls(self) -> dict[str, list[ast.Call]]:
        found: dict[str, list[ast.Call]] = {}
        for call in self.tree.each(ast.Call):
            if isinstance(call.func, ast.Attribute):
                found.setdefault(call.func.attr, []).append(call)
        return found

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """Give the calls of functions by their full names.

        Args:
            names: Such as ``torch.load``.
        """
        for name in names:
            yield from self._calls.get(name, ())

    def method_calls(self, *names: str) -> Iterator[ast.Call]:
        """Give the calls of methods by their names, whatever they are called on.

        Args:
            names: Such as ``backward``.
        """
        for name in names:
            yield from self._method_calls.get(name, ())

    @cached_property
    def _uses(self) -> dict[str, list[ast.expr]]:
        found: dict[str, list[ast.expr]] = {}
        for node in self.tree.each(ast.Name):
            found.setdefault(node.id, []).append(node)
        for part in self.tree.each(ast.Attribute):
            if isinstance(part.value, ast.Name) and part.value.id == "self":
                found.setdefault(f"self.{part.attr}", []).append(part)
        return found

    def uses(self, name: str) -> list[ast.expr]:
        """Give the places, in any scope, where a name or ``self.name`` is used or assigned.

        Args:
            name: Such as ``model`` or ``self.model``.
        """
        return self._uses.get(name, [])

    def text_of(self, node: ast.AST) -> str:
        """Give the source of a node.

        Args:
            node: An expression or a statement.
        """
        first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", None)
        if not first or last is None:
            return ""
        lines = self.lines[first - 1 : last]
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None)
        lines[-1] = lines[-1].encode()[:end].decode(errors="ignore")
        lines[0] = lines[0].encode()[start:].decode(errors="ignore")
        return "\n".join(lines)

    def events(self, node: ast.AST) -> tuple[Event, ...]:
        """Give what happens in a loop or function: `zero_grad`, `backward`, `step` and the like.

        Args:
            node: The loop or function.
        """
        if node not in self._events:
            self._events[node] = ()  # for functions that call themselves
            self._events[node] = tuple(events_in(self, node))
        return self._events[node]

    def role(self, node: ast.AST | None) -> frozenset[Role]:
        """Give what data are for: `train`, `valid`, `test`; nothing if that is not known.

        Args:
            node: A loader, a data set, an array.
        """
        return role(self, node)

    def made(self, node: ast.AST | None, *kinds: str) -> Value | None:
        """Give what an expression certainly is, if it is of one of some kinds.

        Args:
            node: The expression.
            kinds: Such as ``loss``.
        """
        found = self.values.of(node)
        if found and all(value.kind in kinds for value in found):
            return found[0]
        return None

    @property
    def concerns(self) -> bool:
        """Whether the file has to do with training at all: by its imports, or by its words."""
        if any(map(self.names.knows, _LIBRARIES)):
            return True
        others = any(map(self.names.knows, _OTHERS))
        return not others and any(map(self.text.__contains__, _WORDS))


def _defined(scope: ast.AST) -> dict[str, ast.AST]:
    """Give what is defined directly in a scope: functions, classes, and values assigned once."""
    found: dict[str, ast.AST] = {}
    for node in _statements(getattr(scope, "body", [])):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif (
            isinstance(scope, ast.Module)
            and isinstance(node, ast.Assign)
            and len(node.targets) == 1
        ):
            target = node.targets[0]
            if isinstance(target, ast.Name):
                found.setdefault(target.id, node.value)
    return found


def _statements(body: object) -> Iterator[ast.stmt]:
    if not isinstance(body, list):
        return
    for node in body:
        yield node
        if isinstance(node, SCOPES):
            continue
        for inner in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, inner, None))
