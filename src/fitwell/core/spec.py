"""Method specs: the printed form of a method is its configuration, ``AdamW(lr=0.001)``.

The same text is accepted by the command line, stored in the run and shown in reports. It is
parsed as one call with literals and arithmetic only; nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from .errors import FitwellError, UsageError, unknown_name

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


@final
@dataclass(frozen=True)
class Spec:
    """A name with arguments, such as ``PGD(eps=8/255, steps=10)``, parsed but not built.

    Args:
        name: Name of the method.
        args: Positional arguments: numbers, strings, booleans, None, lists, tuples or specs.
        kwargs: Keyword arguments of the same kinds.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [_print(value) for value in self.args]
        parts += [f"{key}={_print(value)}" for key, value in self.kwargs.items()]
        return f"{self.name}({', '.join(parts)})"

    def but(self, **changes: Any) -> Spec:
        """Give a copy with some keyword arguments set.

        Args:
            changes: The keyword arguments to set.
        """
        return Spec(self.name, self.args, {**self.kwargs, **changes})


def _print(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_print(item) for item in value) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(_print(item) for item in value) + ("," * (len(value) == 1)) + ")"
    return str(value) if isinstance(value, Spec) else repr(value)


def parse(text: str | Spec) -> Spec:
    """Read a spec from its printed form; a bare name is a call without arguments.

    Args:
        text: Such as ``"cnn"`` or ``"AdamW(lr=1e-3, betas=(0.9, 0.98))"``.

    Raises:
        UsageError: The text is not one call with literals and arithmetic.
    """
    if isinstance(text, Spec):
        return text
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return Spec(node.id)
        if isinstance(node, ast.Call):
            return _call(node)
    except (SyntaxError, ValueError, ZeroDivisionError, TypeError, RecursionError) as err:
        detail = f" ({err})" if isinstance(err, _Refused) else ""
        raise UsageError(_message(text) + detail) from err
    raise UsageError(_message(text))


class _Refused(ValueError):
    pass


def _message(text: str) -> str:
    return (
        "spec: `text` must be a name with literal arguments, such as 'AdamW(lr=0.001)';"
        f" got {text!r}."
    )


def _call(node: ast.Call) -> Spec:
    if not isinstance(node.func, ast.Name):
        raise _Refused("the part before the parenthesis must be a plain name")
    kwargs: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise _Refused("'**' is not allowed")
        kwargs[keyword.arg] = _literal(keyword.value)
    return Spec(node.func.id, tuple(_literal(arg) for arg in node.args), kwargs)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and not isinstance(node.value, (bytes, complex)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _literal(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _literal(node.left), _literal(node.right)
        if not all(isinstance(side, (int, float)) for side in (left, right)):
            raise _Refused("arithmetic is for numbers")
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.Tuple):
        return tuple(_literal(item) for item in node.elts)
    if isinstance(node, ast.List):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Call):
        return _call(node)
    if isinstance(node, ast.Name):
        return Spec(node.id)
    raise _Refused(f"{ast.unparse(node)!r} is not a literal")


def build(
    text: str | Spec,
    known: Mapping[str, Callable[..., Any]],
    /,
    *,
    owner: str,
    what: str,
    **extra: Any,
) -> Any:
    """Call the method a spec names, checking its arguments first.

    Args:
        text: The spec or its printed form; the name is matched without regard to case.
        known: The methods by name.
        owner: Who asks, for messages.
        what: What kind of method it is, for messages.
        extra: Keyword arguments that come from fitwell rather than from the user; those that the
            method does not take are left out.

    Raises:
        UnknownName: No method of that name.
        UsageError: An argument the method does not take, or one that is missing.
    """
    spec = parse(text)
    name, method = lookup(spec.name, known, owner=owner, what=what)
    signature = inspect.signature(method)
    taken = signature.parameters
    keywords = {k: v for k, v in extra.items() if k in taken and k not in spec.kwargs}
    for key in spec.kwargs:
        if key not in taken:
            raise unknown_name(
                f"{owner}: {name}", "argument", key, (k for k in taken if k not in extra)
            )
    try:
        signature.bind(*spec.args, **spec.kwargs, **keywords)
    except TypeError as err:
        raise UsageError(f"{owner}: {name}{signature}: {err}; got {spec}.") from err
    try:
        return method(*spec.args, **spec.kwargs, **keywords)
    except (TypeError, ValueError) as err:
        if isinstance(err, FitwellError):
            raise
        raise UsageError(f"{owner}: {what} {spec} cannot be built: {err}.") from err


def lookup(
    name: str, known: Mapping[str, Callable[..., Any]], /, *, owner: str, what: str
) -> tuple[str, Callable[..., Any]]:
    """Find a method by name, without regard to case, dashes or underscores.

    Args:
        name: The name as the user wrote it.
        known: The methods by name.
        owner: Who asks, for messages.
        what: What kind of method it is, for messages.

    Raises:
        UnknownName: No method of that name.
    """
    if name in known:
        return name, known[name]
    folded = {_fold(key): key for key in known}
    if _fold(name) in folded:
        key = folded[_fold(name)]
        return key, known[key]
    raise unknown_name(owner, what, name, known)


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
