"""Optuna's samplers, asked and told in rounds so that each round trains together."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import Any, final

from ...core.errors import missing_extra
from ...core.spec import build
from ._space import Choice, Dimension, Point, Space


@final
@dataclass(frozen=True, kw_only=True)
class Optuna:
    """Let a sampler of Optuna choose, by the results of the rounds before.

    Pays when trainings are long and trials few; for trials that can all train at once, a random
    draw is as good and needs no rounds.

    Args:
        sampler: Such as ``TPESampler``, ``GPSampler`` or ``CmaEsSampler(sigma0=0.1)``.

    Source: akiba2019optuna.
    Checked against: the sampler asked by hand.
    """

    sampler: Any = "TPESampler"

    def begin(self, space: Space, seed: int, mode: str) -> Any:
        """Begin to ask.

        Args:
            space: What from.
            seed: Of the sampler.
            mode: Whether ``min`` or ``max`` of the metric is best.

        Raises:
            MissingExtra: Optuna is not installed.
            UnknownName: It has no such sampler.
        """
        try:
            optuna: Any = importlib.import_module("optuna")
        except ImportError as err:
            raise missing_extra("sweep", "optuna", "sweep") from err
        known = {
            name: found
            for name, found in inspect.getmembers(optuna.samplers, inspect.isclass)
            if name.endswith("Sampler")
        }
        sampler = build(self.sampler, known, owner="sweep", what="sampler of Optuna", seed=seed)
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would announce the study
        try:
            direction = "minimize" if mode == "min" else "maximize"
            study = optuna.create_study(sampler=sampler, direction=direction)
        finally:
            optuna.logging.set_verbosity(before)
        return _Asked(study, optuna.trial.TrialState.FAIL, space)


@final
class _Asked:
    """Trials of a study.

    Args:
        study: Of Optuna.
        failed: What a trial without a value is told as.
        space: What from.
    """

    def __init__(self, study: Any, failed: Any, space: Space) -> None:
        self._study, self._failed, self._space = study, failed, space
        self._trials: list[Any] = []

    def next(self, count: int) -> list[tuple[Point, ...]]:
        """Ask for more trials.

        Args:
            count: How many.
        """
        return [self._next() for _ in range(count)]

    def _next(self) -> tuple[Point, ...]:
        trial = self._study.ask()
        self._trials.append(trial)

        def ask(dimension: Dimension) -> Any:
            if isinstance(dimension, Choice):
                return trial.suggest_categorical(dimension.name, range(len(dimension.options)))
            suggest = trial.suggest_int if dimension.whole else trial.suggest_float
            value = suggest(dimension.name, dimension.low, dimension.high, log=dimension.log)
            return dimension.near(value)

        return self._space.trial(ask)

    def tell(self, trial: int, value: float | None) -> None:
        """Tell what became of a trial.

        Args:
            trial: Its number.
            value: Its metric.
        """
        state = self._failed if value is None else None
        self._study.tell(self._trials[trial], value, state=state)
