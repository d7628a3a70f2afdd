"""In which mode a model runs at a place, and whether gradients are recorded there."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal

from .._model._roles import words_of
from .._model._tree import argument, constant, key
from .._model._values import arguments_of
from ._passes import ModelCall, Place

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._loops import Event

State = Literal["covered", "open", "uncalled", "unknown"]

_NO_GRAD: Final = frozenset({"no_grad", "inference_mode", "set_grad_enabled"})
_RECORDS: Final = frozenset(
    {
        "autocast", "open", "tqdm", "trange", "profile", "record_function", "catch_warnings",
        "device", "Progress", "Timer", "timer", "nullcontext", "SummaryWriter", "stream",
        "start_run", "span", "suppress", "redirect_stdout",
    }
)  # fmt: skip
"""Last names of context managers that leave the recording of gradients as it is."""
_DECORATORS: Final = frozenset(
    {
        "staticmethod", "classmethod", "main", "command", "option", "argument", "wraps", "timer",
        "timeit", "timed", "record", "group", "cache", "lru_cache", "override", "autocast",
        "overload", "property", "abstractmethod", "profile",
    }
)  # fmt: skip
"""Last names of decorators that leave both as they are."""
_LOADED: Final = (
    ".eval()",
    "from_pretrained",
    "torch.load(",
    "jit.load(",
    "hub.load(",
    "pipeline(",
)
_UNCALLED: Final = re.compile(r"^\s*[\w.]+\.eval\s*(#.*)?$", re.MULTILINE)
_DEPTH: Final = 6


def gradients_off(path: tuple[Place, ...]) -> State:
    """Say whether gradients are recorded at the end of a path of calls.

    Args:
        path: The place, then the calls that lead to it, from the inside out.
    """
    if any(_grad_off_here(file, node) for file, node in path):
        return "covered"
    return _callers(*path[-1], _grad_off_here, _never, _DECORATORS)


def in_eval_mode(call: ModelCall) -> State:
    """Say whether a model is in evaluation mode where it is called.

    Args:
        call: The call.
    """
    for place, (file, node) in enumerate(call.path):
        state = _mode_here(file, node, call.model if place == 0 else None)
        if state is not None:
            return state
    file, node = call.path[-1]
    state = _callers(
        file,
        node,
        lambda there, site: _mode_here(there, site, None) == "covered",
        lambda there, site: _mode_here(there, site, None) == "open",
        _DECORATORS | _NO_GRAD,
    )
    if state != "covered" and _made_for_evaluation(call.file, call.model):
        return "covered"
    return state


def _never(file: File, node: ast.AST) -> bool:
    return False


def _callers(
    file: File,
    node: ast.AST,
    is_off: Callable[[File, ast.AST], bool],
    is_on: Callable[[File, ast.AST], bool],
    known: frozenset[str],
    depth: int = 0,
) -> State:
    """Ask the places that call the function around a node."""
    function = file.tree.function(node)
    if function is None:
        return "open"
    if _unknown_function(file, function, known) or depth > _DEPTH:
        return "covered"
    sites = file.sites(function)
    if not sites:
        return "covered" if _handed_on(file, function) else "uncalled"
    states: set[State] = set()
    for site in sites:
        if file.tree is site.file.tree and file.tree.holds(function, site.call):
            continue  # calls itself
        if is_off(site.file, site.call):
            states.add("covered")
        elif is_on(site.file, site.call):
            states.add("open")
        else:
            states.add(_callers(site.file, site.call, is_off, is_on, known, depth + 1))
    if len(states) == 1:
        return states.pop()
    if states == {"open", "uncalled"}:
        return "uncalled"
    return "unknown"


def _unknown_function(file: File, function: ast.AST, known: frozenset[str] = _DECORATORS) -> bool:
    """Say whether decorators or base classes may change how a function runs."""
    for decorator in getattr(function, "decorator_list", []):
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        if key(node).rpartition(".")[2] not in known:
            return True
    home = file.tree.parent(function)
    return isinstance(home, ast.ClassDef) and (
        not file.bases_known(home) or file.is_lightning(home)
    )


def _handed_on(file: File, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Say whether a function is given to something else, which calls it then."""
    for there in file.project.files:
        if function.name not in there.text:
            continue
        for node in there.tree.each(ast.Name, ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name == function.name and isinstance(getattr(node, "ctx", None), ast.Load):
                parent = there.tree.parent(node)
                if not (isinstance(parent, ast.Call) and parent.func is node):
                    return True
    return False


def _grad_off_here(file: File, node: ast.AST) -> bool:
    """Say whether gradients are off in the function around a node, or may be."""
    for above in file.tree.above(node):
        if isinstance(above, (ast.With, ast.AsyncWith)):
            for item in above.items:
                context = item.context_expr
                func = context.func if isinstance(context, ast.Call) else context
                last = key(func).rpartition(".")[2]
                if last == "set_grad_enabled":
                    if (
                        isinstance(context, ast.Call)
                        and constant(argument(context, "mode", 0)) is True
                    ):
                        continue
                    return True
                if last not in _RECORDS:
                    return True
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if _unknown_function(file, above):
                return True
            break
    return switches_off(file)


def switches_off(file: File) -> bool:
    """Say whether a statement of a file may switch off gradients for all that follows.

    Args:
        file: The file.
    """
    for name in ("set_grad_enabled", "_set_grad_enabled", "set_grad", "__enter__", "enter_context"):
        for call in file.method_calls(name):
            parent = file.tree.parent(call)
            inside = isinstance(parent, ast.withitem)
            if not inside and constant(call.args[0] if call.args else None) is not True:
                return True
    for name in ("no_grad", "inference_mode"):  # as a statement: another rule's matter
        if any(isinstance(file.tree.parent(call), ast.Expr) for call in file.method_calls(name)):
            return True
    return False


def _mode_here(file: File, node: ast.AST, model: ast.expr | None) -> State | None:
    """Give the mode that the function around a node sets before it; None if it sets none."""
    function = file.tree.function(node)
    scope: ast.AST = function if function is not None else file.tree.root
    if function is not None and _unknown_function(file, function, _DECORATORS | _NO_GRAD):
        return "covered"
    last: Event | None = None
    for event in file.events(scope):
        if event.what not in ("train", "eval") or file.tree.holds(event.site, node):
            continue
        if file.tree.place(event.site) > file.tree.place(node):
            break
        if event.what == "eval" or _concerns(file, event, model):
            last = event
    if _helper_before(file, scope, node, last):
        return "covered"
    if last is None:
        return None
    if last.what == "eval" or _sometimes(file, last, node):
        return "covered"
    return "open"


def _concerns(file: File, event: Event, model: ast.expr | None) -> bool:
    """Say whether a call of ``train()`` may be one on the model."""
    if model is None or event.site is not event.call or event.on == key(model):
        return True
    func = event.call.func
    one = file.values.of(func.value) if isinstance(func, ast.Attribute) else ()
    return bool(set(one) & set(file.values.of(model)))


def _sometimes(file: File, event: Event, node: ast.AST) -> bool:
    """Say whether an event happens only sometimes before a node."""
    child: ast.AST = event.site
    for above in file.tree.above(event.site):
        if file.tree.holds(above, node):
            if isinstance(above, ast.If) and child is not above.test:
                if not _same_branch(file, above, child, node):
                    return True
            break
        if isinstance(above, (ast.If, ast.ExceptHandler, ast.IfExp)) and child is not getattr(
            above, "test", None
        ):
            return True
        child = above
    if event.site is event.call:
        return False
    function = event.file.tree.function(event.call)
    return function is not None and event.file.tree.conditional(event.call, function)


def _same_branch(file: File, above: ast.If, child: ast.AST, node: ast.AST) -> bool:
    for branch in (above.body, above.orelse):
        if any(one is child for one in branch):
            return any(file.tree.holds(one, node) for one in branch)
    return True


def _helper_before(file: File, scope: ast.AST, node: ast.AST, last: Event | None) -> bool:
    """Say whether something unknown may switch to evaluation before a node."""
    since = file.tree.place(last.site) if last is not None else -1
    for call in file.tree.own_calls(scope):
        place = file.tree.place(call)
        if since < place < file.tree.place(node) and not file.tree.holds(call, node):
            name = key(call.func).rpartition(".")[2]
            told = set(words_of(name)) & {"eval", "evaluating", "mode", "freeze", "inference"}
            if told and name != "inference_mode" and file.called(call) is None:
                return True
    if _UNCALLED.search(file.text):  # `model.eval`: another rule's matter
        return True
    return False


def origins(file: File, node: ast.expr, depth: int = 0) -> Iterator[tuple[File, ast.expr]]:
    """Give the expressions that a name may come from, followed through parameters.

    Args:
        file: The file.
        node: A name.
        depth: How many names were followed.
    """
    if depth > _DEPTH or not key(node):
        yield file, node
        return
    reaching = file.values.bindings.reaching(node)
    for binding in reaching.bindings:
        if binding.value is None or binding.value is node:
            continue
        yield file, binding.value
        if key(binding.value) and key(binding.value) != key(node):
            yield from origins(file, binding.value, depth + 1)
    if reaching.rest == "parameter":
        for there, value in arguments_of(file, reaching.scope, key(node)):
            if value is not None:
                yield from origins(there, value, depth + 1)


def _made_for_evaluation(file: File, model: ast.expr) -> bool:
    """Say whether a model comes out of its making in evaluation mode, or may."""
    for there, value in origins(file, model):
        text = there.text_of(value)
        if any(mark in text for mark in _LOADED):
            return True
        if isinstance(value, ast.Call):
            made = there.called(value)
            if made is not None and not isinstance(made.node, ast.ClassDef):
                if any(event.what == "eval" for event in made.file.events(made.node)):
                    return True
    home = file.tree.inside(model, ast.ClassDef)
    start = file.methods(home).get("__init__") if home is not None else None
    return start is not None and any(e.what == "eval" for e in start[0].events(start[1]))


def same_model(file: File, one: ast.expr, there: File, other: ast.expr) -> bool | None:
    """Say whether two expressions are the same model; None if that is not known.

    Args:
        file: The file of the first.
        one: An expression.
        there: The file of the second.
        other: Another expression.
    """
    first, second = set(file.values.of(one)), set(there.values.of(other))
    if first and second:
        return bool({value.call for value in first} & {value.call for value in second})
    if key(one).rpartition(".")[2] == key(other).rpartition(".")[2]:
        return True
    return None
