"""A tensor on a module that is meant to be trained, but is no parameter."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant, key, method, owner
from ..._rule import Edit, Found, Rule, replaced, span
from ..._tensors._layers import functions_of, is_factory, is_parameter, module_classes, own_method

_OWN = ("parameters", "named_parameters", "_apply", "to", "cuda", "state_dict")
_COPIES = ("cuda", "double", "half", "bfloat16", "clone", "mul", "mul_", "t", "view", "reshape")
_MOVES = ("to", "cuda", "type_as", "expand_as", "to_empty", "detach", "clone")


def check(file: File) -> Iterator[Found]:
    """Look for ``self.weight = torch.randn(..., requires_grad=True)`` and the like in modules.

    Args:
        file: The file.
    """
    for node in module_classes(file):
        if any(own_method(node, name) for name in _OWN):
            continue
        for function in functions_of(node):
            if function.name != "__init__":
                continue
            for one in file.tree.own(function):
                if isinstance(one, (ast.Assign, ast.AnnAssign)) and one.value is not None:
                    targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                    name = key(targets[0])
                    if name.startswith("self.") and name.count(".") == 1:
                        yield from _look(file, node, one, name, one.value)


def _look(
    file: File, node: ast.ClassDef, statement: ast.stmt, name: str, value: ast.expr
) -> Iterator[Found]:
    bindings = file.values.bindings.everywhere(node, name)
    if len(bindings) != 1:
        return
    inner = _changed_parameter(file, value)
    if inner is not None:
        if not _given_elsewhere(file, name):
            yield Found(
                statement,
                f"`{name}` is {_how(value)} a parameter and is none itself: it is not registered.",
                "Compute or move first, and make `nn.Parameter(...)` of the result.",
            )
        return
    made = _fresh(file, value)
    if made is None:
        return
    if _wants_gradient(file, node, name, value):
        if not _given_elsewhere(file, name):
            yield Found(
                statement,
                f"`{name}` wants a gradient but is a plain tensor: `parameters()` lacks it.",
                "Make it an `nn.Parameter`.",
                edits=_as_parameter(file, value, made),
            )
    elif argument(made, "device") is None and _used_bare(file, node, name):
        yield Found(
            statement,
            f"`{name}` is a plain tensor: `to(device)` and `state_dict()` pass it over.",
            f'Write `self.register_buffer("{name[5:]}", ...)`, or `nn.Parameter` to train it.',
            certain=False,
        )


def _changed_parameter(file: File, value: ast.expr) -> ast.expr | None:
    """Give the parameter inside of ``nn.Parameter(...) * 0.01`` or ``nn.Parameter(...).cuda()``."""
    if isinstance(value, ast.BinOp):
        return next((one for one in (value.left, value.right) if is_parameter(file, one)), None)
    if isinstance(value, ast.Call) and (method(value) in _COPIES or _is_move(value)):
        return owner(value) if is_parameter(file, owner(value)) else None
    return None


def _is_move(value: ast.expr) -> bool:
    """Say whether an expression is ``x.to(device)``, and not to the CPU by its name."""
    if not isinstance(value, ast.Call) or method(value) != "to":
        return False
    place = argument(value, "device", 0)
    return place is not None and constant(place) != "cpu"


def _how(value: ast.expr) -> str:
    return "a copy on a device of" if _is_move(value) else "computed from"


def _fresh(file: File, value: ast.expr) -> ast.Call | None:
    """Give the call that makes a new tensor, if that is what an expression does."""
    node: ast.expr | None = value
    for _ in range(4):
        if isinstance(node, ast.BinOp):
            sides = [node.left, node.right]
            node = next((one for one in sides if isinstance(one, ast.Call)), None)
        elif isinstance(node, ast.Call):
            name = file.dotted(node.func)
            if is_factory(name):
                return node
            if name == "torch.autograd.Variable" and node.args:
                node = node.args[0]
            elif method(node) in ("requires_grad_", "to", "float", "double", "cuda", "unsqueeze"):
                node = owner(node)
            elif method(node) in ("view", "reshape", "mul"):
                node = owner(node)
            else:
                return None
    return None


def _wants_gradient(file: File, node: ast.ClassDef, name: str, value: ast.expr) -> bool:
    for one in ast.walk(value):
        if isinstance(one, ast.Call):
            if constant(argument(one, "requires_grad")) is True:
                return True
            if method(one) == "requires_grad_":
                return not (one.args and constant(one.args[0]) is False)
    for call in file.method_calls("requires_grad_"):
        if key(owner(call)) == name and file.tree.holds(node, call) and not call.args:
            return True
    for binding in file.values.bindings.everywhere(node, f"{name}.requires_grad"):
        if constant(binding.value) is True:
            return True
    return False


def _given_elsewhere(file: File, name: str) -> bool:
    """Say whether a program gives the tensor to an optimizer or a parameter by hand."""
    short = name[5:]
    for use in file.tree.each(ast.Attribute):
        if use.attr != short or not isinstance(use.ctx, ast.Load):
            continue
        parent = file.tree.parent(use)
        if isinstance(parent, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            outer = file.tree.parent(parent)
            called = file.dotted(outer.func) if isinstance(outer, ast.Call) else ""
            if not called.startswith("torch.") or called.startswith("torch.optim."):
                return True
        if isinstance(parent, ast.Attribute) and parent.attr in ("grad", "data"):
            return True
        if isinstance(parent, ast.Call) and use is not parent.func:
            called = file.dotted(parent.func)
            by_hand = called.startswith(("torch.optim.", "torch.autograd.", "torch.nn.Parameter"))
            if by_hand or method(parent) in ("register_parameter", "register_buffer", "append"):
                return True
    return False


def _used_bare(file: File, node: ast.ClassDef, name: str) -> bool:
    """Say whether `forward` computes with a tensor as it is, and nothing moves or registers it."""
    forward = own_method(node, "forward")
    if forward is None:
        return False
    found = False
    for use in file.tree.each(ast.Attribute):
        if key(use) != name or not file.tree.holds(node, use):
            continue
        parent = file.tree.parent(use)
        if isinstance(use.ctx, ast.Load) and isinstance(parent, ast.Attribute):
            if parent.attr in _MOVES:
                return False
        elif isinstance(parent, ast.Call) and method(parent) in ("register_buffer", "setattr"):
            return False
        elif isinstance(parent, (ast.BinOp, ast.Call)) and file.tree.holds(forward, use):
            found = True
    return found


def _as_parameter(file: File, value: ast.expr, made: ast.Call) -> tuple[Edit, ...]:
    """Give ``nn.Parameter(torch.randn(3))`` for ``torch.randn(3, requires_grad=True)``."""
    if made is not value or file.names.imported("nn") != "torch.nn" or not made.args:
        return ()
    if any(keyword.arg != "requires_grad" for keyword in made.keywords):
        return ()
    start, _ = span(file, made)
    _, end = span(file, made.args[-1])
    if start[0] != end[0] or start[0] != made.end_lineno:
        return ()
    text = file.lines[start[0] - 1][start[1] : end[1]]
    return (replaced(file, value, f"nn.Parameter({text}))"),)


RULE = Rule(
    name="tensor-instead-of-parameter",
    severity="error",
    title="A tensor that is to be trained is not an `nn.Parameter`",
    why=(
        "Only an `nn.Parameter` is registered when it is assigned to a module. A plain"
        " tensor, even with `requires_grad=True`, gets a gradient but is missing from"
        " `parameters()`: the optimizer never changes it, `state_dict()` does not save it,"
        " `to(device)` leaves it behind. So it is with the result of a computation on a"
        " parameter, as `nn.Parameter(...) * 0.01`."
    ),
    fix="Use `nn.Parameter` for what is trained, and `register_buffer` for what is not.",
    bad="""\
import torch
from torch import nn

class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.scale = torch.ones(width, requires_grad=True)

    def forward(self, x):
        return self.linear(x) * self.scale
""",
    good="""\
import torch
from torch import nn

class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.linear(x) * self.scale
""",
    source="PyTorch docs, torch.nn.Parameter and torch.nn.Module.register_buffer.",
    check=check,
)
