"""Layers or parameters in a list, a tuple or a dict that the module does not look into."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import key, method, owner
from ..._rule import Edit, Found, Rule, replaced
from ..._tensors._layers import (
    DROPOUTS,
    elements,
    functions_of,
    has_weights,
    is_parameter,
    module_classes,
    own_method,
)

_BY_HAND = ("add_module", "register_module", "register_parameter", "setattr", "__setattr__")
_OWN = ("parameters", "named_parameters", "_apply", "to", "state_dict", "children")
_ADDS = ("append", "extend", "insert", "appendleft", "add", "setdefault")
_EMPTY = frozenset({"list", "dict", "tuple", "OrderedDict", "collections.OrderedDict", "set"})
_KEEPS_TRAINING = DROPOUTS | {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d"}


def check(file: File) -> Iterator[Found]:
    """Look for ``self.layers = [nn.Linear(...), ...]`` and what is appended to such a list.

    Args:
        file: The file.
    """
    for node in module_classes(file):
        if any(own_method(node, name) for name in _OWN) or _registers(file, node):
            continue
        for function in functions_of(node):
            for one in file.tree.own(function):
                if isinstance(one, (ast.Assign, ast.AnnAssign)) and one.value is not None:
                    targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                    names = [key(target) for target in targets]
                    if len(names) == 1 and names[0].startswith("self.") and names[0].count(".") < 2:
                        yield from _look(file, node, one, names[0], one.value)


def _registers(file: File, node: ast.ClassDef) -> bool:
    for function in functions_of(node):
        for call in file.tree.own_calls(function):
            if method(call) in _BY_HAND or key(call.func) == "setattr":
                return True
    return False


def _look(
    file: File, node: ast.ClassDef, statement: ast.stmt, name: str, value: ast.expr
) -> Iterator[Found]:
    held = _held(file, value)
    if held is None or _wrapped(file, node, name) or _handled(file, name):
        return
    fixed = list(held)
    for function in functions_of(node):
        fixed += _added(file, function, name)
    for element in fixed:
        made = _kept(file, element)
        if made:
            hidden = len(held) == 1 and len(fixed) == 1 and _is_literal(value)
            holder, wanted = _names(value, made)
            yield Found(
                statement,
                f"`{name}` is a plain {holder}: the {made} in it are not registered with"
                f" `{node.name}`.",
                f"Make it an `nn.{wanted}`.",
                edits=_wrap(file, value, fixed, wanted),
                certain=not hidden,
            )
            return


def _is_literal(value: ast.expr) -> bool:
    return isinstance(value, (ast.List, ast.Tuple))


def _held(file: File, value: ast.expr) -> list[ast.expr] | None:
    """Give what a plain container holds; None for what is none."""
    if isinstance(value, ast.Tuple) and len(value.elts) == 1:
        if file.text_of(value).endswith(","):
            return None  # a trailing comma
    kinds = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp)
    if isinstance(value, kinds):
        return list(elements([value]))
    if isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Mult, ast.Add)):
        parts = _held(file, value.left), _held(file, value.right)
        known = [part for part in parts if part is not None]
        return functools.reduce(operator.iadd, known, []) if known else None
    if isinstance(value, ast.Call) and file.dotted(value.func) in _EMPTY:
        return list(elements(value.args))
    if isinstance(value, ast.Name):
        found = file.values.bindings.reaching(value)
        function = file.tree.function(value)
        if function is None or found.rest != "nothing" or found.scope is not function:
            return None
        made = [one for one in found.bindings if not isinstance(one.statement, ast.AugAssign)]
        if len(made) == 1 and made[0].value is not None:
            inner = made[0].value
            held = None if isinstance(inner, ast.Name) else _held(file, inner)
            if held is not None and not _wrapped(file, function, value.id):
                return held + _added(file, function, value.id)
    return None


def _added(file: File, function: ast.AST, name: str) -> list[ast.expr]:
    found: list[ast.expr] = []
    for one in file.tree.own(function):
        if isinstance(one, ast.Call) and method(one) in _ADDS and key(owner(one)) == name:
            found += elements(one.args)
        elif isinstance(one, ast.AugAssign) and key(one.target) == name:
            found += elements([one.value])
        elif isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Subscript):
            if key(one.targets[0].value) == name:
                found += elements([one.value])
    return found


def _wrapped(file: File, within: ast.AST, name: str) -> bool:
    """Say whether the list is also given to a module, which then registers what is in it."""
    for use in file.tree.each(ast.Name, ast.Attribute):
        if key(use) != name or not file.tree.holds(within, use):
            continue
        for above in file.tree.above(use):
            if isinstance(above, ast.stmt):
                break
            if isinstance(above, ast.Call) and use is not above.func:
                if file.made(above, "module") or file.dotted(above.func).startswith("torch.nn.P"):
                    return True
    for binding in file.values.bindings.everywhere(within, name):
        if binding.value is not None and file.made(binding.value, "module") is not None:
            return True
    return False


def _handled(file: File, name: str) -> bool:
    """Say whether a program goes over the list and asks what is in it for its parameters."""
    short = name.rpartition(".")[2]
    for node in file.tree.each(ast.For, ast.ListComp, ast.GeneratorExp, ast.SetComp):
        parts = getattr(node, "generators", [node])
        over: list[ast.expr] = [part.iter for part in parts]
        for one in over:
            inner = one.args[0] if isinstance(one, ast.Call) and one.args else one
            if key(inner).rpartition(".")[2] == short and ".parameters(" in file.text_of(node):
                return True
    return False


def _kept(file: File, element: ast.expr) -> str:
    """Say what an element is that has to be registered; empty if it need not, or is registered."""
    if isinstance(element, ast.Name):
        found = file.values.bindings.reaching(element)
        if len(found.bindings) != 1 or found.rest != "nothing":
            return ""
        function, value = file.tree.function(element), found.bindings[0].value
        if function is None or value is None or _also_on_self(file, function, element):
            return ""
        element = value
    if not isinstance(element, ast.Call):
        return ""
    if is_parameter(file, element):
        return "parameters"
    made = file.made(element, "module")
    text = ast.unparse(element)
    if made is None or ".eval()" in text or "requires_grad_(False)" in text:
        return ""
    return "layers" if has_weights(made) or made.short in _KEEPS_TRAINING else ""


def _also_on_self(file: File, function: ast.AST, element: ast.Name) -> bool:
    for one in file.tree.own(function):
        if isinstance(one, ast.Assign) and key(one.value) == element.id:
            if any(key(target).startswith("self.") for target in one.targets):
                return True
        if isinstance(one, ast.Call) and file.made(one, "module") is not None:
            if any(key(inner) == element.id for inner in elements(one.args)):
                return True
    return False


def _names(value: ast.expr, made: str) -> tuple[str, str]:
    mapping = isinstance(value, (ast.Dict, ast.DictComp)) or (
        isinstance(value, ast.Call) and key(value.func).endswith(("dict", "Dict"))
    )
    kind = "Module" if made == "layers" else "Parameter"
    holder = "dict" if mapping else "tuple" if isinstance(value, ast.Tuple) else "list"
    return holder, kind + ("Dict" if mapping else "List")


def _wrap(file: File, value: ast.expr, held: list[ast.expr], wanted: str) -> tuple[Edit, ...]:
    """Give the container of `nn` around a list of nothing but layers."""
    if not isinstance(value, (ast.List, ast.ListComp)) or file.names.imported("nn") != "torch.nn":
        return ()
    for one in held:
        fits = file.made(one, "module") if wanted == "ModuleList" else is_parameter(file, one)
        if not fits:
            return ()
    inner = "" if isinstance(value, ast.List) and not value.elts else file.text_of(value)
    return (replaced(file, value, f"nn.{wanted}({inner})"),)


RULE = Rule(
    name="layers-in-plain-list",
    severity="error",
    title="Layers or parameters in a plain list, tuple or dict",
    why=(
        "A module registers what is assigned to it, and does not look into lists, tuples and"
        " dicts. The layers in them work in `forward`, but `parameters()` does not have them,"
        " so they are never trained; `to(device)`, `eval()` and `state_dict()` pass them over"
        " as well."
    ),
    fix="Use `nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList` or `nn.Sequential`.",
    bad="""\
from torch import nn

class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.hidden = [nn.Linear(8, 8) for _ in range(depth)]
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x).relu()
        return self.out(x)
""",
    good="""\
from torch import nn

class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(8, 8) for _ in range(depth)])
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x).relu()
        return self.out(x)
""",
    source="PyTorch docs, torch.nn.ModuleList and torch.nn.ParameterList.",
    check=check,
)
