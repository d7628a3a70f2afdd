"""Spaces of settings: what a sweep may choose from, written as settings are printed.

``lr=log(1e-4, 1e-1)``, ``model=MLP(hidden=repeat(integer(16, 128), choice(1, 2, 3)))``: ranges and
choices stand wherever a value stands. A choice may hold ranges of its own, which are drawn only
where it is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from ...core.spec import Spec

_DIGITS = 4
"""Digits of a drawn number, so that what is printed is what was trained."""


@final
@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers between two ends, both of which belong to it.

    Args:
        name: Of the setting, such as ``optimizer.lr``.
        low: The lower end.
        high: The upper end.
        log: Whether equal ratios are equally likely, not equal differences.
        whole: Whether only whole numbers are meant.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float | int:
        """Give the number below which a share of the draws lies.

        Args:
            share: From 0 to 1.
        """
        low, high = self.low - self.whole / 2, self.high + self.whole / 2
        if self.log:
            value = low * (high / low) ** share
        else:
            value = low + (high - low) * share
        return self.near(value)

    def near(self, value: float) -> float | int:
        """Give the number that is trained for one that was drawn.

        Args:
            value: As it was drawn.
        """
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def points(self, count: int) -> tuple[float | int, ...]:
        """Give numbers from end to end at equal distances, each once.

        Args:
            count: How many.
        """
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        shares = [place / (count - 1) for place in range(count)] if count > 1 else [0.5]
        found = [low + (high - low) * share for share in shares]
        return tuple(dict.fromkeys(self.near(math.exp(x) if self.log else x) for x in found))


@final
@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values; its picks are their numbers.

    Args:
        name: Of the setting.
        options: The values, in which there may be ranges and choices.
        labels: What the values are called, each once.
        each: Whether all of them are trained for each draw of the rest.
    """

    name: str
    options: tuple[Any, ...]
    labels: tuple[Any, ...]
    each: bool = False

    def at(self, share: float) -> int:
        """Give the number of the value below which a share of the draws lies.

        Args:
            share: From 0 to 1.
        """
        return min(int(share * len(self.options)), len(self.options) - 1)

    def points(self, count: int) -> tuple[int, ...]:
        """Give the numbers of all values.

        Args:
            count: Not used; there are as many as there are.
        """
        del count
        return tuple(range(len(self.options)))


Dimension = Range | Choice
Ask = Callable[[Dimension], Any]
"""Gives the pick for a dimension: a number of a range, the number of a choice's value."""


@final
@dataclass(frozen=True, kw_only=True)
class Point:
    """One place of a space.

    Args:
        settings: Arguments of `train`.
        values: What was chosen, by the name of the dimension: numbers and words.
        picks: The same as dimensions say it.
    """

    settings: Mapping[str, Any]
    values: Mapping[str, Any]
    picks: Mapping[str, Any]


class Row(tuple[Any, ...]):
    """Specs one after the other, printed without parentheses."""

    def __new__(cls, items: Any) -> Row:
        return super().__new__(cls, tuple(items))


@final
@dataclass(frozen=True)
class Own:
    """A model of the user's own as a value, such as a class.

    Args:
        made: The class, function or module.
        name: What tables call it.
    """

    made: Any
    name: str


@final
@dataclass(frozen=True, kw_only=True)
class Repeat:
    """A tuple of a value so many times.

    Args:
        value: The value, open or not.
        times: How many, open or not.
    """

    value: Any
    times: Any


@final
@dataclass(frozen=True, kw_only=True)
class Space:
    """What settings of `train` may be.

    Args:
        texts: What the user wrote, by option.
        templates: The same with a dimension wherever something is open.
        dimensions: All of them, in their order; those in a choice follow it.
        own: What was given from Python and cannot be typed, such as a class.
    """

    texts: Mapping[str, str]
    templates: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    own: tuple[Own, ...] = ()

    def point(self, ask: Ask) -> Point:
        """Choose.

        Args:
            ask: Called for each dimension that matters, outer ones first.
        """
        values: dict[str, Any] = {}
        picks: dict[str, Any] = {}

        def filled(template: Any) -> Any:
            if isinstance(template, (Range, Choice)):
                pick = picks[template.name] = ask(template)
                if isinstance(template, Range):
                    values[template.name] = pick
                    return pick
                values[template.name] = template.labels[pick]
                return filled(template.options[pick])
            if isinstance(template, Repeat):
                times = filled(template.times)
                return (filled(template.value),) * times
            if isinstance(template, Spec):
                kwargs = {key: filled(value) for key, value in template.kwargs.items()}
                return Spec(template.name, tuple(map(filled, template.args)), kwargs)
            if isinstance(template, (list, tuple)):
                return type(template)(map(filled, template))
            return template

        settings = {name: typed(filled(value)) for name, value in self.templates.items()}
        return Point(settings=settings, values=values, picks=picks)

    def run_through(
        self, options: Callable[[Dimension], Sequence[Any] | None], ask: Ask
    ) -> Iterator[Point]:
        """Give the points that differ in some dimensions, the last of them first.

        Args:
            options: The picks of a dimension that are run through; None to ask instead.
            ask: Gives the pick of the others.
        """
        turns: list[tuple[int, int]] = []  # of each dimension that is run through: place, count
        while True:
            seen = 0

            def pick(dimension: Dimension) -> Any:
                nonlocal seen
                found = options(dimension)
                if found is None:
                    return ask(dimension)
                if seen == len(turns):
                    turns.append((0, len(found)))
                seen += 1
                return found[turns[seen - 1][0]]

            yield self.point(pick)
            while turns and turns[-1][0] + 1 == turns[-1][1]:
                turns.pop()
            if not turns:
                return
            turns[-1] = (turns[-1][0] + 1, turns[-1][1])

    def trial(self, ask: Ask) -> tuple[Point, ...]:
        """Choose once, and give a point for each value of what is trained with `each`.

        Args:
            ask: Called once for each dimension that matters.
        """
        asked: dict[str, Any] = {}

        def once(dimension: Dimension) -> Any:
            if dimension.name not in asked:
                asked[dimension.name] = ask(dimension)
            return asked[dimension.name]

        return tuple(self.run_through(lambda d: d.points(0) if is_each(d) else None, once))


def is_each(dimension: Dimension) -> bool:
    """Say whether all values of a dimension are trained for each draw.

    Args:
        dimension: Of a space.
    """
    return isinstance(dimension, Choice) and dimension.each


def typed(value: Any) -> Any:
    """Give a value as it is typed: specs as text, a bare word without parentheses.

    Args:
        value: With nothing open in it.
    """
    if isinstance(value, Row):
        return ", ".join(str(typed(item)) for item in value)
    if isinstance(value, Spec):
        return str(value) if value.args or value.kwargs else value.name
    return value.made if isinstance(value, Own) else value
