"""Read spaces from their printed form, with the parser of specs; nothing is evaluated."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from ... import data, losses, nn, optim
from ...core.errors import UsageError, unknown_name
from ...core.spec import Spec
from ._space import Choice, Dimension, Own, Range, Repeat, Row, Space, typed
from ._written import Written, written

RANGES = ("uniform", "log", "integer")
CHOICES = ("choice", "each")
_WORDS = (*RANGES, *CHOICES, "repeat")

_FORMS = (
    "uniform(a, b), log(a, b), integer(a, b), choice(x, y, ...), each(x, y, ...) or"
    " repeat(value, times)"
)
_ALIKE: Final = 0.6
"""Likeness from which on an unknown word is a misspelt one."""


def read_space(over: Mapping[str, Any] | Sequence[str], known: Sequence[str]) -> Space:
    """Read what the user wrote.

    Args:
        over: ``option=text`` each, or texts (or lists of values) by option.
        known: The options that may differ between members.

    Raises:
        UnknownName: No such option, or no such kind of space.
        UsageError: A text is no space.
    """
    written = _written_by_option(over)
    if not written:
        raise UsageError(
            'sweep: `over` must name what differs, such as --over "lr=log(1e-4, 1e-1)"; got'
            " nothing."
        )
    texts: dict[str, str] = {}
    templates, found = {}, _Found([])
    for typed_name, text in written.items():
        option = typed_name.replace("-", "_")
        if option not in known:
            raise unknown_name("sweep", "option that can differ", typed_name, known)
        if option in texts:
            raise UsageError(f"sweep: `over` must name {typed_name} once; got it twice.")
        if text.own and option != "model":
            raise UsageError(
                f"sweep: `over` must give {typed_name} texts or numbers; got"
                f" {text.own[0].name}, which only model may be."
            )
        value = _parsed(typed_name, text)
        texts[option] = str(text)
        before = len(found.dimensions)
        templates[option] = found.template(option, value)
        if len(found.dimensions) == before:
            raise UsageError(
                f"sweep: `over` must leave {typed_name} open with {_FORMS}; got {text}. Give what"
                f" is the same for all as an option of its own, --{typed_name.replace('_', '-')}."
            )
    own = tuple(one for text in written.values() for one in text.own)
    return Space(texts=texts, templates=templates, dimensions=tuple(found.dimensions), own=own)


def _written_by_option(over: Mapping[str, Any] | Sequence[str]) -> dict[str, Written]:
    if isinstance(over, str):
        over = [over]
    if isinstance(over, Mapping):
        return {name: written(value) for name, value in over.items()}
    texts: dict[str, Written] = {}
    for word in over:
        name, equals, text = word.partition("=")
        name = name.strip()
        if not equals or not name.replace("-", "_").isidentifier():
            raise UsageError(
                f"sweep: `over` must be option=space, such as lr=log(1e-4, 1e-1); got {word!r}."
            )
        if name in texts:
            raise UsageError(f"sweep: `over` must name {name} once; got it twice.")
        texts[name] = Written(text.strip())
    return texts


def _parsed(option: str, text: Written) -> Any:
    """Read a value; ``Flip(), Crop()`` is a list of specs."""
    try:
        within = text.parsed()
    except UsageError as err:
        raise UsageError(
            f"sweep: `over` must say what {option} may be, with {_FORMS} for what is open; got"
            f" {str(text)!r}."
        ) from err
    if within.kwargs or not within.args:
        raise UsageError(f"sweep: `over` must give {option} a value; got {str(text)!r}.")
    return within.args[0] if len(within.args) == 1 else Row(within.args)


def _check_word(value: Spec) -> None:
    """Refuse what is meant as a space, and misspelt: no method's name, with plain values."""
    if value.name.islower() and len(value.args) > 1 and not any(map(_is_open, value.args)):
        near = difflib.get_close_matches(value.name, _WORDS, n=1, cutoff=_ALIKE)
        methods = {name.lower() for family in (data, losses, nn, optim) for name in vars(family)}
        if near and value.name not in methods:
            raise unknown_name("sweep", "space", value.name, _WORDS)


@final
@dataclass(frozen=True)
class _Found:
    """Turns ranges and choices in parsed values into dimensions, and remembers them.

    Args:
        dimensions: Those that were found.
    """

    dimensions: list[Dimension]

    def template(self, name: str, value: Any) -> Any:
        """Give a value with dimensions in place of what is open.

        Args:
            name: Of the setting.
            value: As it was parsed.
        """
        if isinstance(value, Spec):
            if value.name in RANGES:
                return self._range(name, value)
            if value.name in CHOICES:
                return self._choice(name, value)
            if value.name == "repeat":
                return self._repeat(name, value)
            if value.name.lower() in _WORDS:
                raise _bad(name, value, f"{value.name.lower()}(...)")
            _check_word(value)
            args = [self.template(f"{name}.{i}", arg) for i, arg in enumerate(value.args)]
            kwargs = {key: self.template(f"{name}.{key}", v) for key, v in value.kwargs.items()}
            return Spec(value.name, tuple(args), kwargs)
        if isinstance(value, (list, tuple)):
            if isinstance(value, Row):
                names = [f"{name}.{getattr(item, 'name', i)}" for i, item in enumerate(value)]
            else:
                names = [f"{name}.{place}" for place in range(len(value))]
            return type(value)(self.template(n, item) for n, item in zip(names, value, strict=True))
        return value

    def _add(self, dimension: Dimension) -> Dimension:
        taken = {known.name for known in self.dimensions}
        name, number = dimension.name, 2
        while name in taken:
            name, number = f"{dimension.name}#{number}", number + 1
        if name != dimension.name:
            dimension = type(dimension)(**{**vars(dimension), "name": name})
        self.dimensions.append(dimension)
        return dimension

    def _range(self, name: str, value: Spec) -> Dimension:
        extra = set(value.kwargs) - ({"log"} if value.name == "integer" else set())
        numbers = [x for x in value.args if isinstance(x, (int, float)) and math.isfinite(x)]
        whole = value.name == "integer"
        log = value.name == "log" or bool(value.kwargs.get("log"))
        needs = (
            f"{value.name}(a, b) with"
            f"{' whole' * whole} numbers {'0 < ' * log}a < b{', and log=True if need be' * whole}"
        )
        if extra or len(numbers) != 2 or len(value.args) != 2 or not numbers[0] < numbers[1]:
            raise _bad(name, value, needs)
        if (log and numbers[0] <= 0) or (whole and any(x != int(x) for x in numbers)):
            raise _bad(name, value, needs)
        low, high = (int(x) if whole else float(x) for x in numbers)
        return self._add(Range(name=name, low=low, high=high, log=log, whole=whole))

    def _choice(self, name: str, value: Spec) -> Dimension:
        if value.kwargs or not value.args:
            raise _bad(name, value, f"{value.name}(x, y, ...)")
        labels = _labels(value.args)
        place = len(self.dimensions)
        dimension = self._add(Choice(name=name, options=(), labels=labels))
        options = tuple(
            self.template(f"{dimension.name}.{label}", option)
            for label, option in zip(labels, value.args, strict=True)
        )
        made = Choice(
            name=dimension.name, options=options, labels=labels, each=value.name == "each"
        )
        self.dimensions[place] = made
        return made

    def _repeat(self, name: str, value: Spec) -> Repeat:
        if value.kwargs or len(value.args) != 2:
            raise _bad(name, value, "repeat(value, times)")
        times = self.template(f"{name}.times", value.args[1])
        picks = times.options if isinstance(times, Choice) else (times,)
        counts = (*picks,) if not isinstance(times, Range) else (times.low,) * times.whole or (0.5,)
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise _bad(name, value, "repeat(value, times) with whole numbers of times")
        item = self.template(f"{name}.value", value.args[0])
        return Repeat(value=item, times=times)


def _bad(name: str, value: Spec, needs: str) -> UsageError:
    return UsageError(f"sweep: `over` must use {needs} for {name}; got {value}.")


def _labels(options: Sequence[Any]) -> tuple[Any, ...]:
    """Call each value something of its own: numbers and words themselves, specs by their text."""
    labels: list[Any] = []
    for option in options:
        open_inside = isinstance(option, Spec) and _is_open(option)
        named = open_inside or isinstance(option, Own)
        label: Any = option.name if named else typed(option)
        if isinstance(label, (tuple, list, bool)) or label is None:
            label = str(label)
        base, number = label, 2
        while any(label == other and type(label) is type(other) for other in labels):
            label, number = f"{base}#{number}", number + 1
        labels.append(label)
    return tuple(labels)


def _is_open(value: Any) -> bool:
    if isinstance(value, Spec):
        inside = [*value.args, *value.kwargs.values()]
        return value.name in _WORDS or any(map(_is_open, inside))
    return isinstance(value, (list, tuple)) and any(map(_is_open, value))
