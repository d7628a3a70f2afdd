"""The data loaders of a project: how they are made, what for, and which loops go over them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from .._model._bindings import Given, given, parameters
from .._model._loops import Loop
from .._model._once import once
from .._model._project import CallSite, Project
from .._model._roles import Role, held_out, role, role_of_name
from .._model._tree import argument, constant, key, method
from ._sources import Source, changed_later, sources

if TYPE_CHECKING:
    from .._model._file import File

DATALOADER: Final = "torch.utils.data.DataLoader"
UNKNOWN: Final = object()
"""What an option is when the text does not tell."""
_PLACES: Final = {
    "dataset": 0, "batch_size": 1, "shuffle": 2, "sampler": 3, "batch_sampler": 4,
    "num_workers": 5, "collate_fn": 6, "pin_memory": 7, "drop_last": 8,
}  # fmt: skip
_PASSES: Final = frozenset(
    {"prepare", "DataLoader", "Subset", "cycle", "setup_dataloaders", "MpDeviceLoader"}
)
"""Calls whose result goes by the name of what they are given."""


@final
@dataclass(frozen=True, eq=False)
class Loader:
    """A data loader that a program makes.

    Args:
        file: The file that asks for it.
        call: There: the call of `DataLoader`, or of a function of the project that calls it.
        made_file: The file with the call of `DataLoader`.
        made: The call of `DataLoader`.
        site: The call of the function around, if its arguments decide what is made.
    """

    file: File = field(repr=False)
    call: ast.Call
    made_file: File = field(repr=False)
    made: ast.Call
    site: CallSite | None

    def given(self, name: str) -> Source | None:
        """Give what an option is, followed to the call that decides it; None if it is not given.

        Args:
            name: Such as ``shuffle``.
        """
        node = argument(self.made, name, _PLACES.get(name)) or self._starred(name)
        return None if node is None else self._followed(node)

    def option(self, name: str) -> object:
        """Give the value of an option: None if it is not given, `UNKNOWN` if it cannot be told.

        Args:
            name: Such as ``shuffle``.
        """
        found = self.given(name)
        if found is None:
            return UNKNOWN if self._hides() else None
        return evaluated(self, found.file, found.node)

    def is_given(self, name: str) -> bool | None:
        """Say whether an option is given and not None; None if that cannot be told.

        Args:
            name: Such as ``sampler``.
        """
        found = self.given(name)
        if found is None:
            return None if self._hides() else False
        if isinstance(found.node, ast.Call):
            return True
        several = sources(found.file, found.node)
        nones = [isinstance(one.node, ast.Constant) for one in several.found]
        if several.complete and nones and all(nones):
            return False
        return True if several.complete and nones and not any(nones) else None

    def _starred(self, name: str) -> ast.expr | None:
        for one in self.made.keywords:
            if one.arg is None:
                inner = _settings(self.made_file, one.value)
                if inner is not None and name in inner:
                    return inner[name]
        return None

    def _hides(self) -> bool:
        """Say whether arguments are given that are not seen."""
        stars = (one.value for one in self.made.keywords if one.arg is None)
        hidden = any(_settings(self.made_file, one) is None for one in stars)
        return hidden or any(isinstance(one, ast.Starred) for one in self.made.args)

    def _followed(self, node: ast.expr) -> Source:
        if self.site is not None and isinstance(node, ast.Name):
            function = self.made_file.tree.function(self.made)
            reaching = self.made_file.values.bindings.reaching(node)
            if function is reaching.scope and not reaching.bindings:
                found = _given(self.site, function, node.id)
                if found.value is not None:
                    return Source(
                        self.made_file if found.is_default else self.site.file, found.value
                    )
        return Source(self.made_file, node)

    @property
    def data(self) -> Source | None:
        """The data set."""
        return self.given("dataset")

    @property
    def named(self) -> frozenset[Role]:
        """What the name of the loader says that it is for."""
        return role_of_target(self.file, self.call)

    @property
    def roles(self) -> frozenset[Role]:
        """What it is for: as its name and that of its data say, or else its loops."""
        data = self.data
        found = self.named | (role(data.file, data.node) if data is not None else frozenset())
        if found:
            return found
        over = self.loops
        if over and all(loop.held_out for loop in over):
            return frozenset().union(*(loop.roles for loop in over))
        return frozenset()

    @property
    def loops(self) -> list[Loop]:
        """The loops that go over it, as far as they are known."""
        return [loop for _, loop in self.placed_loops]

    @property
    def placed_loops(self) -> list[tuple[File, Loop]]:
        """The loops that go over it, each with its file."""
        return _loops(self.file.project).get(self.call, [])

    @property
    def trains(self) -> bool:
        """Whether a loop over it computes gradients."""
        return any(loop.trains for loop in self.loops)

    @property
    def held_out(self) -> bool:
        """Whether it is certainly not for training."""
        return held_out(self.roles) and not self.trains

    @property
    def target(self) -> str:
        """Text of the name that it is given, for messages; empty if it has none."""
        statement = self.file.tree.statement(self.call)
        if isinstance(statement, ast.Assign) and statement.value is self.call:
            return ast.unparse(statement.targets[0])
        return ""

    def where(self, name: str) -> ast.AST:
        """Give the node of an option in the file that asks for the loader.

        Args:
            name: Such as ``shuffle``.
        """
        found = self.given(name)
        if found is None or found.file is not self.file:
            return self.call
        apart = self.site is not None and not self.file.tree.holds(self.call, found.node)
        return self.call if apart else found.node


def loaders(file: File) -> tuple[Loader, ...]:
    """Give the loaders that a file asks for, in the order of the text.

    Args:
        file: The file.
    """
    return tuple(_by_file(file.project).get(file, ()))


@once
def _by_file(project: Project) -> dict[File, list[Loader]]:
    found: dict[File, list[Loader]] = {}
    for one in project.files:
        for loader in _made_in(one):
            found.setdefault(loader.file, []).append(loader)
    for one, some in found.items():
        some.sort(key=lambda loader: one.tree.place(loader.call))
    return found


def _made_in(file: File) -> Iterator[Loader]:
    for call in file.calls(DATALOADER):
        function = file.tree.function(call)
        sites = _sites(file, function)
        names = parameters(function) if function is not None else set()
        given_to = [*call.args, *(keyword.value for keyword in call.keywords)]
        inner = (one for part in given_to for one in ast.walk(part))
        used = any(isinstance(one, ast.Name) and one.id in names for one in inner)
        if sites and used and not role_of_target(file, call):
            for site in sites:
                yield Loader(site.file, site.call, file, call, site)
        else:
            yield Loader(file, call, file, call, None)


def _sites(file: File, function: ast.AST | None) -> list[CallSite]:
    """Give the calls of a function that makes one loader and gives nothing else."""
    if function is None:
        return []
    makes, values = 0, 0
    for node in file.tree.own(function):
        makes += isinstance(node, ast.Call) and file.dotted(node.func) == DATALOADER
        values += isinstance(node, ast.Return) and not _may_be_loader(node.value)
    return file.sites(function) if makes == 1 and not values else []


def _may_be_loader(node: ast.expr | None) -> bool:
    return isinstance(node, (ast.Name, ast.Call, ast.IfExp)) or constant(node) is None


def _given(site: CallSite, function: ast.AST, name: str) -> Given:
    in_class = bool(parameters(function) & {"self", "cls"})
    return given(site.call, function, name, bound=in_class)


def _settings(file: File, node: ast.expr) -> dict[str, ast.expr] | None:
    """Give the arguments of ``**settings``, if that is a dictionary written out."""
    found = sources(file, node).only
    if found is None or changed_later(found.file, {key(node)} - {""}):
        return None
    if isinstance(found.node, ast.Dict):
        names = [constant(one) for one in found.node.keys]
        if all(isinstance(name, str) for name in names):
            return {str(name): v for name, v in zip(names, found.node.values, strict=True)}
    if isinstance(found.node, ast.Call) and found.file.dotted(found.node.func) == "dict":
        if not found.node.args and all(one.arg for one in found.node.keywords):
            return {str(one.arg): one.value for one in found.node.keywords}
    return None


@once
def _loops(project: Project) -> dict[ast.Call, list[tuple[File, Loop]]]:
    found: dict[ast.Call, list[tuple[File, Loop]]] = {}
    for file in project.files:
        for loop in file.loops:
            for call in set(sources(file, loop.loader).calls()):
                found.setdefault(call, []).append((file, loop))
    return found


def role_of_target(file: File, node: ast.AST) -> frozenset[Role]:
    """Give what the name that a value is given says that it is for.

    Args:
        file: Where it is made.
        node: What makes it: a call.
    """
    tree, child = file.tree, node
    index: int | None = None
    for parent in tree.above(node):
        if isinstance(parent, ast.keyword) and parent.arg:
            found = role_of_name(parent.arg)
            if found:
                return found
        elif isinstance(parent, ast.Dict):
            pairs = zip(parent.keys, parent.values, strict=True)
            text = constant(next((name for name, value in pairs if value is child), None))
            return role_of_name(text) if isinstance(text, str) else frozenset()
        elif isinstance(parent, ast.Call):
            name = method(parent) or key(parent.func)
            if name not in _PASSES:
                return frozenset()
            places = [i for i, one in enumerate(parent.args) if one is child]
            index = places[0] if name == "prepare" and places else None
        elif isinstance(parent, (ast.Tuple, ast.List)):
            index = next(i for i, one in enumerate(parent.elts) if one is child)
        elif isinstance(parent, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
            target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
            return _role_of(target, index)
        elif isinstance(parent, ast.Return):
            function = tree.function(parent)
            return role_of_name(function.name) if function is not None else frozenset()
        elif not isinstance(parent, (ast.IfExp, ast.Starred, ast.Await, ast.keyword)):
            return frozenset()
        child = parent
    return frozenset()


def _role_of(target: ast.expr, index: int | None) -> frozenset[Role]:
    if isinstance(target, (ast.Tuple, ast.List)):
        if index is None or index >= len(target.elts):
            return frozenset()
        target = target.elts[index]
    if isinstance(target, ast.Subscript):
        text = constant(target.slice)
        return role_of_name(text) if isinstance(text, str) else _role_of(target.value, None)
    return role_of_name(key(target).rpartition(".")[2])


def evaluated(loader: Loader, file: File, node: ast.expr, depth: int = 0) -> object:
    """Give the value of a simple expression; `UNKNOWN` if it is not simple.

    Args:
        loader: Whose option it is: the call that asks for it gives the parameters.
        file: Where it stands.
        node: The expression.
        depth: How many were followed.
    """
    if depth > 6:
        return UNKNOWN
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and file is loader.made_file:
        found = loader._followed(node)
        if found.node is not node:
            return evaluated(loader, found.file, found.node, depth + 1)
    if isinstance(node, (ast.Name, ast.Attribute)):
        several = sources(file, node)
        values = {
            repr(value): value
            for value in (evaluated(loader, s.file, s.node, depth + 1) for s in several.found)
        }
        known = several.complete and len(values) == 1
        return next(iter(values.values())) if known else UNKNOWN
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        value = evaluated(loader, file, node.operand, depth + 1)
        return UNKNOWN if value is UNKNOWN else not value
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _compared(loader, file, node, depth)
    if isinstance(node, ast.IfExp):
        test = evaluated(loader, file, node.test, depth + 1)
        if test is not UNKNOWN:
            return evaluated(loader, file, node.body if test else node.orelse, depth + 1)
    return UNKNOWN


def _compared(loader: Loader, file: File, node: ast.Compare, depth: int) -> object:
    left = evaluated(loader, file, node.left, depth + 1)
    right_node = node.comparators[0]
    if isinstance(node.ops[0], (ast.In, ast.NotIn)) and isinstance(
        right_node, (ast.Tuple, ast.List, ast.Set)
    ):
        some = [evaluated(loader, file, one, depth + 1) for one in right_node.elts]
        if left is UNKNOWN or UNKNOWN in some:
            return UNKNOWN
        return (left in some) == isinstance(node.ops[0], ast.In)
    right = evaluated(loader, file, right_node, depth + 1)
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if isinstance(node.ops[0], (ast.Eq, ast.Is)):
        return left == right
    if isinstance(node.ops[0], (ast.NotEq, ast.IsNot)):
        return left != right
    return UNKNOWN
