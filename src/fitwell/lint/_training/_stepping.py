"""The order of events in a training step, and what the optimizers in it are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .._model._bindings import Reaching
from .._model._events import Event, What, by_scaler, loss_of, stepped
from .._model._loops import Step
from .._model._tree import argument, constant, key, method, owner

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._values import Value

_BY_HAND: Final = re.compile(
    r"\.grad\b(\.data)?(\.detach\(\))?\s*(=(?!=)|[-+*/]=|\.(zero|fill|mul|div|copy|add|sub)_)"
    r"|\.zero_?\(\)|_foreach_(zero|mul|div)_|setattr\(\w+, *.grad"
)
_READS: Final = re.compile(r"\.grad\b")
_OTHER_WAYS: Final = re.compile(
    r"autograd\.grad|\bgrad\(|functional_call|\bv?jvp|value_and_grad|closure|compute_grad"
    r"|accumulate_grad|backprop|\.backward\b(?!\()"
)
_HARMLESS: Final = re.compile(
    r"(^|_)(lr|lrs|learning|print|len|isinstance|log|save|state|sched|scheduler|adjust|autocast|id"
    r"|type|str|repr|checkpoint|warmup|toggle|untoggle|step|unscale|clip|float|append|item|prepare"
    r"|update|write|info|add|format|list|range|zip|enumerate)(_|$)",
    re.IGNORECASE,
)


def clears_by_hand(step: Step) -> bool:
    """Say whether gradients themselves are written to: set to None, to zero, divided.

    Args:
        step: The step.
    """
    return bool(_BY_HAND.search(step.source))


def names_without_call(step: Step, name: str) -> bool:
    """Say whether a method is only named in a step, as in ``optimizer.step``: another fault.

    Args:
        step: The step.
        name: Of the method.
    """
    return bool(re.search(rf"\.{name}[ \t]*(#.*)?$", step.source, re.MULTILINE))


def reads_gradients(step: Step) -> bool:
    """Say whether gradients themselves are used in a step.

    Args:
        step: The step.
    """
    return bool(_READS.search(step.source))


def has_other_ways(step: Step) -> bool:
    """Say whether gradients may be computed in a way that is not followed.

    Args:
        step: The step.
    """
    return bool(_OTHER_WAYS.search(step.source)) or any(
        event.call.args or event.call.keywords
        for event in step.of("step")
        if not by_scaler(event.file, event.call) and method(event.call) == "step"
    )


def updates(step: Step) -> frozenset[str]:
    """Give the names of the optimizers that a step steps; an empty one for what has no name.

    Args:
        step: The step.
    """
    return frozenset(event.about for event in step.of("step"))


def before(step: Step, event: Event, *what: What) -> Iterator[Event]:
    """Give the events before one, the nearest first, then those of the pass before this one.

    What stands in the other branch of a condition is left out.

    Args:
        step: The step.
        event: One of its events.
        what: The kinds that count.
    """
    place = step.events.index(event)
    for one in reversed([*step.events[place + 1 :], *step.events[:place]]):
        if one.what in what and not one.excludes(event):
            yield one


def comes_first(step: Step, one: Event, other: Event) -> bool:
    """Say whether one event stands before another in the text of a step.

    Args:
        step: The step.
        one: Of its events.
        other: Of its events.
    """
    return step.events.index(one) < step.events.index(other)


def emptied(step: Step, update: Event) -> Event | None:
    """Give the event that clears the gradients between the last `backward` and an update, if any.

    Args:
        step: The step.
        update: An event `step` of it.
    """
    for one in before(step, update, "zero", "backward"):
        if one.what == "backward":
            return None
        if one.loop is not update.loop:
            return None
        if not _clears(step, one, update):
            if one.about in updates(step):
                continue  # another optimizer
            return None
        wrapped = not comes_first(step, one, update)
        sure = not one.guards if wrapped else one.guards <= update.guards
        return one if sure else None
    return None


def _clears(step: Step, zero: Event, update: Event) -> bool:
    """Say whether it is surely the updated parameters whose gradients are cleared."""
    if zero.about and zero.about == update.about:
        return True
    if len(updates(step)) > 1 or not zero.about:
        return False
    of = parameters_of(update)
    return bool(of) and of.rpartition(".")[2] == zero.about.rpartition(".")[2]


def optimizer_of(event: Event) -> Value | None:
    """Give the optimizer of an event `step` or `zero`, if it is known.

    Args:
        event: The event.
    """
    node = stepped(event.file, event.call) if event.what == "step" else owner(event.call)
    return event.file.made(node, "optimizer")


def parameters_of(event: Event) -> str:
    """Give the name of the module whose parameters the optimizer of an update has; or nothing.

    Args:
        event: An event `step`.
    """
    value = optimizer_of(event)
    given = argument(value.call, "params", 0) if value is not None else None
    return (
        key(owner(given)) if isinstance(given, ast.Call) and method(given) == "parameters" else ""
    )


def is_scaled(event: Event) -> bool:
    """Say whether a `backward` is surely that of a loss times the factor of a gradient scaler.

    Args:
        event: An event `backward`.
    """
    file, on = event.file, owner(event.call)
    if isinstance(on, ast.Name):
        bindings = file.values.bindings.reaching(on).bindings
        on = bindings[0].value if len(bindings) == 1 else None
    if not (isinstance(on, ast.Call) and method(on) == "scale"):
        return False
    scaler = owner(on)
    return "scaler" in key(scaler).lower() or file.values.is_a(scaler, "scaler")


def is_switched_off(event: Event) -> bool:
    """Say whether a gradient scaler may do nothing: made with ``enabled=``.

    Args:
        event: An event on a scaler.
    """
    values = event.file.values.of(owner(event.call))
    return any(constant(argument(one.call, "enabled")) is False for one in values)


def is_loss_call(file: File, node: ast.AST | None) -> bool:
    """Say whether an expression computes a loss, with the usual mean over the batch.

    Args:
        file: The file.
        node: An expression.
    """
    if isinstance(node, ast.Attribute):
        return node.attr == "loss"
    if not isinstance(node, ast.Call):
        return False
    values = file.values.of(node.func)
    if isinstance(node.func, ast.Call):
        values = file.values.of(node.func)
    if values:
        kept = all(argument(one.call, "reduction") is None for one in values)
        return kept and all(one.kind == "loss" and one.definition is None for one in values)
    name = file.dotted(node.func)
    if argument(node, "reduction") is not None or file.called(node) is not None:
        return False
    if name.startswith("torch.nn.functional."):
        return name.endswith(("_loss", "cross_entropy", "_with_logits", "kl_div"))
    last = name.rpartition(".")[2].lower()
    return last in ("criterion", "loss_fn", "loss_func", "loss_function", "lossfn", "loss_func_")


def losses_in(file: File, node: ast.AST) -> Iterator[str]:
    """Give the names that hold a loss computed in a body.

    Args:
        file: The file.
        node: The loop.
    """
    for one in file.tree.own(node):
        if isinstance(one, ast.Assign) and is_loss_call(file, one.value):
            yield from (key(target) for target in one.targets if key(target))


def given_away(file: File, node: ast.AST, names: frozenset[str]) -> bool:
    """Say whether a function that is not known gets one of some things.

    Args:
        file: The file.
        node: The body.
        names: Of the things.
    """
    for call in file.tree.own_calls(node):
        short = method(call) or key(call.func).rpartition(".")[2]
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        if not any(key(value) in names for value in values if key(value)):
            continue
        if file.called(call) is None and not _HARMLESS.search(short):
            if not file.dotted(call.func).startswith("torch."):
                return True
    return False


def is_of_loop(step: Step, update: Event) -> bool:
    """Say whether each pass of a loop has an optimizer of its own, taken from what it goes over.

    Args:
        step: The step.
        update: An event `step` of it.
    """
    target = getattr(step.node, "target", None)
    names = {key(one) for one in ast.walk(target)} if isinstance(target, ast.expr) else set()
    return update.about.partition(".")[0].partition("[")[0] in names - {""}


def outer_zero(step: Step) -> Event | None:
    """Give the `zero_grad` that runs around the loop of a step, and not in it.

    Args:
        step: The step.
    """
    wanted = updates(step)
    return next(iter(_around(step.file, step.node, wanted, 3)), None)


def _around(file: File, node: ast.AST, wanted: frozenset[str], depth: int) -> Iterator[Event]:
    function = file.tree.function(node)
    above = set(file.tree.above(node))
    for event in file.events(function or file.tree.root):
        if event.what == "zero" and not file.tree.holds(node, event.site):
            known = event.about in wanted or optimizer_of(event) is None
            if (event.loop is None or event.loop in above) and known:
                yield event
    if function is not None and depth:
        for site in file.sites(function):
            yield from _around(site.file, site.call, wanted, depth - 1)


def steps_around(step: Step, depth: int = 3) -> bool:
    """Say whether an optimizer is stepped in the functions around a step.

    Args:
        step: The step.
        depth: How many callers are followed.
    """
    todo: list[tuple[File, ast.AST, int]] = [(step.file, step.node, depth)]
    while todo:
        file, node, left = todo.pop()
        function = file.tree.function(node)
        if any(event.what == "step" for event in file.events(function or file.tree.root)):
            return True
        if function is not None and left:
            todo += [(site.file, site.call, left - 1) for site in file.sites(function)]
    return False


def stops_at_once(step: Step) -> bool:
    """Say whether a loop always ends in its first pass.

    Args:
        step: The step.
    """
    body = getattr(step.node, "body", None)
    last = body[-1] if isinstance(body, list) and body else None
    return step.in_loop and isinstance(last, (ast.Break, ast.Return))


def is_per_batch(step: Step) -> bool:
    """Say whether a step is surely taken again and again.

    Args:
        step: The step.
    """
    if step.in_loop:
        return not stops_at_once(step)
    home = step.file.tree.parent(step.node)
    name = getattr(step.node, "name", "")
    return (
        isinstance(home, ast.ClassDef) and step.file.is_lightning(home) and name == "training_step"
    )


def loss_bindings(event: Event) -> Reaching | None:
    """Give what the loss of a `backward` may hold.

    Args:
        event: The event.
    """
    loss = loss_of(event.call)
    return event.file.values.bindings.reaching(loss) if loss is not None and key(loss) else None
