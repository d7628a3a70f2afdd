"""What the settings of a scheduler count: steps or epochs."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Final, Literal

from .._model._events import LOOPS, Event
from .._model._roles import words_of
from .._model._tree import constant, key, owner

if TYPE_CHECKING:
    from .._model._file import File
    from .._model._values import Value

Unit = Literal["steps", "epochs", ""]

_STEPS: Final = frozenset(
    {"steps", "step", "iterations", "iters", "iteration", "batches", "updates", "stepping"}
)
_EPOCHS: Final = frozenset({"epoch", "epochs"})


def scheduler_of(event: Event) -> Value | None:
    """Give the scheduler of an event `schedule`, if it is known.

    Args:
        event: The event.
    """
    return event.file.made(owner(event.call), "scheduler")


def unit_of(file: File, node: ast.AST | None, depth: int = 0) -> Unit:
    """Say what a number counts, as far as the names in it tell.

    Args:
        file: The file.
        node: Such as ``len(loader) * epochs``, which counts steps.
        depth: How many names were followed.
    """
    if node is None or depth > 4:
        return ""
    if isinstance(node, (ast.Name, ast.Attribute)):
        words = set(words_of(key(node).rpartition(".")[2]))
        if words & _STEPS:
            return "steps"
        if words & _EPOCHS:
            return "epochs"
        if isinstance(node, ast.Name):
            bindings = file.values.bindings.reaching(node).bindings
            if len(bindings) == 1 and bindings[0].how == "whole":
                return unit_of(file, bindings[0].value, depth + 1)
        return ""
    if isinstance(node, ast.Call):
        if key(node.func) == "len":
            return "steps"
        return unit_of(file, node.args[0], depth + 1) if node.args else ""
    if isinstance(node, ast.Subscript):
        text = constant(node.slice)
        words = set(words_of(text)) if isinstance(text, str) else set()
        return "steps" if words & _STEPS else "epochs" if words & _EPOCHS else ""
    if isinstance(node, ast.BinOp):
        units = {unit_of(file, part, depth + 1) for part in (node.left, node.right)}
        return "steps" if "steps" in units else "epochs" if "epochs" in units else ""
    return ""


def number(file: File, node: ast.AST | None, depth: int = 0) -> float | None:
    """Give a number that stands in the text, or that a name surely holds.

    Args:
        file: The file.
        node: The expression.
        depth: How many names were followed.
    """
    value = constant(node)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(node, ast.Name) and depth < 4:
        bindings = file.values.bindings.reaching(node).bindings
        if len(bindings) == 1 and bindings[0].how == "whole":
            return number(file, bindings[0].value, depth + 1)
    return None


def decay_length(every: float, factor: float) -> float:
    """Give after how many steps of a scheduler the rate is a millionth of what it was.

    Args:
        every: Steps between two decays.
        factor: What each multiplies the rate by.
    """
    return every * math.log(1e-6) / math.log(factor) if 0 < factor < 1 else math.inf


def is_epoch_loop(node: ast.AST | None) -> bool:
    """Say whether a loop counts epochs, by its names.

    Args:
        node: The loop.
    """
    if not isinstance(node, LOOPS) or isinstance(node, ast.While):
        return False
    names = [key(one) for one in ast.walk(node.target)]
    return any(set(words_of(name)) & {"epoch", "ep", "epochs"} for name in names)
