"""Where a file trains and where it measures: loops over batches, steps, their events."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, final

from ._events import LOOPS as LOOPS
from ._events import Event as Event
from ._events import What, closure_of
from ._events import is_backward as is_backward
from ._roles import Role, held_out, role, role_of_name
from ._tree import key

if TYPE_CHECKING:
    from ._file import File

_WRAPS: Final = frozenset(
    {"enumerate", "tqdm", "trange", "zip", "islice", "track", "progress_bar", "iter", "cycle"}
)
_LOADER: Final = re.compile(r"loader|batches|_dl$|^dl$|_iter$|_iterator$|minibatch", re.IGNORECASE)


@final
@dataclass(frozen=True, eq=False)
class Step:
    """The body that makes one step of a training: of a loop, or of a function that no loop calls.

    Args:
        file: The file.
        node: The innermost loop that computes gradients, or the function.
        events: In the order of the text, those in called functions of the project included.
        in_loop: Whether it is a loop; of a function the callers are not known.
    """

    file: File = field(repr=False)
    node: ast.AST
    events: tuple[Event, ...] = field(repr=False)
    in_loop: bool

    def of(self, *what: What) -> list[Event]:
        """Give the events of some kinds.

        Args:
            what: The kinds.
        """
        return [event for event in self.events if event.what in what]

    @cached_property
    def source(self) -> str:
        """Text of the body and of the functions of the project that it calls."""
        return "\n".join(_sources(self.file, self.node, 3))


@final
@dataclass(frozen=True, eq=False)
class Loop:
    """A loop over batches.

    Args:
        node: The loop.
        loader: What it takes the batches from, without `enumerate` and `tqdm`.
        roles: What these data are for, as far as names tell: of the data, then of the function.
        trains: Whether gradients are computed in it.
        batch: Names of what a batch is taken apart into, in their order.
    """

    node: ast.For | ast.AsyncFor
    loader: ast.expr
    roles: frozenset[Role]
    trains: bool
    batch: tuple[str, ...]

    @property
    def held_out(self) -> bool:
        """Whether it certainly measures on data that are not for training."""
        return not self.trains and held_out(self.roles)


def loops(file: File) -> Iterator[Loop]:
    """Find the loops over batches.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.For, ast.AsyncFor):
        loader = unwrapped(file, node.iter)
        named = loader.func if isinstance(loader, ast.Call) else loader
        named = named.value if isinstance(named, ast.Subscript) else named
        text = key(named).rpartition(".")[2]
        if not (file.values.is_a(loader, "loader") or _LOADER.search(text)):
            continue
        function = file.tree.function(node)
        roles = role(file, loader)
        if not roles and function is not None:
            roles = role_of_name(function.name)
        trains = any(event.what in ("backward", "step") for event in file.events(node))
        yield Loop(node, loader, roles, trains, tuple(_names(node.target)))


def unwrapped(file: File, node: ast.expr) -> ast.expr:
    """Give what a loop goes over, without `enumerate`, `tqdm` and the like.

    Args:
        file: The file.
        node: After ``in``; a name that holds such a wrapper is followed.
    """
    for _ in range(4):
        if isinstance(node, ast.Call) and node.args:
            if file.dotted(node.func).rpartition(".")[2] not in _WRAPS:
                return node
            node = node.args[0]
        elif isinstance(node, ast.Name):
            bindings = file.values.bindings.reaching(node).bindings
            inner = bindings[0].value if len(bindings) == 1 else None
            if not (isinstance(inner, ast.Call) and inner.args and bindings[0].how == "whole"):
                return node
            if file.dotted(inner.func).rpartition(".")[2] not in _WRAPS:
                return node
            node = inner.args[0]
        else:
            return node
    return node


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for one in target.elts:
            yield from _names(one)
    elif key(target):
        yield key(target)


def steps(file: File) -> Iterator[Step]:
    """Find the bodies that compute gradients.

    Args:
        file: The file.
    """
    for loop in file.tree.each(*LOOPS):
        events = file.events(loop)
        if any(event.what == "backward" and event.loop is loop for event in events):
            yield Step(file, loop, events, True)
    closures = {closure_of(file, call) for call in file.method_calls("step")}
    lifted = {one.node for one in closures if one is not None}
    for function in file.tree.each(ast.FunctionDef, ast.AsyncFunctionDef):
        events = file.events(function)
        if file.sites(function) or function in lifted:
            continue  # its callers are asked instead
        own = (event for event in events if event.loop is None and event.site is event.call)
        if any(event.what == "backward" for event in own):
            yield Step(file, function, events, False)


def _sources(file: File, node: ast.AST, depth: int) -> Iterator[str]:
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", None) or len(file.lines)
    yield "\n".join(file.lines[first - 1 : last])
    for call in file.tree.own_calls(node) if depth else ():
        definition = file.called(call)
        if definition is not None and not isinstance(definition.node, ast.ClassDef):
            yield from _sources(definition.file, definition.node, depth - 1)
