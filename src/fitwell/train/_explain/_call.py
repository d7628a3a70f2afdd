"""Why a call does not fit a function, read from its signature or from its help."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any, final

from torch import nn

_OTHER_NAMES = {
    "learning_rate": "lr",
    "units": "out_features",
    "filters": "out_channels",
    "strides": "stride",
    "axis": "dim",
    "axes": "dim",
    "keepdims": "keepdim",
    "rate": "p",
}
"""What other libraries call an argument, and torch."""

_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@final
@dataclass(frozen=True)
class Problem:
    """What is wrong with a call.

    Args:
        cause: One sentence without its full stop.
        fix: What to do.
    """

    cause: str
    fix: str


def explain_call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> str | None:
    """Say why a function cannot be called so, without calling it; None if it can.

    For a call that raised a TypeError: tells what has to be given by name, as it stands behind the
    ``*`` of the signature, which name is misspelled, and what is missing. Reads the signature;
    for torch's built-in functions, which have none, the forms that their help begins with.

    Not covered: types and values of arguments, and built-in functions without such help, for which
    it gives None.

    Args:
        function: What is called: a function, a class, or a module with a `forward`.
        args: What is passed by place.
        kwargs: What is passed by name.

    Source: paszke2019pytorch.
    Checked against: `inspect.Signature.bind`; the TypeErrors of the installed torch.
    """
    problem = call_problem(function, len(args), list(kwargs))
    return None if problem is None else f"{problem.cause}. {problem.fix}"


def call_problem(function: Any, count: int, names: Sequence[str]) -> Problem | None:
    """Say what is wrong with a call, from how many arguments it has and how they are named.

    Args:
        function: What is called.
        count: Arguments passed by place.
        names: Names of the others.
    """
    if isinstance(function, nn.Module):
        function = function.forward
    forms = _signatures(function)
    if not forms or any(_fits(form, count, names) for form in forms):
        return None
    form = min(forms, key=lambda form: _distance(form, count, names))
    return _problem(getattr(function, "__name__", "it"), form, count, names)


def _problem(owner: str, form: Signature, count: int, names: Sequence[str]) -> Problem:
    shown = f"{owner}{_text(form)}"
    places = [p for p in form.parameters.values() if p.kind in _BY_PLACE]
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in form.parameters.values())
    unknown = [n for n in names if n not in form.parameters and not takes_any]
    if unknown:
        near = _near(unknown[0], list(form.parameters))
        hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(form.parameters)}"
        return Problem(f"{owner} has no argument named {unknown[0]!r}; {hint}", f"Call {shown}.")
    if count > len(places):
        named = [p.name for p in form.parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
        given = f"{owner} takes at most {len(places)} arguments by place; got {count}"
        free = [name for name in named if name not in names]
        if free:
            listed = ", ".join(f"{name}=..." for name in free[:4])
            return Problem(given, f"What stands behind * must be given by name, {listed}: {shown}.")
        return Problem(given, f"Leave out {count - len(places)}: {shown}.")
    twice = [p.name for p in places[:count] if p.name in names]
    if twice:
        return Problem(f"{owner} gets `{twice[0]}` by place and by name", f"Give it once: {shown}.")
    given_names = {p.name for p in places[:count]} | set(names)
    required = [p for p in form.parameters.values() if _is_required(p)]
    missing = [p.name for p in required if p.name not in given_names]
    listed = ", ".join(f"`{name}`" for name in missing)
    return Problem(f"{owner} needs {listed}, which is missing", f"Call {shown}.")


def _is_required(parameter: Parameter) -> bool:
    named = parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return named and parameter.default is Parameter.empty


def _near(name: str, known: list[str]) -> list[str]:
    other = _OTHER_NAMES.get(name)
    if other in known:
        return [str(other)]
    return difflib.get_close_matches(name, known, n=2, cutoff=0.5)


def _fits(form: Signature, count: int, names: Sequence[str]) -> bool:
    try:
        form.bind(*[None] * count, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def _distance(form: Signature, count: int, names: Sequence[str]) -> tuple[int, int, int]:
    """Rank forms: names they do not have, nor anything near, then arguments too many or few."""
    unknown = [name for name in names if name not in form.parameters]
    places = sum(p.kind in _BY_PLACE for p in form.parameters.values())
    strange = [name for name in unknown if not _near(name, list(form.parameters))]
    return len(unknown), len(strange), abs(count + len(names) - places)


def _text(form: Signature) -> str:
    """Write a signature without types, cut where it gets long."""
    bare = [p.replace(annotation=Parameter.empty) for p in form.parameters.values()]
    text = str(Signature(bare))
    return text if len(text) <= 120 else text[:117].rsplit(",", 1)[0] + ", ...)"


def _signatures(function: Any) -> list[Signature]:
    try:
        return [inspect.signature(function)]
    except (ValueError, TypeError):
        if inspect.ismethoddescriptor(function):
            return []  # its help leaves out the object that it is called on
    name = getattr(function, "__name__", "")
    found = re.findall(
        rf"^(?:\.\. function:: )?{re.escape(name)}\((.*?)\)(?: ->.*)?$",
        getattr(function, "__doc__", None) or "",
        re.MULTILINE,
    )
    parsed = [_parse(arguments) for arguments in found]
    return [form for form in parsed if form is not None]


def _parse(arguments: str) -> Signature | None:
    """Read a signature as help writes it; None if it is not Python."""
    try:
        tree = ast.parse(f"def f({arguments}): ...").body[0]
    except SyntaxError:
        return None
    if not isinstance(tree, ast.FunctionDef):
        return None
    given = tree.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[Any] = [Parameter.empty] * (len(positional) - len(given.defaults))
    defaults += [_Source(ast.unparse(node)) for node in given.defaults]
    found = [
        Parameter(arg.arg, Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for arg, default in zip(positional, defaults, strict=True)
    ]
    if given.vararg is not None:
        found.append(Parameter(given.vararg.arg, Parameter.VAR_POSITIONAL))
    for arg, node in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        default = Parameter.empty if node is None else _Source(ast.unparse(node))
        found.append(Parameter(arg.arg, Parameter.KEYWORD_ONLY, default=default))
    return Signature(found)


class _Source(str):
    """A default as it is written, shown without quotes."""

    def __repr__(self) -> str:
        return str(self)
