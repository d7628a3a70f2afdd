"""Where gradients are switched off, and what tensors are made from nothing."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, Literal

from .._model._tree import argument, constant

if TYPE_CHECKING:
    from .._model._file import File

Mode = Literal["on", "off", "unknown"]

_OFF: Final = frozenset(
    {
        "torch.no_grad", "torch.autograd.no_grad", "torch.autograd.grad_mode.no_grad",
        "torch.inference_mode", "torch.autograd.inference_mode",
        "torch.autograd.grad_mode.inference_mode",
    }
)  # fmt: skip
_ON: Final = frozenset(
    {"torch.enable_grad", "torch.autograd.enable_grad", "torch.autograd.grad_mode.enable_grad"}
)
_SET: Final = frozenset(
    {
        "torch.set_grad_enabled", "torch.autograd.set_grad_enabled",
        "torch.autograd.grad_mode.set_grad_enabled",
    }
)  # fmt: skip
FACTORIES: Final = frozenset(
    {
        "zeros", "ones", "rand", "randn", "empty", "full", "tensor", "eye", "linspace", "arange",
        "zeros_like", "ones_like", "rand_like", "randn_like", "empty_like", "full_like", "normal",
        "randint", "logspace", "Tensor", "FloatTensor", "DoubleTensor", "from_numpy", "randperm",
    }
)  # fmt: skip
"""Functions of ``torch`` whose result has no past."""


def mode_of(file: File, node: ast.expr) -> Mode | None:
    """Give what a context or a decorator does to gradients; None if it has nothing to do with them.

    Args:
        file: The file.
        node: What stands after ``with`` or ``@``.
    """
    call = node if isinstance(node, ast.Call) else None
    name = file.dotted(call.func if call else node)
    if name in _ON:
        return "on"
    if name in _OFF:
        given = argument(call, "mode", 0) if call else None
        return "off" if given is None or constant(given) is True else "unknown"
    if name in _SET and call is not None:
        value = constant(argument(call, "mode", 0))
        if isinstance(value, bool):
            return "on" if value else "off"
        return "unknown"
    return None


def switched(file: File, node: ast.AST) -> tuple[Mode, ast.AST] | None:
    """Give what the innermost context or decorator does to gradients, and which it is.

    Args:
        file: The file.
        node: An expression or a statement.
    """
    child = node
    for above in file.tree.above(node):
        if isinstance(above, (ast.With, ast.AsyncWith)) and isinstance(child, ast.stmt):
            for item in reversed(above.items):
                mode = mode_of(file, item.context_expr)
                if mode is not None:
                    return mode, above
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in above.decorator_list:
                mode = mode_of(file, decorator)
                if mode is not None:
                    return mode, above
            return None
        if isinstance(above, (ast.ClassDef, ast.Lambda)):
            return None
        child = above
    return None


def gradients_off(file: File, node: ast.AST) -> ast.AST | None:
    """Give the block or the function that certainly switches gradients off where a node runs.

    Args:
        file: The file.
        node: An expression or a statement.
    """
    found = switched(file, node)
    return found[1] if found is not None and found[0] == "off" else None


def may_switch(file: File, node: ast.AST) -> bool:
    """Say whether a context or decorator around a node may switch gradients off.

    Args:
        file: The file.
        node: An expression or a statement.
    """
    found = switched(file, node)
    return found is not None and found[0] != "on"


def factory(file: File, node: ast.AST | None) -> str:
    """Give the name of the function of ``torch`` that makes a tensor here; empty otherwise.

    Args:
        file: The file.
        node: An expression.
    """
    if not isinstance(node, ast.Call):
        return ""
    module, _, short = file.dotted(node.func).rpartition(".")
    return short if module == "torch" and short in FACTORIES else ""
