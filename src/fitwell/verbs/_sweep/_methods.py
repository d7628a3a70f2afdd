"""How a sweep chooses settings: at random, from a grid, spread evenly, or by what was learned."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, final

from ...core.errors import UsageError
from ...core.spec import Spec, build, parse
from ._optuna import Optuna
from ._space import Dimension, Point, Space, is_each

Trial = tuple[Point, ...]
"""Settings that were drawn once: a point for each value of what is trained with `each`."""

_TRIES = 50
"""Draws in a row that may repeat what was drawn before, until a space counts as used up."""


class Draws(Protocol):
    """A sweep's trials, one after the other; the same seed gives the same."""

    def next(self, count: int) -> list[Trial]:
        """Give more trials.

        Args:
            count: How many at most; fewer come when there are no others.
        """
        ...

    def tell(self, trial: int, value: float | None) -> None:
        """Say what became of a trial.

        Args:
            trial: Its number, from 0.
            value: Its metric; None if it has none.
        """
        ...


class Method(Protocol):
    """Chooses settings."""

    def begin(self, space: Space, seed: int, mode: str) -> Draws:
        """Begin to draw.

        Args:
            space: What from.
            seed: Of the draw.
            mode: Whether ``min`` or ``max`` of the metric is best.
        """
        ...


@final
@dataclass(frozen=True, kw_only=True)
class Random:
    """Draw every setting by itself: the method to begin with.

    A trial depends on nothing but the seed, its number and the names of the dimensions: a longer
    sweep begins with the trials of a shorter one, and they can all be trained together.

    Source: bergstra2012random.
    Checked against: the quantiles of each range.
    """

    def begin(self, space: Space, seed: int, mode: str) -> Draws:
        """Begin to draw.

        Args:
            space: What from.
            seed: Of the draw.
            mode: Not used.
        """

        def ask(number: int, dimension: Dimension) -> Any:
            return dimension.at(random.Random(f"{seed} {number} {dimension.name}").random())

        return _Fixed(_different(space, ask))


@final
@dataclass(frozen=True, kw_only=True)
class Grid:
    """Try every combination; for few settings with few values.

    Args:
        points: Values of each range, from end to end.

    Checked against: itertools.product.
    """

    points: int = 3

    def __post_init__(self) -> None:
        if self.points < 1:
            raise UsageError(f"Grid: `points` must be at least 1; got {self.points}.")

    def begin(self, space: Space, seed: int, mode: str) -> Draws:
        """Begin with the first combination.

        Args:
            space: What from.
            seed: Not used.
            mode: Not used.
        """
        return _Fixed(self._trials(space))

    def _trials(self, space: Space) -> Iterator[Trial]:
        kept = {d.name for d in space.dimensions if not is_each(d)}
        trials: dict[tuple[Any, ...], list[Point]] = {}
        for point in space.run_through(lambda d: d.points(self.points), _refuse):
            key = tuple(item for item in point.picks.items() if item[0] in kept)
            trials.setdefault(key, []).append(point)
        yield from map(tuple, trials.values())


def _refuse(dimension: Dimension) -> Any:
    raise ValueError(f"{dimension.name} has no points")


@final
@dataclass(frozen=True, kw_only=True)
class Sobol:
    """Spread the draws more evenly than chance does, by a scrambled Sobol sequence.

    For a known number of trials, best a power of two, over few settings.

    Source: sobol1967distribution.
    Checked against: the counts of points in dyadic intervals.
    """

    def begin(self, space: Space, seed: int, mode: str) -> Draws:
        """Begin to draw.

        Args:
            space: What from.
            seed: Of the scrambling.
            mode: Not used.
        """
        return _Fixed(_different(space, self._ask(space, seed)))

    def points(self, space: Space, count: int) -> list[Point]:
        """Give points that lie evenly all over a space.

        Args:
            space: The space.
            count: How many.
        """
        ask = self._ask(space, 0)
        return [space.point(partial(ask, number)) for number in range(count)]

    def _ask(self, space: Space, seed: int) -> Callable[[int, Dimension], Any]:
        from torch.quasirandom import SobolEngine

        names = [dimension.name for dimension in space.dimensions]
        make: Any = SobolEngine
        engine = make(len(names), scramble=True, seed=seed)
        rows: list[list[float]] = []

        def ask(number: int, dimension: Dimension) -> Any:
            while len(rows) <= number:
                rows.extend(engine.draw(max(1, len(rows))).tolist())
            return dimension.at(rows[number][names.index(dimension.name)])

        return ask


def _different(space: Space, ask: Callable[[int, Dimension], Any]) -> Iterator[Trial]:
    """Draw trials, none of them twice."""
    seen: set[str] = set()
    number, last = 0, 0
    while number - last < _TRIES:
        trial = space.trial(partial(ask, number))
        number += 1
        key = str([dict(point.settings) for point in trial])
        if key not in seen:
            seen.add(key)
            last = number
            yield trial


@final
class _Fixed:
    """Trials that do not depend on results.

    Args:
        trials: In their order.
    """

    def __init__(self, trials: Iterator[Trial]) -> None:
        self._trials = trials

    def next(self, count: int) -> list[Trial]:
        """Give more trials.

        Args:
            count: How many at most.
        """
        return [trial for _, trial in zip(range(count), self._trials, strict=False)]

    def tell(self, trial: int, value: float | None) -> None:
        """Do nothing with a result.

        Args:
            trial: Its number.
            value: Its metric.
        """


_METHODS: dict[str, Any] = {"Random": Random, "Grid": Grid, "Sobol": Sobol, "Optuna": Optuna}


def make_method(text: str | Spec) -> Method:
    """Build a method from its printed form.

    Args:
        text: Such as ``random`` or ``grid(points=5)``.

    Raises:
        UnknownName: There is no such method.
        UsageError: An argument does not fit.
    """
    if parse(text).name.lower() in ("halving", "asha"):
        raise UsageError(
            f"sweep: `method` must say how settings are chosen; got {text}, which says which"
            f' members end early. Give it as --stop "{text}".'
        )
    made: Method = build(text, _METHODS, owner="sweep", what="method")
    return made


def default_trials(method: Method) -> float:
    """Give how many trials there are unless it is said: all of a grid, 20 of others.

    Args:
        method: How settings are chosen.
    """
    return math.inf if isinstance(method, Grid) else 20


def learns(method: Method) -> bool:
    """Say whether a method chooses by what it was told, so that its trials come in rounds.

    Args:
        method: How settings are chosen.
    """
    return isinstance(method, Optuna)
