"""What happens in a step of a training: gradients cleared, computed, clipped and used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, final

from ._bindings import given, parameters
from ._tree import FUNCTIONS, argument, key, method, owner

if TYPE_CHECKING:
    from ._file import File
    from ._project import Definition

What = Literal["zero", "backward", "step", "schedule", "clip", "unscale", "update", "train", "eval"]
Guards = frozenset[tuple[str, bool]]
LOOPS: Final = (ast.For, ast.While, ast.AsyncFor)

_CLIPS: Final = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_gradients")
_CLEARS: Final = re.compile(r"^_?(zero|clear|reset)_(all_)?grad(ient)?s?$")
_MANAGERS: Final = re.compile(
    r"accelerat|fabric|engine|trainer|^self$|^torch\.autograd$", re.IGNORECASE
)
_LEAVES: Final = (ast.Continue, ast.Break, ast.Return, ast.Raise)
_USES: Final = (
    ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.Call, ast.BinOp, ast.Tuple,
    ast.keyword, ast.Attribute, ast.Subscript,
)  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Event:
    """Something that happens in a step of a training.

    Args:
        what: Its kind.
        call: The call, perhaps in a function of the project that is called from here.
        site: The place in this file: the call, or the call of that function.
        on: Text of what it is called on, such as ``self.optimizer``.
        sometimes: Whether it stands under a condition.
        file: The file of the call.
        about: Text of the optimizer, loss or scheduler that it is about, by its name at the site.
        loop: Innermost loop around it in what was asked, or in the called function; None without.
        guards: Conditions that it stands under, as text, each with its truth.
        leaves: Conditions under which the place is left before it, each with its contrary.
    """

    what: What
    call: ast.Call
    site: ast.Call
    on: str
    sometimes: bool
    file: File = field(repr=False)
    about: str = ""
    loop: ast.AST | None = field(default=None, repr=False)
    guards: Guards = frozenset()
    leaves: Guards = frozenset()

    def excludes(self, other: Event) -> bool:
        """Say whether the two never happen in the same pass.

        Args:
            other: Of the same step.
        """
        others = other.guards | other.leaves
        return any((text, not truth) in others for text, truth in self.guards | self.leaves)

    def node_in(self, file: File) -> ast.Call:
        """Give the most exact place of it in a file.

        Args:
            file: The file that is checked.
        """
        return self.call if self.file is file else self.site


def events_in(file: File, node: ast.AST) -> Iterator[Event]:
    """Give what happens in a loop or function, and in the functions of the project that it calls.

    Args:
        file: The file.
        node: The loop or function.
    """
    for call in file.tree.own_calls(node):
        what = _what(file, call)
        inner = list(_lifted(file, call, _definition(file, call)))
        if what == "step":
            inner = [*_lifted(file, call, closure_of(file, call)), *inner]
        if what is None and not inner:
            continue
        guards, leaves = _conditions(file, call, node)
        loop = file.tree.inside(call, *LOOPS, *FUNCTIONS)
        loop = loop if isinstance(loop, LOOPS) and file.tree.holds(node, loop) else None
        for event in inner:
            both = guards | event.guards
            yield replace(
                event,
                site=call,
                sometimes=bool(both),
                loop=event.loop or loop,
                guards=both,
                leaves=leaves | event.leaves,
            )
        if what is not None and not any(event.what == what for event in inner):
            on, about = key(owner(call)), _about(file, call, what)
            yield Event(what, call, call, on, bool(guards), file, about, loop, guards, leaves)


def is_backward(call: ast.Call) -> bool:
    """Say whether a call computes gradients.

    Args:
        call: The call.
    """
    on = owner(call)
    is_super = isinstance(on, ast.Call) and key(on.func) == "super"
    return method(call) in ("backward", "manual_backward") and not is_super


def closure_of(file: File, call: ast.Call) -> Definition | None:
    """Give the function that `optimizer.step` is given, if it is one of this file.

    Args:
        file: The file.
        call: The call of ``step``.
    """
    from ._project import Definition

    given_one = argument(call, "closure", 0)
    if isinstance(given_one, ast.Lambda):
        return Definition(file, given_one)
    if isinstance(given_one, ast.Attribute) and key(given_one.value) == "self":
        home = file.tree.inside(call, ast.ClassDef)
        found = file.methods(home).get(given_one.attr) if home is not None else None
        return Definition(*found) if found else None
    if not isinstance(given_one, ast.Name):
        return None
    scopes = {file.tree.root, file.tree.scope(call), *file.tree.above(file.tree.scope(call))}
    fitting = [
        one
        for one in file.tree.each(ast.FunctionDef)
        if one.name == given_one.id and file.tree.scope(one) in scopes
    ]
    before = [one for one in fitting if file.tree.place(one) < file.tree.place(call)]
    return Definition(file, (before or fitting)[-1]) if fitting else None


def text_of(node: ast.AST | None) -> str:
    """Give the text of a name, a chain of attributes or an item of one; empty for anything else.

    Args:
        node: An expression.
    """
    return ast.unparse(node) if isinstance(node, ast.Subscript) else key(node)


def loss_of(call: ast.Call) -> ast.expr | None:
    """Give the loss that a call of ``backward`` is about, without the scaling of it.

    Args:
        call: The call of ``backward``.
    """
    loss = owner(call)
    managed = loss is None or _MANAGERS.search(text_of(loss)) or method(call) == "manual_backward"
    if managed and call.args:
        loss = call.args[0]
    if isinstance(loss, ast.Call) and method(loss) == "scale" and loss.args:
        loss = loss.args[0]
    return loss


def stepped(file: File, call: ast.Call) -> ast.expr | None:
    """Give the optimizer that a call of ``step`` is about: of ``scaler.step(it)`` the argument.

    Args:
        file: The file.
        call: The call of ``step``.
    """
    on = owner(call)
    if by_scaler(file, call) or method(call) != "step":
        return call.args[0] if call.args else None
    return on


def by_scaler(file: File, call: ast.Call) -> bool:
    """Say whether it is a gradient scaler that steps.

    Args:
        file: The file.
        call: The call of ``step``.
    """
    on = owner(call)
    return bool(call.args) and ("scaler" in text_of(on).lower() or file.values.is_a(on, "scaler"))


def _definition(file: File, call: ast.Call) -> Definition | None:
    definition = file.called(call)
    return None if definition is None or isinstance(definition.node, ast.ClassDef) else definition


def _lifted(file: File, call: ast.Call, definition: Definition | None) -> Iterator[Event]:
    """Give the events of a called function, under the names that they have here."""
    if definition is None:
        return
    for event in definition.file.events(definition.node):
        yield replace(event, about=_renamed(call, definition, event.about))


def _renamed(call: ast.Call, definition: Definition, about: str) -> str:
    first, _, rest = about.partition(".")
    here = key(owner(call)) if isinstance(call.func, ast.Attribute) else ""
    if first == "self":
        new = here if here.startswith("self") or here else "self"
    elif first in parameters(definition.node):
        of_class = isinstance(definition.file.tree.parent(definition.node), ast.ClassDef)
        new = key(given(call, definition.node, first, bound=of_class).value)
        if not new:
            return about
    else:
        return about
    return f"{new}.{rest}" if rest else new


def _about(file: File, call: ast.Call, what: What) -> str:
    if what == "backward":
        return text_of(loss_of(call))
    if what == "step":
        return text_of(stepped(file, call))
    first = call.args[0] if call.args else None
    if what == "clip":
        return text_of(owner(first) if isinstance(first, ast.Call) else first)
    on = owner(call)
    return text_of(on) or (text_of(first) if on is None else "")


def _conditions(file: File, node: ast.AST, within: ast.AST) -> tuple[Guards, Guards]:
    """Give the conditions that a node stands under, and the contraries of earlier ways out."""
    guards: set[tuple[str, bool]] = set()
    leaves: set[tuple[str, bool]] = set()
    child = node
    for parent in file.tree.above(node):
        if isinstance(child, ast.stmt):
            leaves |= set(_left_out(parent, child))
        if parent is within:
            break
        if isinstance(parent, ast.If) and child is not parent.test:
            guards.add(condition(parent.test, child in parent.body))
        elif isinstance(parent, ast.IfExp) and child is not parent.test:
            guards.add(condition(parent.test, child is parent.body))
        elif isinstance(parent, (ast.ExceptHandler, ast.match_case)):
            guards.add((f"{type(parent).__name__} {file.tree.place(parent)}", True))
        child = parent
    return frozenset(guards), frozenset(leaves)


def _left_out(parent: ast.AST, child: ast.stmt) -> Iterator[tuple[str, bool]]:
    """Look for conditions before a statement that leave its block."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(parent, name, None)
        if not isinstance(block, list) or child not in block:
            continue
        for one in block[: block.index(child)]:
            if isinstance(one, ast.If):
                if isinstance(one.body[-1], _LEAVES):
                    yield condition(one.test, False)
                if one.orelse and isinstance(one.orelse[-1], _LEAVES):
                    yield condition(one.test, True)


def condition(test: ast.expr, truth: bool) -> tuple[str, bool]:
    """Give a condition without its negations, and whether that holds.

    Args:
        test: Of an ``if``.
        truth: Whether the test holds.
    """
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, truth = test.operand, not truth
    if isinstance(test, (ast.Name, ast.Attribute)) and key(test):
        return f"{key(test)} is None", not truth
    text = ast.unparse(test)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        if isinstance(test.ops[0], ast.IsNot):
            return text.replace(" is not ", " is "), not truth
        if isinstance(test.ops[0], ast.NotEq):
            return text.replace(" != ", " == "), not truth
    return text, truth


def _what(file: File, call: ast.Call) -> What | None:
    name, on = method(call), owner(call)
    if not name:
        short = file.dotted(call.func).rpartition(".")[2]
        if short == "backward":
            return "backward" if file.dotted(call.func) == "torch.autograd.backward" else None
        return "clip" if short in _CLIPS else "zero" if _CLEARS.match(short) else None
    if _CLEARS.match(name):
        return "zero"
    if is_backward(call):
        return None if isinstance(file.tree.parent(call), _USES) else "backward"
    if name in _CLIPS:
        return "clip"
    if name == "unscale_":
        return "unscale"
    if name == "optimizer_step" and key(on) == "xm":
        return "step"
    if name in ("step", "update"):
        return _stepping(file, call, name, on)
    if name in ("eval", "train") and len(call.args) < 2 and not _is_project(file, call):
        off = name == "train" and call.args and ast.unparse(call.args[0]) == "False"
        return "eval" if name == "eval" or off else "train"
    return None


def _stepping(file: File, call: ast.Call, name: str, on: ast.expr | None) -> What | None:
    text = _hints(file, on)
    if name == "update":
        return "update" if "scaler" in text or file.values.is_a(on, "scaler") else None
    if file.values.is_a(on, "optimizer"):
        return "step"
    if "sched" in text or file.values.is_a(on, "scheduler"):
        return "schedule"
    known = "opt" in text or "scaler" in text or file.values.is_a(on, "scaler")
    return "step" if known else None


def _hints(file: File, node: ast.expr | None) -> str:
    """Give the text that tells what is stepped: its name, or where a loop takes it from."""
    while isinstance(node, ast.Subscript):
        node = node.value
    text = key(node).rpartition(".")[2].lower()
    if node is None or not isinstance(node, ast.Name):
        return text
    for binding in file.values.bindings.reaching(node).bindings[:1]:
        value = binding.value
        if isinstance(value, ast.Call) and method(value) in ("optimizers", "lr_schedulers"):
            return method(value)
        if binding.how != "whole" and value is not None:
            text += " " + key(value).rpartition(".")[2].lower()
    return text


def _is_project(file: File, call: ast.Call) -> bool:
    """Say whether ``trainer.train()`` is a function of the project's own."""
    return file.called(call) is not None
