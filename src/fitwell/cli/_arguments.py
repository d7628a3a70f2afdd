"""From a function's signature to command-line options, through tyro.

Options come from the signature, help from the docstring's ``Args``, headings from its ``Groups``.
Only text, numbers, flags, choices and sequences of them can be typed on a command line; of a union
such as ``str | Path | nn.Module`` the parts that can be typed are kept, and a parameter of which
nothing is left stays a matter of Python.
"""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, final

from ..core.cards import Card, read_card

_NAMES: dict[type, str] = {
    str: "TEXT",
    int: "INT",
    float: "NUMBER",
    bool: "[{True,False}]",
    Path: "PATH",
}
EVERYWHERE = {
    "json": "Print the result as one JSON object.",
    "debug": "Show the traceback of an error.",
}
"""Options of every verb, read by the dispatcher."""

_ORDER: tuple[type, ...] = (bool, int, float, Path, str)  # text takes everything, so it comes last


class _ForeignType(type):
    """Any attribute, subscript or union of a foreign name is foreign again."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Foreign

    def __getitem__(cls, item: object) -> Any:
        return Foreign


class Foreign(metaclass=_ForeignType):
    """Stands for a type that is imported for type checkers only, such as ``nn.Module``."""


class _Names(dict[str, Any]):
    """Names an annotation may use; what is not there is foreign."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Foreign)


def annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Give the type of a parameter; names that exist only for type checkers become `Foreign`.

    Args:
        function: The function.
        parameter: One of its parameters.
    """
    given = parameter.annotation
    if isinstance(given, str):
        names = _Names(getattr(function, "__globals__", {}))
        # Our own source text, evaluated as `typing.get_type_hints` does.
        given = eval(given, {"__builtins__": {}}, names)
    return given


def typeable(given: Any, default: Any = inspect.Parameter.empty) -> Any:
    """Give the part of a type that can be typed on a command line, or None if there is none.

    Args:
        given: The type.
        default: The parameter's default, whose type is taken when the given one is foreign.
    """
    if given in (Any, inspect.Parameter.empty):
        given = str if default is not None else str | None
    parts = [part for part in _parts(given) if _is_typeable(part)]
    if not any(part is not type(None) for part in parts):
        kind = type(default)
        return kind if kind in _ORDER else None
    if str in parts:  # text can say all that a path or a single-entry list can
        parts = [p for p in parts if p is not Path and typing.get_origin(p) is None]
        parts += [p for p in _parts(given) if typing.get_origin(p) is Literal and p not in parts]
    optional = type(None) in parts
    parts = sorted((p for p in parts if p is not type(None)), key=_rank)
    return Union[tuple([type(None)] * optional + parts)]  # noqa: UP007


def _parts(given: Any) -> list[Any]:
    if typing.get_origin(given) in (Union, types.UnionType):
        return [part for arg in typing.get_args(given) for part in _parts(arg)]
    return [given]


def _is_typeable(part: Any) -> bool:
    if part in (*_ORDER, type(None)) or typing.get_origin(part) is Literal:
        return True
    if typing.get_origin(part) in (tuple, list, collections.abc.Sequence):
        inner = [arg for arg in typing.get_args(part) if arg is not Ellipsis]
        return bool(inner) and all(arg in _ORDER for arg in inner)
    return False


def _rank(part: Any) -> int:
    return _ORDER.index(part) + 1 if part in _ORDER else 0


def metavar(given: Any) -> str:
    """Give the word that stands for a value in the help, such as ``INT`` or ``{sum,mean}``.

    Args:
        given: A type that can be typed.
    """
    words: list[str] = []
    for part in _parts(given):
        if typing.get_origin(part) is Literal:
            words.append("{" + ",".join(map(str, typing.get_args(part))) + "}")
        elif part in _NAMES:
            words.append(_NAMES[part])
        elif part is not type(None):
            inner = [_NAMES[arg] for arg in typing.get_args(part) if arg is not Ellipsis]
            endless = Ellipsis in typing.get_args(part) or typing.get_origin(part) is not tuple
            words.append(f"{inner[0]} ..." if endless else " ".join(inner))
    return "|".join(words)


@final
@dataclass(frozen=True)
class Options:
    """The command-line form of a function.

    Args:
        function: The function.
        card: Its docstring.
        parameters: Those that can be typed, by name, with the type that is left of theirs.
    """

    function: Callable[..., Any]
    card: Card
    parameters: Mapping[str, tuple[inspect.Parameter, Any]]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Options:
        """Read the signature and docstring of a function.

        Args:
            function: The function.
        """
        found = {}
        for name, parameter in inspect.signature(function).parameters.items():
            kind = typeable(annotation(function, parameter), parameter.default)
            if kind is not None and parameter.kind is not parameter.VAR_KEYWORD:
                found[name] = (parameter, kind)
        return cls(function, read_card(function.__doc__), found)

    def surface(self) -> list[str]:
        """Give one line per option, as frozen by the tests: name, values, default."""
        lines = []
        for name, (parameter, kind) in self.parameters.items():
            default = parameter.default
            option = name.replace("_", "-")
            if is_positional(parameter):
                more = " ..." if parameter.kind is parameter.VAR_POSITIONAL else ""
                words = f"{name.upper()} {metavar(kind)}{more}"
            elif isinstance(default, bool):
                words = f"--no-{option}" if default else f"--{option}"
            else:
                words = f"--{option} {metavar(kind)}"
            lines.append(words if default is parameter.empty else f"{words} = {default!r}")
        return lines

    def read(self, arguments: Sequence[str], *, prog: str) -> tuple[list[Any], dict[str, Any]]:
        """Read arguments; prints help or what is wrong, and exits, as tyro does.

        Args:
            arguments: What the user typed after the verb.
            prog: What the user typed before.

        Returns:
            Positional and keyword arguments for the function.
        """
        import tyro

        form: Any = self._form()
        value: object = tyro.cli(
            form,
            prog=prog,
            description=self._description(),
            args=self._with_values(arguments),
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        given: dict[str, Any] = {}
        for name, item in vars(value).items():
            given.update(vars(item) if name.startswith("group_") else {name: item})
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for name, (parameter, _) in self.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(given[name])
            elif parameter.kind is parameter.KEYWORD_ONLY:
                keywords[name] = given[name]
            else:
                positional.append(given[name])
        return positional, keywords

    def _with_values(self, arguments: Sequence[str]) -> list[str]:
        """Let a flag that may also be left open, `bool | None`, be typed without its value."""
        names = {
            "--" + name.replace("_", "-")
            for name, (parameter, kind) in self.parameters.items()
            if bool in _parts(kind) and not isinstance(parameter.default, bool)
        }
        words: list[str] = []
        for word, following in zip(arguments, [*arguments, ""][1:], strict=True):
            positive = word.replace("--no-", "--", 1)
            if positive not in names or following in ("True", "False"):
                words.append(word)
            else:
                words += [positive, str(positive == word)]
        return words

    def _description(self) -> str:
        return "\n\n".join(part for part in (self.card.summary, self.card.use) if part)

    def _form(self) -> type:
        """Build the data class that tyro fills; each heading of options is a data class in it."""
        import tyro

        headings = {name: title for title, names in self.card.groups.items() for name in names}
        plain: list[Any] = []
        grouped: dict[str, list[Any]] = {title: [] for title in self.card.groups}
        for name, (parameter, kind) in self.parameters.items():
            grouped.get(headings.get(name, ""), plain).append(_field(self.card, parameter, kind))
        for number, (title, fields) in enumerate(grouped.items()):
            if fields:
                form: Any = make_dataclass(title, fields, kw_only=True)
                plain.append((f"group_{number}", Annotated[form, tyro.conf.arg(name=title)]))
        for name, text in EVERYWHERE.items():
            flag = Annotated[bool, tyro.conf.arg(help=text, help_behavior_hint="")]
            plain.append((name, flag, field(default=False)))
        return make_dataclass(self.function.__name__, plain, kw_only=True)


def _field(card: Card, parameter: inspect.Parameter, kind: Any) -> tuple[str, Any, Any]:
    import tyro

    name, default, word = parameter.name, parameter.default, metavar(kind)
    if parameter.kind is parameter.VAR_POSITIONAL:
        kind, default = tuple[kind, ...], ()
    if is_positional(parameter):
        word = name.upper() + (" ..." if default == () else "")
    shown = " ".join(map(str, default)) if isinstance(default, (list, tuple)) else default
    hint = f"(default: {shown})"
    if default is parameter.empty:
        hint = "(required)"
    elif default is True:
        hint = "(default: yes)"  # the flag says no
    elif default is None or default is False or shown == "":
        hint = ""
    flag = kind is bool and isinstance(default, bool)
    marked: Any = Annotated[
        kind,
        tyro.conf.arg(
            help=card.args.get(name, "").replace("`", ""),
            help_behavior_hint=hint,
            metavar=None
            if flag
            else f"[{word}]"
            if is_positional(parameter) and not hint
            else word,
        ),
    ]
    if is_positional(parameter):
        positional: Any = tyro.conf.Positional
        marked = positional[marked]
    if default is None and bool not in _parts(kind):  # tyro reads False as True under it
        never_none: Any = tyro.conf.DisallowNone
        marked = never_none[marked]
    if default is parameter.empty:
        return name, marked, field()
    if isinstance(default, list):
        return name, marked, field(default_factory=lambda: list(default))
    return name, marked, field(default=default)


def is_positional(parameter: inspect.Parameter) -> bool:
    """Say whether a parameter is given by its place: it is everything before the ``*``.

    Args:
        parameter: The parameter.
    """
    return parameter.kind is not parameter.KEYWORD_ONLY
